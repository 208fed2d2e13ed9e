"""The quizzes: what the questions are like, and how answers are asked for, marked and told."""

from __future__ import annotations

import io
import json
import sys
from collections import Counter
from html import escape

import pytest

from running import Cli
from topwork.quiz.folded import folded
from topwork.quiz.questions import LETTERS, Quiz, load, mark


class Keyboard(io.StringIO):
    """Text that counts as typed."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(params=["before", "after"])
def quiz(request: pytest.FixtureRequest) -> Quiz:
    return load(request.param)


def flat(text: str) -> str:
    """The text with its line ends and indents as single spaces."""
    return " ".join(text.split())


def given(monkeypatch: pytest.MonkeyPatch, text: str, keyboard: bool = False) -> None:
    monkeypatch.setattr(sys, "stdin", Keyboard(text) if keyboard else io.StringIO(text))


def test_every_question_is_whole(quiz: Quiz) -> None:
    assert len(quiz.questions) == 10
    for question in quiz.questions:
        assert question.text.endswith("?") and question.topic and question.cell
        assert tuple(question.answers) == tuple(question.reasons) == LETTERS
        assert question.right in LETTERS and question.lesson in quiz.lessons
        assert len(set(question.answers.values())) == 4
        assert all(text[-1] in ".!" for text in [*question.answers.values(), *question.reasons.values()])
    assert len({question.topic for question in quiz.questions}) == 10


def test_the_right_answer_cannot_be_guessed_from_its_place_or_length(quiz: Quiz) -> None:
    places = Counter(question.right for question in quiz.questions)
    assert set(places) == set(LETTERS) and max(places.values()) <= 4
    longest = sum(max(question.answers.values(), key=len) == question.answers[question.right] for question in quiz.questions)
    assert longest <= 4


def test_no_question_is_asked_twice() -> None:
    texts = [question.text for name in ("before", "after") for question in load(name).questions]
    assert len(set(texts)) == 20


def test_marks() -> None:
    quiz = load("after")
    key = [question.right for question in quiz.questions]
    assert mark(quiz, key).right == 10 and mark(quiz, key).missed == []
    wrong = ["b" if key[0] != "b" else "c", *key[1:8]]
    marked = mark(quiz, wrong)
    assert marked.right == 7 and marked.missed == [quiz.questions[place] for place in (0, 8, 9)]
    document = marked.to_config()
    assert document["not_answered"] == 2 and document["right"] == 7
    assert [row["right"] for row in document["answers"]] == [False, *[True] * 7, False, False]


def test_all_right_from_a_pipe(quiz: Quiz, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, "\n".join(question.right.upper() for question in quiz.questions))
    done = cli("quiz", quiz.name)
    assert (done.code, done.out) == (0, f"{quiz.name} the lessons: 10 of 10 right\n")
    for question in quiz.questions:
        assert question.text in flat(done.err) and all(text in flat(done.err) for text in question.answers.values())
        assert f"{question.right} is right. {question.reasons[question.right]}" in flat(done.err)


def test_answers_behind_the_name(quiz: Quiz, cli: Cli) -> None:
    key = [question.right for question in quiz.questions]
    assert cli("quiz", quiz.name, *key).out == f"{quiz.name} the lessons: 10 of 10 right\n"
    done = cli("quiz", quiz.name, *key[:9])
    assert done.code == 1 and "answers: expected 10 answers, found 9" in done.err


def test_a_folded_quiz_holds_all_of_it(quiz: Quiz) -> None:
    page = folded(quiz)
    assert page.count("<details>") == page.count("</details>") == 10
    for question in quiz.questions:
        before, _, after = page[page.index(escape(question.text)) :].partition("<details>")
        assert all(escape(text) in before for text in question.answers.values())
        assert all(escape(text) in after and escape(text) not in before for text in question.reasons.values())
        assert escape(quiz.place(question)) in after


def test_what_to_read_again(quiz: Quiz, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, "a,a,a,a,a a a a a a\n")
    done = cli("quiz", quiz.name)
    wrong = [question for question in quiz.questions if question.right != "a"]
    assert done.code == 0
    assert done.out.splitlines() == [
        f"{quiz.name} the lessons: {10 - len(wrong)} of 10 right",
        "  read again",
        *[f"    {question.topic}: {quiz.place(question)}" for question in wrong],
    ]
    for question in wrong:
        assert f"Not a. {question.reasons['a']}" in flat(done.err)
        assert f"{question.right}: {question.answers[question.right]} {question.reasons[question.right]}" in flat(done.err)
    given(monkeypatch, "a " * 10)
    document = json.loads(cli("quiz", quiz.name, "--json").out)
    assert document["right"] == 10 - len(wrong) and len(document["read_again"]) == len(wrong)
    assert [row["right_answer"] for row in document["answers"]] == [question.right for question in quiz.questions]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected 10 answers, found 0"),
        ("a b c", "expected 10 answers, found 3"),
        ("a b e d", "expected a, b, c or d as answer 3, found 'e'"),
        ("abcdabcdab", "Put a space between answers"),
        ("a " * 11, "expected 10 answers, found more"),
    ],
)
def test_what_is_no_answer_from_a_pipe(text: str, said: str, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, text)
    done = cli("quiz", "before")
    assert done.code == 1 and done.out == "" and said in done.err


def test_a_keyboard_is_asked_again_and_may_stop_early(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    quiz = load("before")
    given(monkeypatch, f"what\n\n{quiz.questions[0].right}\n", keyboard=True)
    done = cli("quiz", "before", "--json")
    document = json.loads(done.out)
    assert done.code == 0 and document["right"] == 1 and document["not_answered"] == 9
    assert "what: expected a, b, c or d" in done.err and done.err.count("your answer:") == 4
    assert quiz.questions[2].text not in flat(done.err)
    given(monkeypatch, "a\n" * 10, keyboard=True)
    assert json.loads(cli("quiz", "before", "--json").out)["not_answered"] == 0
    given(monkeypatch, "a " * 11, keyboard=True)
    assert cli("quiz", "before").code == 0


def test_another_quiz_is_a_mistake(cli: Cli) -> None:
    done = cli("quiz", "during")
    assert done.code == 2 and "before" in done.err and "after" in done.err
