"""What a classifier says: predictions of pictures, and the score of many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topwork.heads import metrics

NONE_OF_THESE = "none of these"

MISTAKES_TOLD = 200
"""Of the wrong answers, this many surest ones are told."""


@dataclass(frozen=True)
class Prediction:
    """The answer to one picture."""

    path: str
    label: str | None
    """The likeliest class, "none of these", or None where the picture could not be used."""
    probability: float | None
    """Of the likeliest class, in [0, 1]."""
    none_of_these: bool
    top: list[dict[str, Any]]
    """The ranking: {label, probability}, likeliest first, even for none of these."""
    stranger_score: float | None = None
    """Above the classifier's threshold the picture is none of these."""
    error: str | None = None
    """REASON: detail, where the picture could not be used."""

    def to_config(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class Predictions(Sequence[Prediction]):
    """The answers to many pictures, in the order asked; pictures that could not be used are among them."""

    rows: list[Prediction]
    classes: tuple[str, ...]
    probs: NDArray[np.float32]
    """(N, K); not a number in the rows of pictures that could not be used."""
    seconds: float
    warnings: list[str] = field(default_factory=list)

    @property
    def labels(self) -> list[str | None]:
        """The label of each picture."""
        return [row.label for row in self.rows]

    @property
    def failed(self) -> int:
        """How many pictures could not be used."""
        return sum(row.error is not None for row in self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> Prediction:  # type: ignore[override]
        return self.rows[place]

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self.rows)


@dataclass(frozen=True)
class Score:
    """How good a classifier's answers are; every picture counts as answered in `accuracy`."""

    accuracy: float
    accuracy_low: float
    """Wilson 95 %."""
    accuracy_high: float
    n: int
    ece: float
    """Expected calibration error over 15 bins."""
    coverage: float
    """Share of the pictures that are not called none of these."""
    accuracy_answered: float | None
    """Of those alone; None where there are none."""
    confusion: list[list[int]]
    """True class by row, answer by column."""
    per_class: list[dict[str, Any]]
    """label, n, precision, recall, recall_low, recall_high, f1; None is a share of nothing."""
    reliability: list[dict[str, Any]]
    mistakes: list[dict[str, Any]]
    """path, label, predicted, probability; the surest first."""
    broken: list[dict[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    images_per_second: float = 0.0
    warnings: list[str] = field(default_factory=list)

    def to_config(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


def score_answers(
    probs: NDArray[np.float32],
    labels: NDArray[np.int64],
    strange: NDArray[np.bool_],
    paths: Sequence[str],
    classes: Sequence[str],
) -> Score:
    """The score of probs (N, K) for labels (N,); `strange` (N,) marks what would be called none of these."""
    answers = probs.argmax(1)
    right = answers == labels
    n = len(labels)
    low, high = metrics.wilson(int(right.sum()), n)
    matrix = metrics.confusion(labels, answers, len(classes))
    wrong = np.flatnonzero(~right)
    wrong = wrong[np.argsort(-probs[wrong].max(1), kind="stable")]
    answered = ~strange
    return Score(
        accuracy=float(right.mean()) if n else 0.0,
        accuracy_low=low,
        accuracy_high=high,
        n=n,
        ece=metrics.expected_calibration_error(probs, labels),
        coverage=float(answered.mean()) if n else 0.0,
        accuracy_answered=float(right[answered].mean()) if answered.any() else None,
        confusion=matrix.tolist(),
        per_class=[_class_row(row, matrix, place) for place, row in enumerate(metrics.per_class(matrix, list(classes)))],
        reliability=[
            {"low": b.low, "high": b.high, "n": b.count, "confidence": b.confidence, "accuracy": b.accuracy}
            for b in metrics.reliability(probs, labels)
        ],
        mistakes=[
            {
                "path": paths[row],
                "label": classes[labels[row]],
                "predicted": classes[answers[row]],
                "probability": round(float(probs[row].max()), 4),
            }
            for row in wrong[:MISTAKES_TOLD]
        ],
    )


def _class_row(row: metrics.ClassScore, matrix: NDArray[np.int64], place: int) -> dict[str, Any]:
    low, high = metrics.wilson(int(matrix[place, place]), row.count)
    answered, asked = bool(matrix[:, place].any()), bool(row.count)
    return {
        "label": row.name,
        "n": row.count,
        "precision": row.precision if answered else None,
        "recall": row.recall if asked else None,
        "recall_low": low if asked else None,
        "recall_high": high if asked else None,
        "f1": row.f1,
    }
