"""Which of many paired comparisons are clear: Student's t on the differences, adjusted for their number by Holm."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

CLEAR = 0.05
"""A difference is clear where its adjusted p is below: then the chance that any of all comparisons is called clear, if nothing
differs, is below it too."""


def holm(chances: Sequence[float]) -> list[float]:
    """The p of each comparison, adjusted for all of them: the step-down procedure of Holm (1979).

    The smallest is multiplied by their number m, the next by m - 1, and so on; none is below a smaller one's, none above 1.
    """
    adjusted, floor = [0.0] * len(chances), 0.0
    for place, index in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        floor = max(floor, min(1.0, (len(chances) - place) * chances[index]))
        adjusted[index] = floor
    return adjusted


def paired(differences: Float64, grain: float = 0.0) -> float:
    """Two-sided p of no difference, from paired differences (n,): Student's t-test (1908). 1 where fewer than two are given.

    `grain` is the finest difference that can be seen, as in `interval`.
    """
    n, mean = len(differences), float(differences.mean())
    if n < 2 or mean == 0:
        return 1.0
    error = _error(differences, grain)
    return student(mean / error if error else math.inf, n - 1)


def interval(values: Float64, grain: float = 0.0) -> tuple[float, float]:
    """95 % interval of the mean of values (n,) that differ by chance, by Student's t; nan where fewer than two are given.

    Values that are counts of pictures can be equal by chance, and two seeds that agree are not certainty: their deviation is
    taken as no smaller than that of rounding to `grain` (Sheppard 1898).
    """
    if len(values) < 2:
        return math.nan, math.nan
    half = bound(len(values) - 1) * _error(values, grain)
    return float(values.mean()) - half, float(values.mean()) + half


def student(t: float, freedom: int) -> float:
    """Chance of a Student's t at least as far from 0, either side: Abramowitz and Stegun (1964), 26.7.3 and 26.7.4."""
    angle = math.atan(abs(t) / math.sqrt(freedom))
    odd = freedom % 2
    term, total = math.cos(angle) if odd else 1.0, 0.0
    for step in range(1 + odd, freedom, 2):
        total += term
        term *= math.cos(angle) ** 2 * step / (step + 1)
    inside = math.sin(angle) * total
    return max(0.0, 1 - (2 / math.pi * (angle + inside) if odd else inside))


def bound(freedom: int) -> float:
    """The t that chance leaves in one case of twenty, either side."""
    low, high = 0.0, 13.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if student(middle, freedom) > 0.05 else (low, middle)
    return high


def _error(values: Float64, grain: float) -> float:
    """Standard error of the mean."""
    return max(float(values.std(ddof=1)), grain / math.sqrt(12)) / math.sqrt(len(values))
