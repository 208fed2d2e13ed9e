"""Commands in a notebook: `%load_ext topwork.notebook`, then `%topwork fit photos/ -o pets.topwork`.

The command runs in the notebook's own process, as in a terminal but without progress bars; the pictures that it wrote are shown
below what it says, each with the command that made it. `%topwork quiz before` shows the questions, their answers folded away;
with your letters behind it, the score.
"""

from __future__ import annotations

import html
import io
import shlex
from glob import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageChops

from topwork.process import wait_briefly

WIDEST = 900
"""Pixels that a figure has across at most, so that a notebook stays small."""

COLOURS = 256
"""Of a figure shown as a PNG: all that a palette holds."""

QUALITY = 85
"""Of a figure shown as a JPEG: a quarter of a full PNG's bytes, and no patch of a figure with photos is off by more than 5."""

PATCH = 8
"""Side in pixels of the patches whose mean colours are compared."""

NOTICED = 8
"""Levels, of 255, by which a patch of a PNG may be off. Bars, curves and letters are off by 2 to 8; of photos some patch is off
by 15 to 90: a palette has no colour left for the green eye of a cat."""


def load_ipython_extension(shell: Any) -> None:
    """Called by %load_ext: the magic %topwork is there afterwards."""
    wait_briefly()  # a command would be too late: by then an earlier cell has loaded torch
    shell.register_magic_function(topwork, "line", "topwork")


def topwork(line: str) -> None:
    """Run one command and show the figures that it wrote. Raises RuntimeError where it ends with an error."""
    from topwork.commands.app import run

    words = shlex.split(line)
    if words in (["quiz", "before"], ["quiz", "after"]):  # a cell has no keyboard to answer with
        return _show_quiz(words[1])
    before = {file: file.stat().st_mtime_ns for file in figures(words)}
    code = run(words)
    if code not in (0, 3):  # 3: done, but some pictures could not be used, and it has told which
        raise RuntimeError(f"topwork {line}: ended with exit code {code}; what it said stands above")
    for file in figures(words):
        if before.get(file) != file.stat().st_mtime_ns:
            show(file, f"topwork {line}" if str(file) in words else f"topwork {line} ({file.name})")


def _show_quiz(name: str) -> None:
    from IPython.display import HTML, display

    from topwork.quiz.folded import folded
    from topwork.quiz.questions import load

    display(HTML(folded(load(name))))  # type: ignore[no-untyped-call]


def figures(words: list[str]) -> list[Path]:
    """PNGs that a command names, those written beside them as NAME-MORE.png, and those in folders that it names."""
    found = []
    for word in words:
        place = Path(word)
        if place.is_dir():
            found += sorted(place.glob("*.png"))
        elif place.suffix == ".png":
            found += [place, *sorted(place.parent.glob(f"{escape(place.stem)}-*.png"))]
    return [file for file in dict.fromkeys(found) if file.is_file()]


def show(file: Path, caption: str) -> None:
    """Show a picture, made smaller where it is large, with a caption below."""
    from IPython.display import HTML, display
    from IPython.display import Image as Shown

    display(Shown(data=small(file)), HTML(f"<p><em>{html.escape(caption)}</em></p>"))  # type: ignore[no-untyped-call]


def small(file: Path) -> bytes:
    """The picture at most `WIDEST` pixels across, a PNG of `COLOURS` colours or a JPEG: the smaller that looks the same."""
    with Image.open(file) as picture:
        shown = picture.convert("RGB")
    shown.thumbnail((WIDEST, 2 * WIDEST), Image.Resampling.LANCZOS)
    photo, drawn = io.BytesIO(), io.BytesIO()
    # In full colour resolution, for the letters and thin lines around photos.
    shown.save(photo, "JPEG", quality=QUALITY, subsampling=0, optimize=True, progressive=True)
    palette = shown.quantize(COLOURS)
    if farthest(shown, palette.convert("RGB")) > NOTICED:
        return photo.getvalue()
    palette.save(drawn, "PNG", optimize=True)
    return min(drawn.getvalue(), photo.getvalue(), key=len)


def farthest(picture: Image.Image, other: Image.Image) -> int:
    """Largest difference between the mean colours of two pictures' patches, in levels of 255."""
    return int(np.asarray(ImageChops.difference(picture.reduce(PATCH), other.reduce(PATCH))).max())
