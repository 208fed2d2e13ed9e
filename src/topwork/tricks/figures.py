"""Three pictures of the tricks: what each brings, how activations spread, how the loss falls."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from topwork.runtime import make_folder, publish_file
from topwork.tricks.experiment import RATES, Experiment

GREEN, RUST, GREY = "#3e8a5e", "#c8583a", "#8a9088"
INK = "#1e2420"
COLOURS = ("#3e8a5e", "#c8583a", "#4a78a8", "#b08a2e", "#7d5a96", "#58a0a0", "#1e2420")


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
    from matplotlib.figure import Figure

    rows = found.results[::-1]
    figure = Figure(figsize=(8, 0.28 * len(rows) + 1.4), layout="constrained")
    axes = figure.add_subplot()
    base = found.results[0]
    axes.axvspan(100 * base.low, 100 * base.high, color=GREY, alpha=0.15, linewidth=0)
    axes.axvline(100 * base.accuracy, color=GREY, linewidth=1)
    for place, row in enumerate(rows):
        clear = row.topic != "base" and (row.gain_low > 0 or row.gain_high < 0)
        colour = GREY if not clear else GREEN if row.gain > 0 else RUST
        axes.plot([100 * row.low, 100 * row.high], [place, place], color=colour, linewidth=2)
        axes.plot(100 * row.accuracy, place, "o", color=colour, markersize=6)
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_xlabel(f"right answers (%), mean of {found.seeds} seeds with its 95 % interval")
    axes.set_title("Each trick alone: green clearly better than the base recipe, rust clearly worse", loc="left", fontsize=10)
    axes.grid(axis="x", color=GREY, alpha=0.25, linewidth=0.6)
    _plain(axes)
    return figure


def _spread(found: Experiment) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (kind, starts) in zip(panels, found.spreads.items(), strict=True):
        for (start, values), colour in zip(starts.items(), COLOURS, strict=False):
            layers = range(1, len(values) + 1)
            axes.semilogy(layers, [max(value, 1e-12) for value in values], "o-", color=colour, markersize=4, label=start)
        axes.set_title(kind, loc="left", fontsize=10)
        axes.set_xlabel("layer")
        axes.grid(color=GREY, alpha=0.25, linewidth=0.6)
        _plain(axes)
    panels[0].set_ylabel("standard deviation of the activations")
    panels[1].legend(title="initialisation", frameon=False, fontsize=9)
    figure.suptitle(
        "A signal that shrinks or grows layer by layer teaches the first layers nothing", x=0.01, ha="left", fontsize=11
    )
    return figure


def _optimisers(found: Experiment) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.4), layout="constrained")
    axes = figure.add_subplot()
    for (name, values), colour in zip(found.losses.items(), COLOURS, strict=False):
        axes.semilogy(range(1, len(values) + 1), values, color=colour, linewidth=1.8, label=f"{name}, rate {RATES[name]:g}")
    axes.set_xlabel("epoch")
    axes.set_ylabel("training loss (nats)")
    axes.set_title("How the loss falls for each optimiser, all from one start", loc="left", fontsize=11)
    axes.legend(frameon=False, fontsize=9)
    axes.grid(color=GREY, alpha=0.25, linewidth=0.6)
    _plain(axes)
    return figure
