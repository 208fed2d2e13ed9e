"""A quiz as HTML for a notebook, where nobody can be asked: questions to read, each with its answer folded away."""

from __future__ import annotations

from html import escape

from topwork.quiz.questions import LETTERS, Question, Quiz


def folded(quiz: Quiz) -> str:
    """Each question with its four answers; a click unfolds why each is right or wrong, and where to read again."""
    return "".join(_question(number, question, quiz.place(question)) for number, question in enumerate(quiz.questions, 1))


def _question(number: int, question: Question, place: str) -> str:
    answers = "".join(f"<li><b>{letter}</b> {escape(question.answers[letter])}</li>" for letter in LETTERS)
    right = question.right
    reasons = "".join(f"<li><b>{letter}</b> {escape(question.reasons[letter])}</li>" for letter in LETTERS if letter != right)
    return (
        f"<p><b>{number}. {escape(question.text)}</b></p><ul style='list-style: none'>{answers}</ul>"
        f"<details><summary>the answer</summary><p><b>{right}</b> {escape(question.reasons[right])}</p>"
        f"<ul style='list-style: none'>{reasons}</ul><p>Read again: {escape(place)}.</p></details>"
    )
