"""Commands in a notebook: `%load_ext topwork.notebook`, then `%topwork fit photos/ -o pets.topwork`.

The command runs in the notebook's own process, as in a terminal but without progress bars; the pictures that it wrote are shown
below what it says, each with the command that made it.
"""

from __future__ import annotations

import html
import io
import shlex
from pathlib import Path
from typing import Any

from PIL import Image

WIDEST = 900
"""Pixels that a figure has across at most, so that a notebook stays small."""

COLOURS = 128
"""Of a shown figure: few enough for a small file, enough for photos to look right."""


def load_ipython_extension(shell: Any) -> None:
    """Called by %load_ext: the magic %topwork is there afterwards."""
    shell.register_magic_function(topwork, "line", "topwork")


def topwork(line: str) -> None:
    """Run one command and show the figures that it wrote. Raises RuntimeError where it ends with an error."""
    from topwork.commands.app import run

    words = shlex.split(line)
    before = {file: file.stat().st_mtime_ns for file in figures(words)}
    code = run(words)
    if code not in (0, 3):  # 3: done, but some pictures could not be used, and it has told which
        raise RuntimeError(f"topwork {line}: ended with exit code {code}; what it said stands above")
    for file in figures(words):
        if before.get(file) != file.stat().st_mtime_ns:
            show(file, f"topwork {line}")


def figures(words: list[str]) -> list[Path]:
    """PNGs that a command names, and those in folders that it names."""
    found = []
    for word in words:
        place = Path(word)
        found += sorted(place.glob("*.png")) if place.is_dir() else [place]
    return [file for file in dict.fromkeys(found) if file.suffix == ".png" and file.is_file()]


def show(file: Path, caption: str) -> None:
    """Show a picture, made smaller where it is large, with a caption below."""
    from IPython.display import HTML, display
    from IPython.display import Image as Shown

    display(Shown(data=small(file)), HTML(f"<p><em>{html.escape(caption)}</em></p>"))  # type: ignore[no-untyped-call]


def small(file: Path) -> bytes:
    """The picture as a PNG of at most `WIDEST` pixels across and `COLOURS` colours."""
    with Image.open(file) as picture:
        shown = picture.convert("RGB")
    shown.thumbnail((WIDEST, 2 * WIDEST), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    shown.quantize(COLOURS).save(stream, "PNG", optimize=True)
    return stream.getvalue()
