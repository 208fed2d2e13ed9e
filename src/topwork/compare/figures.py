"""The figures of distance, compare, curve and map, as PNG or SVG files. Imports matplotlib."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from topwork.captions import caption
from topwork.compare.words import percent
from topwork.errors import InputError
from topwork.runtime import publish_file

if TYPE_CHECKING:
    from topwork.compare.distance import Distance
    from topwork.compare.learning import Curve
    from topwork.compare.picker import Compared, Comparison

GREEN, RUST, INK, SOFT, FAINT = "#3e8a5e", "#c8583a", "#2b2a26", "#8a877d", "#dedbd2"
PAPER = "#fdfcf8"
SUFFIXES = (".png", ".svg")

LABEL_PLACES = (7, -13, 20, -26, 33, -39, 46, -52, 59, -65, 72, -78)
"""Points above a dot where its label may stand, the best first."""


def check_figure(path: Path, suffixes: tuple[str, ...] = SUFFIXES) -> None:
    """Raise InputError unless `path` names a file of these kinds that can be written."""
    if path.suffix.lower() not in suffixes:
        raise InputError(f"{path}: expected a file that ends in {', '.join(suffixes[:-1])} or {suffixes[-1]}.")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: its folder does not exist. Make it, or choose another place.")


def draw(figure: Any, path: Path) -> None:
    """Write a figure to a .png or .svg file and forget it. Raises StorageError."""
    import matplotlib.pyplot as plt

    stream = io.BytesIO()
    kind = path.suffix.lower().removeprefix(".")
    figure.savefig(stream, format=kind, dpi=160, facecolor=PAPER, metadata={"Date": None} if kind == "svg" else None)
    plt.close(figure)
    publish_file(path, stream.getvalue())


def _new(width: float, height: float, **more: Any) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg", force=False)
    import matplotlib.pyplot as plt

    with plt.rc_context():
        figure, axes = plt.subplots(figsize=(width, height), layout="constrained", **more)
    for one in np.atleast_1d(axes).flat:
        _plain(one)
    return figure, axes


def _plain(axes: Any) -> None:
    axes.set_facecolor(PAPER)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(SOFT)
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(axis="y", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)


def _title(axes: Any, title: str, below: str) -> None:
    axes.set_title(f"{title}\n", loc="left", fontsize=13, fontweight="bold", color=INK, parse_math=False)
    axes.text(0, 1.015, below, transform=axes.transAxes, fontsize=9, color=SOFT, va="bottom", parse_math=False)


def distance_figure(found: Distance, name: str) -> Any:
    """The profile over depth, what each stage alone knows where there are labels, and where well-known sets stand."""
    if not found.layers:
        raise InputError(f"{found.backbone}: has no normalisation layers, so there is no profile to draw. Leave --out out.")
    stages = found.details.get("stages") or []
    figure, grid = _new(9.6, 5.6 if stages else 4.0, nrows=2 if stages else 1, ncols=2, squeeze=False, width_ratios=(4.2, 1),
                        height_ratios=(1.5, 1) if stages else (1,), sharex="col")  # fmt: skip
    axes = grid[0, 0]
    values = [one["distance"] for one in found.layers]
    places = np.arange(len(values))
    third = len(values) - max(1, len(values) // 3)
    for one in grid[:, 0]:
        one.axvspan(third - 0.5, len(values) - 0.5, color=GREEN, alpha=0.09, linewidth=0)
    axes.text(len(values) - 0.8, 0.98, "what a head reads", transform=axes.get_xaxis_transform(), ha="right", va="top",
              fontsize=8.5, color=GREEN)  # fmt: skip
    axes.bar(places, values, width=0.78, color=RUST)
    axes.hlines(found.distance, third - 0.5, len(values) - 0.5, color=INK, linewidth=1.6)
    axes.set_ylim(0, max(0.06, 1.18 * max(values)))
    axes.set_ylabel("distance", fontsize=9, color=INK)
    _title(axes, f"How strange {name} is to {found.backbone}: {found.distance:.3f}", _advice_line(found))
    starts = _stage_starts([one["name"] for one in found.layers])
    shown = [(place, stage) for place, stage in starts if "." in stage and (place > 2 or len(starts) < 4)]
    grid[-1, 0].set_xticks([place for place, _ in shown], [stage for _, stage in shown], fontsize=8.5)
    grid[-1, 0].set_xlim(-0.7, len(values) - 0.3)
    grid[-1, 0].set_xlabel("normalisation layers, first to last", fontsize=9, color=INK)
    if stages:
        knows = {one["name"]: one["accuracy"] for one in stages}
        spots = [(end, knows[stage]) for end, stage in _ends(starts, len(values)) if stage in knows]
        below = grid[1, 0]
        below.plot([x for x, _ in spots], [y for _, y in spots], color=GREEN, marker="o", markersize=5, linewidth=1.6)
        for x, y in spots:
            apart = -13 if y > 0.15 else 6  # not on the axis
            below.annotate(f"{100 * y:.0f}", (x, y), xytext=(0, apart), textcoords="offset points", ha="center", fontsize=8)
        below.set_ylim(0, 1.06)
        below.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        below.set_ylabel("right from this\nstage alone", fontsize=9, color=INK)
        grid[1, 1].set_visible(False)
    _scale(grid[0, 1], found.distance, name, found.backbone)
    return figure


def _scale(axes: Any, value: float, name: str, backbone: str) -> None:
    """A strip with the folder's figure among those of well-known sets."""
    from topwork.compare.distance import LANDMARKS

    known = LANDMARKS if backbone == "lite0" else {}
    top = 1.15 * max([value, 0.05, *known.values()])
    axes.grid(visible=False)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, top)
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(bottom=False, labelbottom=False)
    taken = [value]
    axes.plot([0, 0.12], [value, value], color=RUST, linewidth=2.4, solid_capstyle="butt")
    axes.text(0.16, value, caption(name, 20), fontsize=9, color=RUST, fontweight="bold", va="center")
    for what, figure_of in known.items():
        axes.plot([0, 0.07], [figure_of, figure_of], color=SOFT, linewidth=1.2)
        if min(abs(figure_of - other) for other in taken) > top / 22:
            axes.text(0.16, figure_of, what, fontsize=8, color=SOFT, va="center")
            taken.append(figure_of)


