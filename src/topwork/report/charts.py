"""Charts as inline SVG, coloured by style.css so that they follow light and dark. No chart needs a script.

Charts with text are laid out in per cent of their width: letters keep their size on a telephone.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from topwork.heads.metrics import wilson
from topwork.report.text import Facts, WrongOf, count, interval, number, percent, probability, safe

AXES = (0.95, 0.9, 0.8, 0.5, 0.0)
"""Where the axis of accuracies may begin: the largest that leaves the lowest interval some room."""
GRAFT_GREEN = (62, 138, 94)
RUST = (200, 88, 58)
"""The two colours of pictures that cannot follow style.css; readable on light and on dark."""

MARK = (
    '<svg class="mark" viewBox="0 0 24 24" aria-hidden="true"><path class="trunk" d="M12 22V15.5"/>'
    '<path class="cut" d="M8.5 16.5l7-3"/><path class="crown" d="M12 13c-5.5 0-7.5-3-7-8 4.5 0 7 2.5 7 6 0-4 2.5-7 7.5-8 '
    '.5 6-2 10-7.5 10z"/></svg>'
)


def intervals(rows: Sequence[tuple[str, Facts]], chance: float | None = None) -> str:
    """Accuracies over one axis, each a dot with its 95 % interval as a bar. rows: (what, facts with accuracy, low, high, n)."""
    drawn = [(what, score) for what, score in rows if number(score.get("accuracy")) is not None]
    if not drawn:
        return ""
    ends = [_ends(score) for _, score in drawn]
    lowest = min(low for low, _, _ in ends)
    start = next(begin for begin in AXES if lowest >= begin + (0.1 * (1 - begin) if begin else 0.0) or begin == 0.0)

    def place(share: float) -> float:
        return round(100 * (share - start) / (1 - start), 3)

    parts, words, bottom = [], [], 46 * len(drawn)
    for tick in np.linspace(start, 1, 6):
        anchor = "start" if tick == start else "end" if tick == 1 else "middle"
        at = place(float(tick))
        parts += [
            f'<line class="grid" x1="{at}%" x2="{at}%" y1="{46 * row + 21}" y2="{46 * row + 41}"/>' for row in range(len(drawn))
        ]
        parts.append(f'<text class="tick" x="{at}%" y="{bottom + 18}" text-anchor="{anchor}">{round(100 * float(tick))}</text>')
    if chance is not None and chance > start:
        parts.append(f'<line class="chance" x1="{place(chance)}%" x2="{place(chance)}%" y1="21" y2="{bottom - 5}"/>')
    for row, ((what, score), (low, middle, high)) in enumerate(zip(drawn, ends, strict=True)):
        y = 46 * row + 16
        spread = interval(score.get("accuracy_low"), score.get("accuracy_high")) or percent(middle)
        parts.append(f'<text class="name" x="0" y="{y}">{safe(what)}</text>')
        parts.append(f'<text class="value" x="100%" y="{y}" text-anchor="end">{spread}</text>')
        parts.append(f'<rect class="track" x="0" y="{y + 9}" width="100%" height="12" rx="6"/>')
        if high > low:
            width = max(0.5, place(high) - place(low))
            kind = "band second" if row else "band"
            parts.append(f'<rect class="{kind}" x="{place(low)}%" y="{y + 9}" width="{width:.3f}%" height="12" rx="6"/>')
        parts.append(f'<circle class="dot" cx="{place(middle)}%" cy="{y + 15}" r="6"/>')
        words.append(f"{what}: {percent(middle)}, 95 % interval {spread}")
    return _svg("intervals", f'width="100%" height="{bottom + 24}"', "; ".join(words), parts)


def _ends(score: Facts) -> tuple[float, float, float]:
    middle = number(score["accuracy"]) or 0.0
    low, high = number(score.get("accuracy_low")), number(score.get("accuracy_high"))
    return (middle if low is None else low), middle, (middle if high is None else high)


def orchard(wrong: WrongOf) -> str:
    """One dot per picture of `base`: those that come out wrong, those that may, and the rest."""
    columns, rows = {100: (20, 5), 1000: (50, 20), 10_000: (200, 50)}[wrong.base]
    most = max(wrong.about, wrong.most or 0)
    kinds = (("sour", 0, wrong.about), ("doubt", wrong.about, most), ("sweet", most, wrong.base))
    parts = ["<defs>"]
    for kind, _, _ in kinds:
        dot = f'<circle class="{kind}" cx="5" cy="5" r="3.7"/>'
        parts.append(f'<pattern id="{kind}" width="10" height="10" patternUnits="userSpaceOnUse">{dot}</pattern>')
    parts.append("</defs>")
    for kind, begin, end in kinds:
        for x, y, width, height in _runs(begin, end, columns):
            parts.append(f'<rect fill="url(#{kind})" x="{10 * x}" y="{10 * y}" width="{10 * width}" height="{10 * height}"/>')
    label = f"{wrong.base:,} dots, one a picture: {wrong.about:,} come out wrong, up to {most:,} may"
    return _svg("orchard", f'viewBox="0 0 {10 * columns} {10 * rows}"', label, parts)


def _runs(begin: int, end: int, columns: int) -> list[tuple[int, int, int, int]]:
    """The cells begin..end of a grid filled row by row, as at most three rectangles (x, y, width, height)."""
    runs = []
    while begin < end:
        row, column = divmod(begin, columns)
        whole = (end - begin) // columns
        if column == 0 and whole:
            runs.append((0, row, columns, whole))
            begin += whole * columns
        else:
            width = min(columns - column, end - begin)
            runs.append((column, row, width, 1))
            begin += width
    return runs


def bar(share: object, low: object = None, high: object = None) -> str:
    """A share as a small bar, with its interval as a whisker. Decoration: the number stands beside it."""
    value = number(share)
    if value is None:
        return ""
    parts = [
        '<rect class="track" width="100%" height="8" y="3" rx="2"/>',
        f'<rect class="fill" width="{100 * value:.1f}%" height="8" y="3" rx="2"/>',
    ]
    ends = number(low), number(high)
    if ends[0] is not None and ends[1] is not None:
        left, right = f"{100 * ends[0]:.1f}%", f"{100 * ends[1]:.1f}%"
        parts.append(f'<line class="whisker" x1="{left}" x2="{right}" y1="7" y2="7"/>')
        parts += [f'<line class="whisker" x1="{at}" x2="{at}" y1="3" y2="11"/>' for at in (left, right)]
    return f'<svg class="bar" width="100%" height="14" aria-hidden="true">{"".join(parts)}</svg>'


def reliability(bins: Sequence[Facts]) -> str:
    """Stated probability against share right, a dot per bin with its 95 % interval; below it, the pictures of each bin."""
    filled = [
        (number(one.get("confidence")) or 0.0, number(one.get("accuracy")) or 0.0, int(number(one.get("n")) or 0), one)
        for one in bins
    ]
    filled = [one for one in filled if one[2] > 0]
    if not filled:
        return ""
    left, top, side, floor, tall = 44, 10, 320, 420, 62

    def x(share: float) -> float:
        return round(left + side * share, 1)

    def y(share: float) -> float:
        return round(top + side * (1 - share), 1)

    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(f'<line class="grid" x1="{x(0)}" x2="{x(1)}" y1="{y(tick)}" y2="{y(tick)}"/>')
        parts.append(f'<text class="tick" x="{left - 8}" y="{y(tick) + 4}" text-anchor="end">{100 * tick:.0f}</text>')
        parts.append(f'<text class="tick" x="{x(tick)}" y="{floor + 17}" text-anchor="middle">{100 * tick:.0f}</text>')
    parts.append(f'<line class="ideal" x1="{x(0)}" y1="{y(0)}" x2="{x(1)}" y2="{y(1)}"/>')
    parts.append(f'<line class="grid" x1="{x(0)}" x2="{x(1)}" y1="{floor}" y2="{floor}"/>')
    most = max(n for _, _, n, _ in filled)
    for confidence, accuracy, n, one in filled:
        low, high = wilson(round(accuracy * n), n)
        parts.append(f'<line class="whisker" x1="{x(confidence)}" x2="{x(confidence)}" y1="{y(low)}" y2="{y(high)}"/>')
        parts.append(f'<circle class="dot" cx="{x(confidence)}" cy="{y(accuracy)}" r="5"/>')
        begin, end = x(number(one.get("low")) or 0.0), x(number(one.get("high")) or 1.0)
        height = max(1.5, (tall - 14) * math.sqrt(n / most))
        box = f'x="{begin + 1:.1f}" y="{floor - height:.1f}" width="{max(1.0, end - begin - 2):.1f}" height="{height:.1f}"'
        at = f'x="{(begin + end) / 2:.1f}" y="{floor - height - 4:.1f}"'
        parts.append(f'<rect class="fill" {box}/><text class="small" {at} text-anchor="middle">{_brief(n)}</text>')
    middle = left + side / 2
    parts.append(f'<text class="axis" x="{middle}" y="{floor + 36}" text-anchor="middle">said with this probability (%)</text>')
    parts.append(
        f'<text class="axis" transform="translate(11 {top + side / 2}) rotate(-90)" text-anchor="middle">were right (%)</text>'
    )
    words = "; ".join(f"said {probability(c)}, right {percent(a)} of {count(n)}" for c, a, n, _ in filled)
    return _svg("reliability", f'viewBox="0 0 384 {floor + 44}"', f"Reliability diagram. {words}", parts)


def _brief(n: int) -> str:
    return str(n) if n < 1000 else f"{n / 1000:.1f}k" if n < 9950 else f"{n / 1000:.0f}k"


def heat_picture(confusion: NDArray[np.float64], most_pixels: int = 200) -> str:
    """Data URI of the confusion matrix (K, K), a pixel a class (or a few): right answers green, wrong ones rust, none clear."""
    classes = len(confusion)
    step = -(-classes // most_pixels)
    side = -(-classes // step)
    right = np.eye(classes, dtype=bool)
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)  # (K, K), each row of 1
    pixels = np.zeros((side, side, 4), np.uint8)
    for colour, part, least in ((GRAFT_GREEN, np.where(right, shares, 0), 0.15), (RUST, np.where(right, 0, shares), 0.5)):
        padded = np.zeros((side * step, side * step))
        padded[:classes, :classes] = part
        strongest = padded.reshape(side, step, side, step).max((1, 3))
        seen = strongest > 0
        pixels[seen, :3] = colour
        pixels[seen, 3] = np.round(255 * (least + (1 - least) * np.sqrt(strongest[seen]))).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels, "RGBA").save(stream, "PNG")
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _svg(kind: str, size: str, label: str, parts: Sequence[Any]) -> str:
    return f'<svg class="{kind}" {size} role="img" aria-label="{safe(label)}">{"".join(parts)}</svg>'
