"""Curves and scatters over two axes as inline SVG, coloured by style.css so that they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from topwork.report.text import safe

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 340, 52, 44, 12


@dataclass(frozen=True)
class Axis:
    """One axis: where it begins and ends, its ticks, and what it tells."""

    low: float
    high: float
    ticks: Sequence[float]
    words: str
    label: Callable[[float], str] = "{:g}".format
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Where a value stands between the ends, 0 to 1."""
        ends = [self.low, self.high, value]
        low, high, at = [math.log(max(one, 1e-9)) for one in ends] if self.logarithmic else ends
        return (at - low) / max(high - low, 1e-12)


@dataclass(frozen=True)
class Dot:
    """A value with its interval and its name."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    words: str = ""
    kind: str = "dot"
    name: str = ""
    """Written beside it."""


def plot(
    kind: str,
    words: str,
    x: Axis,
    y: Axis,
    dots: Sequence[Dot],
    line: Sequence[tuple[float, float]] = (),
    band: Sequence[tuple[float, float, float]] = (),
    marks: Sequence[tuple[str, float, str]] = (),
) -> str:
    """An SVG with dots, a line (x, y), a band (x, low, high), and marked values ("x" or "y", value, words)."""

    def across(value: float) -> float:
        return round(LEFT + (WIDTH - LEFT - 14) * min(max(x.share(value), 0), 1), 1)

    def up(value: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * min(max(y.share(value), 0), 1), 1)

    left, right, floor = LEFT, WIDTH - 14, HEIGHT - BOTTOM
    parts = []
    for tick in y.ticks:
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{up(tick)}" y2="{up(tick)}"/>')
        parts.append(f'<text class="tick" x="{left - 8}" y="{up(tick) + 4}" text-anchor="end">{safe(y.label(tick))}</text>')
    for tick in x.ticks:
        parts.append(f'<line class="grid" x1="{across(tick)}" x2="{across(tick)}" y1="{floor}" y2="{floor + 4}"/>')
        at = f'x="{across(tick)}" y="{floor + 18}"'
        parts.append(f'<text class="tick" {at} text-anchor="middle">{safe(x.label(tick))}</text>')
    parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{floor}" y2="{floor}"/>')
    if band:
        edge = [(across(at), up(high)) for at, _, high in band] + [(across(at), up(low)) for at, low, _ in reversed(band)]
        parts.append(f'<polygon class="band second" points="{" ".join(f"{a},{b}" for a, b in edge)}"/>')
    if line:
        parts.append(f'<polyline class="course" points="{" ".join(f"{across(a)},{up(b)}" for a, b in line)}"/>')
    for which, value, told in marks:
        if which == "x":
            parts.append(f'<line class="ideal" x1="{across(value)}" x2="{across(value)}" y1="{TOP}" y2="{floor}"/>')
            end = across(value) > 0.8 * WIDTH
            at = f'x="{across(value) + (-5 if end else 5)}" y="{floor - 7}" text-anchor="{"end" if end else "start"}"'
        else:
            parts.append(f'<line class="ideal" x1="{left}" x2="{right}" y1="{up(value)}" y2="{up(value)}"/>')
            at = f'x="{left + 6}" y="{up(value) - 5}"'
        parts.append(f'<text class="small" {at}>{safe(told)}</text>')
    for one in dots:
        spot, middle = across(one.x), up(one.y)
        if one.low is not None and one.high is not None:
            parts.append(f'<line class="whisker" x1="{spot}" x2="{spot}" y1="{up(one.low)}" y2="{up(one.high)}"/>')
        title = f"<title>{safe(one.words)}</title>" if one.words else ""
        parts.append(f'<circle class="{one.kind}" cx="{spot}" cy="{middle}" r="5">{title}</circle>')
        if one.name:
            end = spot > 0.62 * WIDTH
            where = f'x="{spot + (-10 if end else 10)}" y="{middle - 8}" text-anchor="{"end" if end else "start"}"'
            parts.append(f'<text class="small" {where}>{safe(one.name)}</text>')
    parts.append(f'<text class="axis" x="{(left + right) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{safe(x.words)}</text>')
    turned = f'transform="translate(12 {(TOP + floor) / 2}) rotate(-90)" text-anchor="middle"'
    parts.append(f'<text class="axis" {turned}>{safe(y.words)}</text>')
    size = f'viewBox="0 0 {WIDTH} {HEIGHT}"'
    return f'<svg class="plot {kind}" {size} role="img" aria-label="{safe(words)}">{"".join(parts)}</svg>'


def bars(values: Sequence[tuple[str, float]], words: str, from_place: int) -> str:
    """Values side by side, those from a place on in the stronger colour; each tells its name under the pointer."""
    most = max([value for _, value in values] + [1e-9])
    width = 100 / max(len(values), 1)
    parts = []
    for place, (name, value) in enumerate(values):
        height = 118 * value / most
        kind = "fill" if place >= from_place else "faint"
        box = f'x="{place * width + 0.1 * width:.2f}%" y="{124 - height:.1f}" width="{0.8 * width:.2f}%" height="{height:.1f}"'
        parts.append(f'<rect class="{kind}" {box}><title>{safe(name)}: {value:.3f}</title></rect>')
    parts.append('<line class="grid" x1="0" x2="100%" y1="124.5" y2="124.5"/>')
    return f'<svg class="bars" width="100%" height="126" role="img" aria-label="{safe(words)}">{"".join(parts)}</svg>'


def ticks_between(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers between two, about so many."""
    span = max(high - low, 1e-9)
    step = 10 ** math.floor(math.log10(span / about))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= about)
    first = math.ceil(low / step - 1e-9)
    return [round(place * step, 10) for place in range(first, math.floor(high / step + 1e-9) + 1)]
