"""The two quizzes: questions read from questions.toml, and answers marked. All words stand in that one file."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("questions.toml")

LETTERS = ("a", "b", "c", "d")


@dataclass(frozen=True)
class Question:
    """One question with four answers, of which one is right."""

    topic: str
    """What it is about, in two or three words."""
    text: str
    answers: dict[str, str]
    """The four answers by letter."""
    reasons: dict[str, str]
    """Why each of them is right or wrong."""
    right: str
    """The letter of the right one."""
    lesson: int
    """The lesson that shows it."""
    cell: str
    """The cell of its notebook, by name."""


@dataclass(frozen=True)
class Quiz:
    """The questions of one quiz, and the titles of the lessons they point to."""

    name: str
    questions: tuple[Question, ...]
    lessons: dict[int, str]

    def place(self, question: Question) -> str:
        """Where to read about a question, in words."""
        return f"lesson {question.lesson}, {self.lessons[question.lesson]}, cell: {question.cell}"


@dataclass(frozen=True)
class Marked:
    """A quiz with the answers somebody gave."""

    quiz: Quiz
    answers: tuple[str | None, ...]
    """A letter for each question, None where it was not answered."""

    @property
    def right(self) -> int:
        """How many were answered right."""
        return len(self.quiz.questions) - len(self.missed)

    @property
    def missed(self) -> list[Question]:
        """The questions that were answered wrong or not at all: what to read again."""
        pairs = zip(self.quiz.questions, self.answers, strict=True)
        return [question for question, answer in pairs if answer != question.right]

    def to_config(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "quiz": self.quiz.name,
            "questions": len(self.quiz.questions),
            "right": self.right,
            "not_answered": sum(answer is None for answer in self.answers),
            "answers": [
                {
                    "topic": question.topic,
                    "question": question.text,
                    "answer": answer,
                    "right_answer": question.right,
                    "right": answer == question.right,
                    "reason": question.reasons[question.right],
                    "lesson": question.lesson,
                    "cell": question.cell,
                }
                for question, answer in zip(self.quiz.questions, self.answers, strict=True)
            ],
            "read_again": [
                {
                    "topic": question.topic,
                    "lesson": question.lesson,
                    "title": self.quiz.lessons[question.lesson],
                    "cell": question.cell,
                }
                for question in self.missed
            ],
        }


def load(name: str) -> Quiz:
    """The quiz that is taken `before` the lessons, or the one `after` them."""
    document = tomllib.loads(FILE.read_text(encoding="utf-8"))
    lessons = {int(number): title for number, title in document["lessons"].items()}
    return Quiz(name, tuple(Question(**one) for one in document[name]), lessons)


def mark(quiz: Quiz, answers: Sequence[str | None]) -> Marked:
    """The quiz with somebody's answers; those at the end that are missing count as not answered."""
    given = [*answers, *[None] * (len(quiz.questions) - len(answers))]
    return Marked(quiz, tuple(given))
