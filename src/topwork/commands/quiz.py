"""quiz: ten questions in the terminal, before the lessons and after them."""

from __future__ import annotations

import io
import shutil
import sys
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, TextIO

from topwork.commands.common import Json, say, warn

if TYPE_CHECKING:
    from topwork.quiz.questions import Marked, Question

WIDTH = 100
"""Letters a line of text has at most."""


def quiz(which: Literal["before", "after"], answers: tuple[str, ...] = (), /, *, json_: Json = False) -> int:
    """Ask ten questions about pretrained networks and tell what to read again.

    Questions and reasons go to stderr, the score to stdout. Answers are a, b, c or d, from the keyboard, a pipe, or behind the
    name: topwork quiz before a b c d a b c d a b

    Parameters
    ----------
    which
        before: what to know before the lessons; after: what they taught.
    answers
        One letter for each question; without them, standard input is read.
    """
    from topwork.quiz.questions import load, mark

    asked = load(which)
    total = len(asked.questions)
    letters = _letters(io.StringIO(" ".join(answers)), total, "answers") if answers else _letters(sys.stdin, total)
    given = []
    for number, question in enumerate(asked.questions, 1):
        _write(f"{number} of {total}: {question.text}", "")
        for letter, text in question.answers.items():
            _write(f"   {letter}  {text}", "      ")
        answer = next(letters, None)
        if answer is None:
            break
        given.append(answer)
        for line in _told(question, answer):
            _write(f"   {line}", "   ")
        warn("")
    next(letters, None)  # more answers than questions are a mistake
    marked = mark(asked, given)
    say(marked.to_config(), _score_text(marked), json_)
    return 0


def _write(text: str, indent: str) -> None:
    """Text on stderr, broken into lines; `indent` begins those after the first."""
    width = min(shutil.get_terminal_size((WIDTH, 24)).columns, WIDTH)
    warn(*textwrap.wrap(text, width, subsequent_indent=indent, drop_whitespace=True))


def _letters(source: TextIO, wanted: int, where: str = "standard input") -> Iterator[str]:
    """Answers as they come in, one or many a line. From a pipe, raises InputError for what is none, for too few and too many.

    At a keyboard what is no answer is asked for again, and the end of the input leaves the rest unanswered.
    """
    from topwork.errors import InputError
    from topwork.quiz.questions import LETTERS

    keyboard, count = source.isatty(), 0
    while not keyboard or count < wanted:
        if keyboard:
            print("   your answer: ", end="", file=sys.stderr, flush=True)
        line = source.readline()
        if not line:
            break
        for word in line.replace(",", " ").lower().split():
            if word in LETTERS and count < wanted:
                count += 1
                yield word
            elif keyboard:
                warn(f"   {word}: expected a, b, c or d.")
                break
            elif count == wanted:
                raise InputError(f"{where}: expected {wanted} answers, found more. Give one letter for each question.")
            else:
                raise InputError(
                    f"{where}: expected a, b, c or d as answer {count + 1}, found {word!r}. Put a space between answers."
                )
    if not keyboard and count < wanted:
        raise InputError(f"{where}: expected {wanted} answers, found {count}. Give one letter for each question.")


def _told(question: Question, answer: str) -> list[str]:
    """What to say to an answer."""
    if answer == question.right:
        return [f"{answer} is right. {question.reasons[answer]}"]
    return [
        f"Not {answer}. {question.reasons[answer]}",
        f"{question.right}: {question.answers[question.right]} {question.reasons[question.right]}",
    ]


def _score_text(marked: Marked) -> list[str]:
    lines = [f"{marked.quiz.name} the lessons: {marked.right} of {len(marked.quiz.questions)} right"]
    if marked.missed:
        lines.append("  read again")
        lines += [f"    {question.topic}: {marked.quiz.place(question)}" for question in marked.missed]
    return lines
