"""Figures: the photo, the change, the attacked photo and what is said of each; the curve of a bench."""

from __future__ import annotations

import io
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from topwork.answers import Prediction
from topwork.attack.epsilon import told, told_distance
from topwork.attack.recheck import likeliest_class
from topwork.attack.single import PhotoAttack
from topwork.captions import caption
from topwork.pictures.decode import Geometry, decode, read_bytes, to_pixels
from topwork.pictures.reasons import BadPicture
from topwork.runtime import publish_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GREEN, RUST, GREY, INK = "#3e8a5e", "#c8583a", "#b9b4aa", "#2b2a27"
GREY_INK = "#7d786e"

NAMES_SHOWN = 4
"""Classes in a ranking."""

LONGEST = 22
"""Letters of a class name."""


def photo_figure(found: PhotoAttack, path: Path) -> None:
    """Write the lesson's figure as a PNG. Raises StorageError."""
    before, after = found.pixels
    change, most = found.change, float(np.abs(found.change).max())
    factor = _round_factor(0.5 / most) if most > 0 else 1
    shown = np.clip(0.5 + change * factor, 0, 1)
    figure = _figure(11.4, 5.3)
    grid = figure.add_gridspec(
        2, 3, height_ratios=(3.1, 1), left=0.045, right=0.985, top=0.85, bottom=0.05, hspace=0.12, wspace=0.14
    )
    titles = ("the photo", f"the change, {factor} times as strong", "the attacked photo")
    for place, (picture, title) in enumerate(zip((before, shown, after), titles, strict=True)):
        axes = figure.add_subplot(grid[0, place])
        axes.imshow(np.asarray(picture), interpolation="antialiased")
        axes.set_title(title, fontsize=11, color=INK, pad=6)
        axes.set_axis_off()
    names = [one["label"] for one in found.before.top[:NAMES_SHOWN]]
    _ranking(figure.add_subplot(grid[1, 0]), found.before, found.label, found)
    _words(figure.add_subplot(grid[1, 1]), found, most)
    _ranking(figure.add_subplot(grid[1, 2]), found.after, found.label, found)
    told_after = likeliest_class(found.after) or ""
    if not found.fooled:
        told_after = f"still {told_after}" if told_after == found.label else f"{told_after}, not {found.target or 'misread'}"
    figure.suptitle(
        f"{caption(names[0], 40)}  →  {caption(told_after, 40)}", fontsize=15, color=INK, fontweight="bold", x=0.5, y=0.97
    )
    write_figure(figure, path)