def _advice_line(found: Distance) -> str:
    words = {"last": "the last layer", "staged": "staged features", "finetune": "fine-tuning"}
    told = f"advice: {words[found.advice]}" if found.advice else "no labels, no advice"
    block = found.details.get("from_block")
    return told + (f" from {block}" if found.advice == "finetune" else "") + f" · {found.pictures:,} pictures"


def _stage_starts(names: list[str]) -> list[tuple[int, str]]:
    """(first place, name) of each run of layers whose names share their first two parts."""
    starts: list[tuple[int, str]] = []
    for place, name in enumerate(names):
        stage = ".".join(name.split(".")[:2]) if "." in name else name
        if not starts or starts[-1][1] != stage:
            starts.append((place, stage))
    return starts


def _ends(starts: list[tuple[int, str]], count: int) -> list[tuple[float, str]]:
    following = [place for place, _ in starts[1:]] + [count]
    return [(end - 1.0, name) for (_, name), end in zip(starts, following, strict=True)]


def curve_figure(found: Curve, name: str) -> Any:
    """Accuracy against pictures a class, the forecast with its interval, and the classes that gain most."""
    figure, (axes, gains) = _new(10.4, 4.4, ncols=2, width_ratios=(1.75, 1))
    now, twice = found.forecast["now"], found.forecast["twice"]
    path = found.forecast["path"]
    x = [one["per_class"] for one in path]
    axes.fill_between(x, [one["low"] for one in path], [one["high"] for one in path], color=GREEN, alpha=0.16, linewidth=0)
    axes.plot(x, [one["accuracy"] for one in path], color=GREEN, linewidth=1.6)
    spots = [one.per_class for one in found.points]
    right = np.array([one.accuracy for one in found.points])
    spread = np.array([[one.accuracy - one.low for one in found.points], [one.high - one.accuracy for one in found.points]])
    axes.errorbar(spots, right, yerr=spread, fmt="o", color=INK, markersize=4.5, elinewidth=1, capsize=2.5)
    axes.axvline(now["per_class"], color=SOFT, linewidth=0.9, linestyle=(0, (3, 3)))
    axes.text(now["per_class"], 0.02, " today", transform=axes.get_xaxis_transform(), fontsize=8.5, color=SOFT)
    goal, more = found.forecast["goal"], found.forecast["more_per_class"]
    axes.axhline(goal, color=RUST, linewidth=0.9, linestyle=(0, (3, 3)))
    needed = f"{100 * goal:.4g} %" + (f": {more:,.0f} more a class" if more else "")
    axes.text(0.01, goal, needed, transform=axes.get_yaxis_transform(), fontsize=8.5, color=RUST, va="bottom")
    axes.set_xscale("log")
    ticks = [one for one in (2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if min(x) <= one <= max(x)]
    axes.set_xticks(ticks, [str(one) for one in ticks])
    axes.minorticks_off()
    low = float(min(right.min() - 0.03, min(one["low"] for one in path)))
    axes.set_ylim(max(0.0, low), 1.005)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.set_xlabel("training pictures a class", fontsize=9, color=INK)
    axes.set_ylabel("right answers", fontsize=9, color=INK)
    _title(axes, f"How many more photos {name} takes",
           f"now {percent(now['accuracy'])}, with twice the pictures {percent(twice['accuracy'])} "
           f"({percent(twice['low'])} to {percent(twice['high'])})")  # fmt: skip
    rows = found.classes[:12][::-1]
    places = np.arange(len(rows))
    gains.grid(visible=False)
    gains.barh(places, [100 * one.gain for one in rows], color=GREEN, height=0.62)
    errors = [[max(0.0, 100 * (one.gain - one.low)) for one in rows], [max(0.0, 100 * (one.high - one.gain)) for one in rows]]
    gains.errorbar([100 * one.gain for one in rows], places, xerr=errors, fmt="none", color=INK, elinewidth=0.8, capsize=2)
    gains.set_yticks(places, [caption(one.label, 22) for one in rows], fontsize=8.5)
    gains.axvline(0, color=SOFT, linewidth=0.8)
    gains.set_xlabel("points gained", fontsize=9, color=INK)
    _title(gains, "Who gains most", "from twice the photos of the class")
    return figure


def pareto_figure(found: Comparison, name: str) -> Any:
    """Accuracy against milliseconds; the line joins those that nothing beats in both."""
    figure, axes = _new(8.4, 4.8)
    axes.grid(axis="x", color=FAINT, linewidth=0.7)
    rows = sorted(found.backbones, key=lambda one: one.latency_ms)
    widest = max([one.latency_ms for one in rows] + [found.budget["ms"] or 0]) * 1.15
    low = min(one.accuracy_low for one in rows)
    labels: list[tuple[Compared, float, str]] = []
    best, front = -1.0, []
    for one in rows:
        if one.accuracy > best and one.dropped is None:
            best = one.accuracy
            front.append(one)
    axes.step([one.latency_ms for one in front], [one.accuracy for one in front], where="post", color=GREEN, alpha=0.55)
    for one in rows:
        colour = RUST if one.name == found.pick else SOFT if one.dropped is not None else INK
        spread = [[one.accuracy - one.accuracy_low], [one.accuracy_high - one.accuracy]]
        area = 22 + 4 * one.size_mb
        axes.errorbar(one.latency_ms, one.accuracy, yerr=spread, fmt="none", color=colour, elinewidth=1, capsize=3)
        axes.scatter(one.latency_ms, one.accuracy, s=area, color=colour, zorder=3, alpha=0.9, linewidths=0)
        labels.append((one, (area / np.pi) ** 0.5, colour))
    if found.budget["ms"] is not None:
        axes.axvline(found.budget["ms"], color=RUST, linewidth=0.9, linestyle=(0, (3, 3)))
        axes.text(found.budget["ms"], 0.02, f" budget {found.budget['ms']:g} ms", transform=axes.get_xaxis_transform(),
                  fontsize=8.5, color=RUST)  # fmt: skip
    axes.set_xlim(0, widest)
    axes.set_ylim(max(0.0, low - 0.15 * (1 - low)), 1.0 + 0.05 * (1 - low))
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
    axes.set_xlabel("milliseconds for one picture, on this machine", fontsize=9, color=INK)
    axes.set_ylabel("right answers, held out", fontsize=9, color=INK)
    picked = f"pick: {found.pick}" if found.pick else "no network keeps within the budget"
    _title(axes, f"Which network for {name}", f"{picked} · {found.pictures:,} pictures · larger dots, larger files")
    _label(axes, labels)
    return figure


def _label(axes: Any, labels: list[tuple[Compared, float, str]]) -> None:
    """Name and accuracy beside each dot (network, the dot's radius in points, colour), where no other one stands."""
    from matplotlib.transforms import Bbox

    axes.figure.draw_without_rendering()  # places the axes, so that boxes can be compared
    place, scale = axes.bbox, axes.figure.dpi / 72
    taken: list[Any] = []  # boxes of what stands there already, the dots first
    for one, reach, _ in labels:
        middle = axes.transData.transform((one.latency_ms, one.accuracy))
        taken.append(Bbox([middle - reach * scale, middle + reach * scale]))
    for one, reach, colour in labels:
        network, _, weights = one.name.partition("=")
        called = f"{network}={Path(weights).name}" if weights else network
        told = f"{called} {percent(one.accuracy)}" + (" (dropped early)" if one.dropped else "")
        spot = (one.latency_ms, one.accuracy)
        tried: list[Any] = []  # (what is covered, order, text, box, shift) of each place
        for up, side in [(up, side) for up in LABEL_PLACES for side in (1, -1)]:
            shift = (side * (reach + 4), up)
            text = axes.annotate(told, spot, xytext=shift, textcoords="offset points", ha="left" if side > 0 else "right",
                                 fontsize=8.5, color=colour)  # fmt: skip
            box = text.get_window_extent()
            inside = place.x0 <= box.x0 and box.x1 <= place.x1 and place.y0 <= box.y0 and box.y1 <= place.y1
            tried.append((sum(box.overlaps(other) for other in taken) + 100 * (not inside), len(tried), text, box, shift))
            text.set_visible(False)
            if tried[-1][0] == 0:
                break
        _, _, text, box, shift = min(tried, key=lambda row: row[:2])
        text.set_visible(True)
        taken.append(box)
        if abs(shift[1]) > 13:  # a line leads to what stands far from its dot
            axes.annotate("", spot, xytext=shift, textcoords="offset points",
                          arrowprops={"arrowstyle": "-", "color": SOFT, "linewidth": 0.6, "shrinkA": 0})  # fmt: skip
