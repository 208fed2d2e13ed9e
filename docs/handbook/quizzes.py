"""The quizzes as pages: the answer and its reasons open with a click."""

from __future__ import annotations

from topwork.quiz.questions import LETTERS, Quiz


def page(quiz: Quiz) -> str:
    """The questions of a quiz; in the terminal: topwork quiz NAME."""
    title = {"before": "Before the lessons", "after": "After the lessons"}[quiz.name]
    parts = [f"# {title}", f"Ten questions. In the terminal, with a score: `topwork quiz {quiz.name}`"]
    for number, question in enumerate(quiz.questions, 1):
        parts += [f"## {number}. {question.topic}", question.text]
        parts.append("\n".join(f"- **{letter}** {question.answers[letter]}" for letter in LETTERS))
        told = [f"    - **{letter}** {question.reasons[letter]}" for letter in LETTERS if letter != question.right]
        parts.append(
            f'??? success "The answer"\n\n    **{question.right}** {question.reasons[question.right]}\n\n'
            + "\n".join(told)
            + f"\n\n    Read again: {quiz.place(question)}."
        )
    return "\n\n".join(parts) + "\n"
