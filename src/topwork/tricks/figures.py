"""Three pictures of the tricks: what each brings, how activations spread, how the loss falls."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topwork.runtime import make_folder, publish_file
from topwork.tricks.experiment import RATES, Experiment
from topwork.tricks.words import adjustment

GREEN, RUST, GREY = "#3e8a5e", "#c8583a", "#8a9088"
INK, SOFT = "#1e2420", "#5c625b"
COLOURS = ("#3e8a5e", "#c8583a", "#4a78a8", "#b08a2e", "#7d5a96", "#58a0a0", "#1e2420")
VERDICTS = {"base": INK, "better": GREEN, "worse": RUST, "not clear": GREY}
"""By verdict."""
WORDS = (("better", "green"), ("worse", "red"))
FAR = 3.0
"""Times the usual distance from 0 that is still drawn to scale."""
FLOOR = 1e-12
"""Where 0 is drawn on a scale that has no 0."""
SAME = 0.006
"""Curves that nowhere are farther apart, as a share of the height of all, are one line to the eye."""
DASH = 4.0
"""Line widths that each of several coinciding curves shows at a time."""
LINE = 0.065
"""Between names at the ends of lines, as a share of the height."""


def write_figures(found: Experiment, folder: Path) -> list[Path]:
    """Write tricks.png, spread.png and optimisers.png into `folder`; returns their paths. Raises StorageError."""
    from matplotlib import rc_context

    make_folder(folder)
    drawings: dict[str, Callable[[Experiment], Any]] = {"tricks": _tricks, "spread": _spread, "optimisers": _optimisers}
    written = []
    with rc_context({"font.size": 10, "axes.edgecolor": GREY, "text.color": INK, "axes.labelcolor": INK}):
        for name, drawing in drawings.items():
            stream = io.BytesIO()
            drawing(found).savefig(stream, format="png", dpi=150)
            publish_file(folder / f"{name}.png", stream.getvalue())
            written.append(folder / f"{name}.png")
    return written


def _plain(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, length=3)


def _tricks(found: Experiment) -> Any:
    """The gain of each trick with its own interval, coloured by what is clear of all together; right of it the accuracy."""
    from matplotlib.figure import Figure

    rows = found.results[::-1]
    figure = Figure(figsize=(8.4, 0.27 * len(rows) + 1.9), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0, color=INK, linewidth=1)
    low, high = _reach(found)
    for place, row in enumerate(rows):
        colour = VERDICTS[row.verdict]
        if row.topic != "base":
            axes.plot([100 * row.gain_low, 100 * row.gain_high], [place, place], color=colour, linewidth=2)
        if low <= 100 * row.gain <= high:
            axes.plot(100 * row.gain, place, "o", color=colour, markersize=6)
        else:
            edge, mark, align, by = (low, "<", "left", 8) if row.gain < 0 else (high, ">", "right", -8)
            axes.plot(edge, place, mark, color=colour, markersize=7)
            text = f"{100 * row.gain:+.1f}"
            axes.annotate(
                text, (edge, place), (by, 0), textcoords="offset points", ha=align, va="center", fontsize=9, color=colour
            )
    axes.set_xlim(low - 0.03 * (high - low), high + 0.03 * (high - low))
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.set_ylim(-0.7, len(rows) - 0.3)
    right = axes.secondary_yaxis("right")
    right.set_yticks(range(len(rows)), [f"{100 * row.accuracy:.1f} %" for row in rows])
    right.tick_params(length=0, colors=INK)
    right.spines["right"].set_visible(False)
    axes.annotate("right", (1, 1), (10, 2), xycoords="axes fraction", textcoords="offset points", fontsize=9, color=SOFT)
    axes.set_xlabel(f"gain in right answers over the base recipe (points), mean of {found.seeds} seeds")
    figure.suptitle(_title(found), x=0.01, ha="left", fontsize=11)
    figure.supxlabel(
        f"Colours: {adjustment(found.comparisons, found.seeds)}; grey is not clear.\n"
        f"Lines: 95 % intervals, each alone: of {found.comparisons} tricks that bring nothing, one or two miss 0 by chance.",
        x=0.01,
        ha="left",
        fontsize=8.5,
        color=SOFT,
    )
    axes.grid(axis="x", color=GREY, alpha=0.25, linewidth=0.6)
    _plain(axes)
    return figure


def _reach(found: Experiment) -> tuple[float, float]:
    """Points from where to where the gains are drawn: one trick that ruins all shall not press the others together."""
    bounds = 100 * np.array([(row.gain, row.gain_low, row.gain_high) for row in found.results[1:]])
    bounds[~np.isfinite(bounds)] = 0
    usual = max(1.0, FAR * float(np.median(abs(bounds).max(1))))
    return max(-usual, float(bounds.min())), min(usual, float(bounds.max()))


def _title(found: Experiment) -> str:
    """What the colours say, and where a colour is not there."""
    verdicts = [row.verdict for row in found.results]
    told = [
        f"{verdicts.count(verdict)} clearly {verdict} ({colour})" if verdict in verdicts else f"none clearly {verdict}"
        for verdict, colour in WORDS
    ]
    return f"Each trick alone: {', '.join(told)} than the base recipe"


def _spread(found: Experiment) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (kind, starts) in zip(panels, found.spreads.items(), strict=True):
        axes.set_yscale("log")
        _lines(axes, {f"{start}: 0" if max(values) == 0 else start: values for start, values in starts.items()})
        axes.set_title(kind, loc="left", fontsize=10)
        axes.set_xlabel("layer")
    for axes in panels:
        _name_ends(axes)
    panels[0].set_ylabel("standard deviation of the activations")
    figure.suptitle(
        "A signal that shrinks or grows layer by layer teaches the first layers nothing", x=0.01, ha="left", fontsize=11
    )
    return figure


def _optimisers(found: Experiment) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axes = figure.add_subplot()
    axes.set_yscale("log")
    _lines(axes, {f"{name}, rate {RATES[name]:g}": values for name, values in found.losses.items()})
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    _name_ends(axes)
    axes.set_xlabel("epoch")
    axes.set_ylabel("training loss (nats)")
    axes.set_title("How the loss falls for each optimiser, all from one start", loc="left", fontsize=11)
    return figure


def _lines(axes: Any, curves: dict[str, list[float]]) -> None:
    """Curves over 1, 2, ...; those that coincide take turns along their line, so that none hides another."""
    from matplotlib.ticker import MaxNLocator

    turns = _turns({name: np.log(np.maximum(values, FLOOR)) for name, values in curves.items()})
    for (name, values), colour in zip(curves.items(), COLOURS, strict=False):
        turn, sharing = turns[name]
        dashes: Any = "-" if sharing == 1 else (-DASH * turn, (DASH, DASH * (sharing - 1)))
        shown = np.maximum(values, FLOOR)
        axes.plot(
            range(1, len(shown) + 1), shown, color=colour, linewidth=1.8, linestyle=dashes, dash_capstyle="butt", label=name
        )
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True, steps=[1, 2, 5, 10]))
    axes.grid(color=GREY, alpha=0.25, linewidth=0.6)
    _plain(axes)


def _turns(curves: dict[str, NDArray[np.float64]]) -> dict[str, tuple[int, int]]:
    """Of each curve: (its place among those that coincide with it, how many these are)."""
    height = max(one.max() for one in curves.values()) - min(one.min() for one in curves.values())
    together: list[list[str]] = []
    for name, one in curves.items():
        for group in together:
            first = curves[group[0]]
            if len(first) == len(one) and abs(first - one).max() <= SAME * height:
                group.append(name)
                break
        else:
            together.append([name])
    return {name: (place, len(group)) for group in together for place, name in enumerate(group)}


def _name_ends(axes: Any) -> None:
    """The name of each line beside its end, in its colour; to be called when all is drawn."""
    axes.autoscale_view()
    low, high = np.log(axes.get_ylim())
    ends = {line: (line.get_xdata()[-1], line.get_ydata()[-1]) for line in axes.lines}
    heights = _apart([(float(np.log(value)) - low) / (high - low) for _, value in ends.values()], LINE)
    for (line, end), height in zip(ends.items(), heights, strict=True):
        axes.annotate(
            line.get_label(),
            end,
            (1.04, height),
            textcoords="axes fraction",
            va="center",
            fontsize=9,
            color=line.get_color(),
            arrowprops={"arrowstyle": "-", "color": line.get_color(), "linewidth": 0.7, "relpos": (0, 0.5), "shrinkB": 2},
        )


def _apart(heights: list[float], least: float) -> list[float]:
    """Heights moved as little as need be so that neighbours are `least` apart, in their order, from 0 to 1 if there is room."""
    order = np.argsort(heights, kind="stable")
    steps = least * np.arange(len(heights))
    pools: list[list[float]] = []  # pool adjacent violators: the nearest rising sequence, the least distance taken off
    for value in np.array(heights)[order] - steps:
        pools.append([float(value)])
        while len(pools) > 1 and np.mean(pools[-2]) > np.mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    level = np.array([np.mean(pool) for pool in pools for _ in pool])
    moved = np.empty(len(heights))
    moved[order] = np.clip(level, 0, max(0.0, 1 - float(steps[-1]))) + steps
    return [float(height) for height in moved]
