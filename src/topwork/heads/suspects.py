"""Pictures whose label is probably wrong, by confident learning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Suspect:
    """One picture that the head, never having seen it, is sure belongs elsewhere."""

    row: int
    given: int
    suggested: int
    score: float
    """Probability of the given class, 0..1: the smaller, the more suspect."""


def suspect_labels(probs: NDArray[np.floating], labels: NDArray[np.int64]) -> list[Suspect]:
    """Suspect labels, worst first, from OUT-OF-FOLD probabilities (N, K) (Northcutt 2021).

    A class's bar is the mean probability that its own pictures get for it. A picture counts for the likeliest of the
    classes whose bar it reaches; it is suspect if that is not its given one.
    """
    probs = np.asarray(probs, np.float64)
    count, classes = probs.shape
    mine = probs[np.arange(count), labels]
    size = np.bincount(labels, minlength=classes)
    bar = np.bincount(labels, mine, classes) / np.maximum(size, 1)
    bar[size == 0] = np.inf
    reached = np.where(probs >= bar - 1e-12, probs, -1.0)
    suggested = reached.argmax(1)
    found = np.flatnonzero((reached.max(1) >= 0) & (suggested != labels))
    found = found[np.argsort(mine[found], kind="stable")]
    return [Suspect(int(row), int(labels[row]), int(suggested[row]), float(mine[row])) for row in found]
