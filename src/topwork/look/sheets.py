"""Pictures a person looks at: sheets of captioned pictures, the strip of an optimisation, its loss curve, its film."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from topwork.pictures.decode import Pixels
from topwork.runtime import publish_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, FAINT, ACCENT = "#1f2933", "#6b7785", "#b4552d"
DPI = 110


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of width x height inches, drawn without any window."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, facecolor="white")


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG in one step. Raises StorageError."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DPI, metadata={"Software": None})
    publish_file(path, out.getvalue())


def save_picture(pixels: Pixels, path: Path) -> None:
    """Write pixels (H, W, 3) as 8-bit PNG in one step. Raises StorageError."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", optimize=True)
    publish_file(path, out.getvalue())


def captioned(
    pictures: Sequence[NDArray[Any]],
    captions: Sequence[tuple[str, str]],
    title: str,
    columns: int = 0,
    side: float = 2.1,
    note: str = "",
) -> Figure:
    """A sheet of pictures (H, W, 3) or grey (H, W), each with a name in ink and a fainter line below it."""
    count = len(pictures)
    columns = min(count, columns or (count if count <= 5 else 5 if count % 5 == 0 or count > 16 else 4))
    rows = -(-count // columns)
    lines = 1 + max((len(_wrapped(name, side)) for name, _ in captions), default=1)
    below = 0.17 * lines + 0.1 if any(name or faint for name, faint in captions) else 0.1
    wide, top, margin = columns * (side + 0.12) + 0.3, 0.25 + 0.27 * len(_heading(title, columns, side)), 0.15
    height = rows * (side + below) + top + margin + (0.25 if note else 0)
    figure = new_figure(wide, height)
    heading(figure, "\n".join(_heading(title, columns, side)), height)
    style: dict[str, Any] = {"va": "top", "color": INK}
    for place, (picture, (name, faint)) in enumerate(zip(pictures, captions, strict=True)):
        row, column = divmod(place, columns)
        left, upper = margin + column * (side + 0.12) + 0.06, height - top - row * (side + below)
        axes = figure.add_axes((left / wide, (upper - side) / height, side / wide, side / height))
        show(axes, picture)
        words = _wrapped(name, side)
        if name:
            axes.text(
                0,
                -0.05 / side,
                "\n".join(words),
                transform=axes.transAxes,
                fontsize=9,
                weight="bold",
                parse_math=False,
                **style,
            )
        if faint:
            lower = -(0.06 + 0.165 * len([word for word in words if word])) / side
            axes.text(0, lower, faint, transform=axes.transAxes, fontsize=7.5, va="top", color=FAINT, parse_math=False)
    if note:
        figure.text(margin / wide, 0.1 / height, note, fontsize=7.5, color=FAINT, va="bottom", parse_math=False)
    return figure


def heading(figure: Figure, title: str, height: float) -> None:
    """A title at the upper left of a figure of that height in inches."""
    style: dict[str, Any] = {"fontsize": 12, "color": INK, "weight": "bold", "va": "top", "parse_math": False}
    figure.text(0.2 / figure.get_figwidth(), 1 - 0.12 / height, title, **style)


def show(axes: Any, picture: NDArray[Any], **how: Any) -> None:
    """Draw a picture into axes, without ticks or frame; grey ones (H, W) by the map of `how`."""
    axes.imshow(picture, interpolation="nearest" if min(picture.shape[:2]) < 64 else "antialiased", **how)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def strip(
    steps: Sequence[tuple[int, Pixels, NDArray[np.float32]]], classes: Sequence[str], title: str, shares: bool = True
) -> Figure:
    """The way to ideal pictures: a row for each, a column for each (step, pixels (N, H, W, 3), answers (N,)).

    shares: the answers are probabilities.
    """
    pictures, captions = [], []
    for place, name in enumerate(classes):
        for number, pixels, probs in steps:
            pictures.append(pixels[place])
            answer = percent(float(probs[place])) if shares else f"{float(probs[place]):.3g}"
            captions.append((name if number == steps[0][0] else "", f"step {number:,}: {answer}"))
    return captioned(pictures, captions, title, columns=len(steps), side=1.5)


def loss_curve(losses: dict[str, NDArray[np.float32]], title: str) -> Figure:
    """The parts of the loss (steps, N) by step: the mean of all pictures, and the range of each part."""
    figure = new_figure(6.4, 3.6)
    heading(figure, title, 3.6)
    axes = figure.add_axes((0.11, 0.14, 0.86, 0.72))
    colours = dict(zip(losses, (ACCENT, "#2d6fb4", "#4f8a3c", "#7a5ea8"), strict=False))
    for name, values in losses.items():
        steps = np.arange(1, len(values) + 1)
        axes.plot(steps, values.mean(1), color=colours[name], linewidth=1.6, label=name)
        axes.fill_between(steps, values.min(1), values.max(1), color=colours[name], alpha=0.12, linewidth=0)
    axes.set_xlabel("step", fontsize=9, color=FAINT)
    axes.set_ylabel("loss, by part", fontsize=9, color=FAINT)
    axes.tick_params(labelsize=8, colors=FAINT)
    axes.legend(frameon=False, fontsize=8)
    axes.grid(alpha=0.2)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


def save_film(frames: Sequence[Pixels], path: Path, milliseconds: int = 60) -> None:
    """Write frames (N, H, W, 3), the pictures of each side by side, as an animated WebP. Raises StorageError."""
    images = [Image.fromarray(np.concatenate(list(frame), 1)) for frame in frames]
    lengths = [milliseconds] * (len(images) - 1) + [1500]
    out = io.BytesIO()
    images[0].save(out, "WEBP", save_all=True, append_images=images[1:], duration=lengths, loop=0, quality=70)
    publish_file(path, out.getvalue())


def percent(share: float) -> str:
    """0.9883 as 98.8 %, and what rounds to nothing as < 0.1 %."""
    return "< 0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def _wrapped(text: str, side: float) -> list[str]:
    return textwrap.wrap(text, max(8, int(side * 12)))[:2] or [""]


def _heading(title: str, columns: int, side: float) -> list[str]:
    return textwrap.wrap(title, max(16, int(columns * side * 9.5)))
