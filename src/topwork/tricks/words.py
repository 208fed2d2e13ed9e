"""The tricks in words: the table, and what of it is clear."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from topwork.tricks.result import Result
from topwork.tricks.verdicts import CLEAR


def lines_of(results: Sequence[Result]) -> Iterator[str]:
    """The table as lines of text."""
    between = "95 % interval"
    yield f"{'trick':<30} {'right':>8} {between:>17} {'gain':>7} {between:>17} {'p, Holm':>8} {'epochs':>7} {'s':>6}"
    for row in results:
        base = row.topic == "base"
        gain = "" if base else f"{100 * row.gain:+.1f}"
        between = "" if base else f"{100 * row.gain_low:+.1f} to {100 * row.gain_high:+.1f}"
        chance = "" if base else "< 0.001" if row.adjusted < 0.001 else f"{row.adjusted:.3f}"
        yield (
            f"{row.name:<30} {100 * row.accuracy:>6.1f} % {100 * row.low:>8.1f} to {100 * row.high:>5.1f} "
            f"{gain:>7} {between:>17} {chance:>8} {row.epochs:>7.1f} {row.seconds:>6.1f}"
        )


def verdict_of(results: Sequence[Result]) -> str:
    """What is clear, as a sentence; the largest difference first."""
    better = sorted((row for row in results if row.verdict == "better"), key=lambda row: -row.gain)
    worse = sorted((row for row in results if row.verdict == "worse"), key=lambda row: row.gain)
    if not better and not worse:
        return "no trick is clearly better or worse than the base recipe"
    return "; ".join(
        f"clearly {word} than the base recipe: {', '.join(row.name for row in rows) or 'none'}"
        for word, rows in (("better", better), ("worse", worse))
    )


def adjustment(comparisons: int, seeds: int) -> str:
    """How it was decided what is clear."""
    return f"paired t-tests over {seeds} seeds, p < {CLEAR:g} adjusted for {comparisons} comparisons, Holm 1979"