def _ranking(axes: Axes, answer: Prediction, label: str, found: PhotoAttack) -> None:
    """Bars of the likeliest classes; what the photo shows is green, what the attack made is rust."""
    top = answer.top[:NAMES_SHOWN]
    values = [float(one["probability"]) for one in top]
    colours = [
        GREEN if one["label"] == label else RUST if place == 0 or one["label"] == found.target else GREY
        for place, one in enumerate(top)
    ]
    places = np.arange(NAMES_SHOWN)
    axes.barh(places[: len(top)], values, color=colours, height=0.62)
    for place, one in enumerate(top):
        inside = values[place] > 0.62
        words = f"{caption(one['label'], LONGEST)}  {100 * values[place]:.1f} %"
        axes.text(
            0.015 if inside else values[place] + 0.015, place, words, va="center", fontsize=9, color="white" if inside else INK
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(NAMES_SHOWN - 0.4, -0.6)
    axes.set_yticks([])
    axes.set_xticks([])
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    axes.spines["left"].set_color(GREY)
    if answer.none_of_these:
        axes.text(1, NAMES_SHOWN - 0.5, "topwork predict says: none of these", ha="right", va="bottom", fontsize=8, color=RUST)


def _words(axes: Axes, found: PhotoAttack, most: float) -> None:
    """What was done and what it survives."""
    axes.set_axis_off()
    lines = [
        f"no value changed by more than {told(most)}"
        if found.norm == "linf"
        else f"length {told_distance(found.distance_l2, 'l2')}"
    ]
    if found.checked is not None:
        lines += wrap(engines_told(found.checked.engines), 46)
        lines.append(jpeg_told(found.checked.jpeg))
    else:
        lines.append("at the network's input, not through a file")
    axes.text(
        0.5,
        0.98,
        "\n".join(line for line in lines if line),
        ha="center",
        va="top",
        fontsize=9,
        color=INK,
        linespacing=1.6,
        wrap=True,
    )


def curve_figure(document: dict[str, Any], path: Path) -> None:
    """Write a bench's figure: the curve with its intervals, the most fragile and hardest pictures. Raises StorageError."""
    figure = _figure(11.4, 5.6)
    grid = figure.add_gridspec(2, 8, left=0.065, right=0.985, top=0.86, bottom=0.12, hspace=0.42, wspace=0.12)
    _curve(figure.add_subplot(grid[:, :4]), document)
    for row, (title, key) in enumerate((("most fragile", "most_fragile"), ("hardest", "hardest"))):
        pictures = document[key][:4]
        for column, one in enumerate(pictures):
            axes = figure.add_subplot(grid[row, 4 + column])
            axes.set_axis_off()
            axes.imshow(_square(one["path"]))
            size = "never" if one["smallest"] is None else told_distance(one["smallest"], document["norm"])
            becomes = f"→ {caption(one['becomes'], 15)}" if one["becomes"] else ""
            axes.set_title(f"{caption(one['label'], 15)}\n{becomes}\n{size}", fontsize=8, color=INK, pad=3)
        if pictures:
            axes = figure.add_subplot(grid[row, 4:])
            axes.set_axis_off()
            axes.text(0.5, -0.04, title, ha="center", va="top", fontsize=9, color=INK, transform=axes.transAxes)
    figure.suptitle(
        f"How little it takes: {caption(Path(document['subject']).name, 50)}", fontsize=14, color=INK, fontweight="bold"
    )
    write_figure(figure, path)


def _curve(axes: Axes, document: dict[str, Any]) -> None:
    points = document["curve"]
    places = np.arange(len(points))
    shares = np.array([point["share"] for point in points])
    low, high = (np.array([point[side] for point in points]) for side in ("low", "high"))
    axes.fill_between(places, low, high, color=RUST, alpha=0.18, linewidth=0)
    axes.plot(places, shares, color=RUST, marker="o", linewidth=2)
    for place, share in zip(places, shares, strict=True):
        above = share < 0.85
        offset = (0, 9) if above else (0, -15)
        axes.annotate(
            f"{100 * share:.0f} %",
            (place, share),
            xytext=offset,
            textcoords="offset points",
            ha="center",
            fontsize=9,
            color=INK,
        )
    axes.set_xticks(
        places,
        ["as they\nare", *[told_distance(point["epsilon"], document["norm"]).replace(" (l2)", "") for point in points[1:]]],
    )
    what = "largest change of a value" if document["norm"] == "linf" else "length of the change"
    axes.set_xlabel(
        f"{what}, {'through the file' if document['through'] == 'file' else 'at the network input'}", fontsize=9, color=INK
    )
    axes.set_title(f"still right, of {document['n']} pictures right to begin with", fontsize=10, color=INK)
    _share_axis(axes)


def robustness_figure(document: dict[str, Any], path: Path) -> None:
    """Write both curves of `topwork.finetune.adversarial.Robustness` in one figure. Raises StorageError."""
    figure = _figure(7.6, 4.8)
    axes = figure.add_axes((0.095, 0.14, 0.88, 0.73))
    labels = [told(point["epsilon"]) for point in document["after"][1:]]
    places = np.arange(len(labels) + 1)
    for key, colour, side in (("before", GREY_INK, -1), ("after", GREEN, 1)):
        points = document[key]
        shares, low, high = (np.array([point[name] for point in points]) for name in ("accuracy", "low", "high"))
        at = places + 0.05 * side  # beside each other, so that neither hides the other's interval
        spread = (shares - low, high - shares)
        axes.errorbar(at, shares, spread, color=colour, marker="o", linewidth=2, elinewidth=1.2, capsize=3, label=key)
    learned = labels.index(told(document["epsilon"])) + 1
    axes.axvline(learned, color=RUST, linewidth=1, linestyle=(0, (4, 4)), zorder=0)
    axes.annotate("learned with", (learned, 1.07), ha="center", va="bottom", fontsize=9, color=RUST, annotation_clip=False)
    _share_axis(axes)
    axes.set_xticks(places, ["as they\nare", *labels])
    axes.set_xlabel("largest change of a value, at the network input", fontsize=9, color=INK)
    axes.legend(frameon=False, fontsize=10, labelcolor="linecolor")
    figure.suptitle(
        f"Right of {document['n']} test pictures, before and after adversarial training",
        fontsize=13,
        color=INK,
        fontweight="bold",
        y=0.975,
    )
    write_figure(figure, path)


def _share_axis(axes: Axes) -> None:
    """From 0 to 100 %, with lines that help to read."""
    axes.set_ylim(-0.03, 1.06)
    axes.set_yticks(np.linspace(0, 1, 6), [f"{round(100 * tick)} %" for tick in np.linspace(0, 1, 6)])
    axes.tick_params(labelsize=9, colors=INK)
    axes.grid(axis="y", color=GREY, alpha=0.4, linewidth=0.6)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GREY)


def _square(path: str) -> NDArray[np.uint8]:
    """A small square of the picture; grey where it is gone."""
    try:
        return to_pixels(decode(read_bytes(Path(path))).image, Geometry(160))
    except BadPicture:
        return np.full((160, 160, 3), 200, np.uint8)


def engines_told(engines: dict[str, bool]) -> str:
    """Which engines are fooled, in words."""
    fooled = [name for name, done in engines.items() if done]
    others = [name for name, done in engines.items() if not done]
    if not engines:
        return ""
    parts = [f"fools {_listed(fooled)}" if fooled else "fools no engine"]
    return "; ".join([*parts, f"not {_listed(others)}"] if others and fooled else parts)


def jpeg_told(jpeg: dict[int, bool]) -> str:
    """What saving as a JPEG leaves of it, in words."""
    if not jpeg:
        return ""
    return "survives JPEG quality " + "; ".join(f"{quality}: {'yes' if kept else 'no'}" for quality, kept in jpeg.items())


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _round_factor(factor: float) -> int:
    """A factor that reads well: 5, 10, 15, 20, 30 ..."""
    steps = [1, 2, 3, 5, 8, 10, 15, 20, 30, 40, 60, 80, 100, 127]
    return max(step for step in steps if step <= max(factor, 1) + 1e-6)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=120, facecolor="white")


def write_figure(figure: Figure, path: Path) -> None:
    """The figure as a PNG (or SVG, PDF, by the path's ending), in one step. Raises StorageError."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    out = io.BytesIO()
    kind = path.suffix.lower().removeprefix(".")
    metadata: dict[str, Any] = {"Software": None} if kind not in ("svg", "pdf") else {}
    figure.savefig(out, format=kind if kind in ("svg", "pdf") else "png", metadata=metadata or None)
    publish_file(path, out.getvalue())
