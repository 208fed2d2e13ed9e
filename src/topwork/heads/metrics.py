"""Figures about answers: intervals, calibration error, confusion, per-class scores, log loss, AUROC."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Float64 = NDArray[np.float64]
Labels = NDArray[np.int64]

Z95 = 1.959963984540054
"""Two-sided 95 % point of the normal distribution."""


def wilson(right: int, count: int, z: float = Z95) -> tuple[float, float]:
    """Interval (low, high) of a share `right` of `count`, 95 % by default (Wilson 1927); (0, 1) for no pictures."""
    if count <= 0:
        return 0.0, 1.0
    share = right / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * float(np.sqrt(share * (1 - share) / count + z * z / (4 * count * count)))
    # At 0 and at `count` the bound is exact; rounding must not move it inside.
    low = 0.0 if right <= 0 else max(0.0, middle - half)
    high = 1.0 if right >= count else min(1.0, middle + half)
    return low, high


def softmax(logits: Floats, temperature: float = 1.0) -> NDArray[np.float32]:
    """Probabilities (N, K) of logits (N, K)."""
    scaled = np.asarray(logits, np.float32) / np.float32(temperature)
    scaled = np.exp(scaled - scaled.max(1, keepdims=True)) if scaled.size else scaled
    return np.asarray(scaled / scaled.sum(1, keepdims=True), np.float32)


def log_loss(logits: Floats, labels: Labels, temperature: float = 1.0) -> float:
    """Mean -log p of the true class, in nats; logits (N, K)."""
    scaled = np.asarray(logits, np.float64) / temperature
    top = scaled.max(1)
    total = np.log(np.exp(scaled - top[:, None]).sum(1)) + top
    return float((total - scaled[np.arange(len(labels)), labels]).mean())


def accuracy(scores: Floats, labels: Labels) -> float:
    """Share of pictures whose largest score (N, K) is their own class."""
    return float((scores.argmax(1) == labels).mean())


@dataclass(frozen=True)
class Bin:
    """One bar of a reliability diagram."""

    low: float
    high: float
    count: int
    confidence: float
    """Mean probability of the answers in the bin; 0 in an empty one."""
    accuracy: float
    """Share of them that is right; 0 in an empty one."""


def reliability(probs: Floats, labels: Labels, bins: int = 15) -> list[Bin]:
    """Equal-width bins of the answers' probability, (low, high] each; probs (N, K)."""
    confidence = np.asarray(probs, np.float64).max(1)
    right = probs.argmax(1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    mean = np.bincount(place, confidence, bins) / np.maximum(count, 1)
    share = np.bincount(place, right, bins) / np.maximum(count, 1)
    return [Bin(i / bins, (i + 1) / bins, int(count[i]), float(mean[i]), float(share[i])) for i in range(bins)]


def expected_calibration_error(probs: Floats, labels: Labels, bins: int = 15) -> float:
    """Mean distance of confidence and accuracy over the bins, weighted by pictures (Naeini 2015)."""
    if not len(labels):
        return 0.0
    table = reliability(probs, labels, bins)
    return sum(row.count * abs(row.confidence - row.accuracy) for row in table) / len(labels)


def confusion(labels: Labels, answers: Labels, classes: int) -> Labels:
    """Counts (K, K): true class by row, answer by column."""
    return np.bincount(labels * classes + answers, minlength=classes * classes).reshape(classes, classes).astype(np.int64)


@dataclass(frozen=True)
class ClassScore:
    """How one class fares. A share of nothing is 0."""

    name: str
    count: int
    precision: float
    recall: float
    f1: float


def per_class(matrix: Labels, names: list[str]) -> list[ClassScore]:
    """Scores of every class from a confusion matrix (K, K)."""
    hits = np.diag(matrix).astype(np.float64)
    count, answers = matrix.sum(1), matrix.sum(0)
    precision = hits / np.maximum(answers, 1)
    recall = hits / np.maximum(count, 1)
    f1 = 2 * hits / np.maximum(count + answers, 1)
    return [
        ClassScore(name, int(count[i]), float(precision[i]), float(recall[i]), float(f1[i])) for i, name in enumerate(names)
    ]


def ranks(values: Floats) -> Float64:
    """1-based ranks (N,), the mean rank for equal values."""
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return np.asarray((last - (count - 1) / 2)[place], np.float64)


def auroc(scores: Floats, positive: NDArray[np.bool_]) -> float:
    """Chance that a positive scores above a negative, a tie counting half (Mann and Whitney 1947); nan if one side is empty."""
    yes = int(positive.sum())
    no = len(positive) - yes
    if not yes or not no:
        return float("nan")
    return float((ranks(scores)[positive].sum() - yes * (yes + 1) / 2) / (yes * no))
