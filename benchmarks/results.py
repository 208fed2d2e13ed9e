"""What the parts hand back: figures with their spread, ratios beside their targets; and both as JSON and Markdown."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Figure:
    """One measured quantity: the median of its runs and their spread."""

    contender: str
    quantity: str
    unit: str
    values: tuple[float, ...]
    note: str = ""

    @property
    def median(self) -> float:
        """The middle of the runs."""
        return statistics.median(self.values)


@dataclass(frozen=True)
class Check:
    """A figure or ratio with what it should reach."""

    name: str
    values: tuple[float, ...]
    """One per round: of contenders that ran in the same minutes."""
    target: float | None = None
    sense: Literal[">=", "<="] = ">="
    unit: str = "x"
    value: float | None = None
    """The one that counts: the ratio of the medians. None: the median of `values`."""
    needs_bf16: bool = False
    """The target was set on a processor that computes bf16 by itself."""

    @property
    def counted(self) -> float:
        """The value that is held against the target."""
        return statistics.median(self.values) if self.value is None else self.value

    @property
    def reached(self) -> bool | None:
        """None where there is no target."""
        if self.target is None:
            return None
        return self.counted >= self.target if self.sense == ">=" else self.counted <= self.target


@dataclass
class Part:
    """All that one part of the benchmark measured."""

    name: str
    title: str
    figures: list[Figure] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, contender: str, quantity: str, unit: str, values: Sequence[float], note: str = "") -> None:
        """Keep a figure; nothing is kept where there are no values (the contender failed)."""
        if values:
            self.figures.append(Figure(contender, quantity, unit, tuple(values), note))

    def ratio(
        self,
        name: str,
        above: Sequence[float],
        below: Sequence[float],
        target: float | None = None,
        sense: Literal[">=", "<="] = ">=",
        needs_bf16: bool = False,
        unit: str = "x",
    ) -> None:
        """Keep the ratio of two contenders' medians, its spread from the runs of the same rounds."""
        if above and below:
            pairs = tuple(a / b for a, b in zip(above, below, strict=False))
            value = statistics.median(above) / statistics.median(below)
            self.checks.append(Check(name, pairs, target, sense, unit, value, needs_bf16))

    def check(self, name: str, values: Sequence[float], target: float | None, sense: Literal[">=", "<="], unit: str) -> None:
        """Keep a figure that has a target of its own."""
        if values:
            self.checks.append(Check(name, tuple(values), target, sense, unit))


def to_json(part: Part) -> dict[str, Any]:
    """The part as JSON types, medians and verdicts beside the raw values."""
    document = asdict(part)
    for shown, figure in zip(document["figures"], part.figures, strict=True):
        shown["median"] = figure.median
    for shown, check in zip(document["checks"], part.checks, strict=True):
        shown["value"], shown["reached"] = check.counted, check.reached
    return document


def to_markdown(part: Part, has_bf16: bool) -> str:
    """The part as Markdown: ratios with their targets first, then every figure, then notes and failures."""
    lines = [f"## {part.title}", ""]
    if part.checks:
        lines += ["| what | value | spread | target | |", "|---|---|---|---|---|"]
        for check in part.checks:
            unit = check.unit if check.unit in ("", "x") else f" {check.unit}"
            target = "" if check.target is None else f"{check.sense} {number(check.target)}{unit}"
            row = (check.name, f"**{number(check.counted)}{unit}**", spread(check.values), target, _verdict(check, has_bf16))
            lines.append(f"| {' | '.join(row)} |")
        lines.append("")
    if part.figures:
        lines += ["| contender | quantity | median | spread | runs | |", "|---|---|---|---|---|---|"]
        for figure in part.figures:
            cells = (figure.contender, figure.quantity, f"{number(figure.median)} {figure.unit}".strip())
            lines.append(f"| {' | '.join(cells)} | {spread(figure.values)} | {len(figure.values)} | {figure.note} |")
        lines.append("")
    lines += [f"- {note}" for note in part.notes]
    if part.notes:
        lines.append("")
    for name, text in part.failures.items():
        lines += [f"**FAILED: {name}**", "", "```", text, "```", ""]
    return "\n".join(lines)


def _verdict(check: Check, has_bf16: bool) -> str:
    if check.reached is None:
        return ""
    if check.reached:
        return "reached"
    return "missed (target needs bf16)" if check.needs_bf16 and not has_bf16 else "missed"


def number(value: float) -> str:
    """A number with the digits that mean something: 1234, 56.7, 8.90, 0.123."""
    size = abs(value)
    return f"{value:.0f}" if size >= 1000 else f"{value:.1f}" if size >= 20 else f"{value:.2f}" if size >= 1 else f"{value:.3f}"


def spread(values: Sequence[float]) -> str:
    """Smallest and largest."""
    return f"{number(min(values))} to {number(max(values))}" if len(values) > 1 else ""


def wilson(count: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share, `count` of `n` (Wilson 1927)."""
    share = count / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def auroc(known: Sequence[float], strangers: Sequence[float]) -> tuple[float, float, float]:
    """How often a stranger's score is above a known picture's, ties half; with its 95 % interval (Hanley and McNeil 1982)."""
    ordered = sorted(known)
    n, m = len(ordered), len(strangers)
    wins = sum((_below(ordered, score) + _below(ordered, score, ties=True)) / 2 for score in strangers)
    area = wins / (n * m)
    first, second = area / (2 - area), 2 * area * area / (1 + area)
    variance = area * (1 - area) + (m - 1) * (first - area * area) + (n - 1) * (second - area * area)
    half = 1.96 * math.sqrt(max(variance, 0.0) / (n * m))
    return area, max(0.0, area - half), min(1.0, area + half)


def _below(ordered: Sequence[float], score: float, ties: bool = False) -> int:
    from bisect import bisect_left, bisect_right

    return bisect_right(ordered, score) if ties else bisect_left(ordered, score)
