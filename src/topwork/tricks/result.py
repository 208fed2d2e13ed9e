"""What became of one trick, and which of many are clear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from topwork.tricks.verdicts import CLEAR, holm

Verdict = Literal["base", "better", "worse", "not clear"]


@dataclass(frozen=True)
class Result:
    """How a variant did over the seeds."""

    name: str
    topic: str
    accuracy: float
    """Mean over the seeds, on pictures that chose nothing."""
    low: float
    """95 % interval of the mean, by the spread over the seeds."""
    high: float
    gain: float
    """Mean difference to the base recipe, seed by seed."""
    gain_low: float
    """95 % interval of the mean difference, of this comparison alone."""
    gain_high: float
    p: float
    """Of no difference: paired t-test over the seeds, of this comparison alone."""
    adjusted: float
    """That p, adjusted for all comparisons (Holm 1979)."""
    verdict: Verdict
    """By the adjusted p."""
    epochs: float
    """Until 95 % of the best validation accuracy."""
    seconds: float
    """Of one run."""


def judged_together(results: Sequence[Result]) -> list[Result]:
    """The results with their adjusted p and verdict: of thirty tricks that bring nothing, one or two would else look clear."""
    base, *tricks = results
    judged = [base]
    for row, adjusted in zip(tricks, holm([row.p for row in tricks]), strict=True):
        verdict: Verdict = "not clear" if adjusted >= CLEAR else "better" if row.gain > 0 else "worse"
        judged.append(replace(row, adjusted=adjusted, verdict=verdict))
    return judged
