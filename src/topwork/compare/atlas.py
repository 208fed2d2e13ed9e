"""The map of a folder as files: a PNG with thumbnails, and a page that shows each picture under the pointer."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from topwork.captions import caption
from topwork.compare.map import PictureMap, Place
from topwork.compare.words import percent
from topwork.errors import InputError
from topwork.pictures.decode import Geometry, decode, read_bytes
from topwork.pictures.reasons import BadPicture
from topwork.runtime import publish_file

SIDE = 64
"""Pixels of a thumbnail's longer side."""

DRAWN = 110
"""Thumbnails on the PNG at most, kept apart from each other."""

NAMED = 60
"""Classes at most whose names stand on the PNG, where there are more than colours."""

PALETTE: tuple[str, ...] = ("#3e8a5e", "#c8583a", "#4f77b4", "#d19a2a", "#8a5fa8", "#2f9a9a")
PALETTE += ("#b0497c", "#7d8a2e", "#5a6a78", "#a56a3a", "#3f5fd0", "#cf6f9e")
INK, SOFT, PAPER, RING, ALONE = "#2b2a26", "#8a877d", "#fdfcf8", "#d0162e", "#1746c9"


def check_map(path: Path) -> None:
    """Raise InputError unless `path` names a map that can be written."""
    if path.suffix.lower() not in (".png", ".html"):
        raise InputError(f"{path}: expected a file that ends in .png or .html.")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: its folder does not exist. Make it, or choose another place.")


def write_map(found: PictureMap, path: Path, title: str) -> None:
    """Write the map as a PNG or as one HTML file that loads nothing. Raises StorageError."""
    data = map_page(found, title).encode() if path.suffix.lower() == ".html" else map_png(found, title)
    publish_file(path, data)


def colour_of(label: str | None, classes: list[str]) -> str:
    """The colour of a class; grey without one."""
    return PALETTE[classes.index(label) % len(PALETTE)] if label in classes else SOFT


def thumbnail(path: str, side: int = SIDE) -> Image.Image | None:
    """The picture, its longer side `side` pixels; None where it is gone."""
    try:
        image = decode(read_bytes(Path(path)), wanted=Geometry(side)).image
    except BadPicture:
        return None
    image.thumbnail((side, side))
    return image


def spread(points: list[Place], most: int, least: float) -> list[int]:
    """Rows of points that lie at least `least` apart, marked ones first, at most `most`."""
    order = sorted(range(len(points)), key=lambda row: not (points[row].stranger or points[row].suggested))
    chosen: list[int] = []
    places: NDArray[np.float64] = np.array([(one.x, one.y) for one in points])
    for row in order:
        if len(chosen) == most:
            break
        if not chosen or float(np.abs(places[chosen] - places[row]).max(1).min()) >= least:
            chosen.append(row)
    return chosen


def map_png(found: PictureMap, title: str) -> bytes:
    """The map as a PNG: dots in the classes' colours, thumbnails where there is room, suspects and strangers ringed."""
    import matplotlib

    matplotlib.use("Agg", force=False)
    import matplotlib.pyplot as plt
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    low, high = (edge([one.y for one in found.points]) for edge in (min, max))
    figure, axes = plt.subplots(figsize=(9.2, 1.2 + 8.6 * (high - low + 0.1) / 1.08), layout="constrained")
    axes.set_facecolor(PAPER)
    axes.set_axis_off()
    axes.set_xlim(-0.04, 1.04)
    axes.set_ylim(low - 0.05, high + 0.05)
    axes.set_aspect("equal")
    colours = [colour_of(one.label, found.classes) for one in found.points]
    x, y = [one.x for one in found.points], [one.y for one in found.points]
    axes.scatter(x, y, s=13, c=colours, linewidths=0, alpha=0.85)
    for row in spread(found.points, DRAWN, 0.066):
        one = found.points[row]
        picture = thumbnail(one.path, 96)
        if picture is not None:
            edge = RING if one.suggested else ALONE if one.stranger else colours[row]
            wide = 2.2 if one.suggested or one.stranger else 1.1
            box = AnnotationBbox(
                OffsetImage(np.asarray(picture), zoom=0.4), (one.x, one.y), pad=0.12,
                bboxprops={"edgecolor": edge, "linewidth": wide, "facecolor": PAPER},
            )  # fmt: skip
            axes.add_artist(box)
    for colour, rows in (
        (RING, [one for one in found.points if one.suggested]),
        (ALONE, [one for one in found.points if one.stranger]),
    ):
        axes.scatter(
            [one.x for one in rows], [one.y for one in rows], s=46, facecolors="none", edgecolors=colour, linewidths=1.3
        )
    if len(PALETTE) < len(found.classes) <= NAMED:
        _name_classes(axes, found)
    figure.suptitle(title, x=0.008, ha="left", fontsize=14, fontweight="bold", color=INK, parse_math=False)
    axes.set_title(_below(found), loc="left", fontsize=9, color=SOFT, parse_math=False)
    _legend(axes, found)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=150, facecolor=PAPER)
    plt.close(figure)
    return stream.getvalue()


def _name_classes(axes: Any, found: PictureMap) -> None:
    """Each class's name in the middle of its pictures."""
    from matplotlib.patheffects import withStroke

    for name in found.classes:
        mine = [(one.x, one.y) for one in found.points if one.label == name]
        if mine:
            x, y = np.median(mine, axis=0)
            halo = [withStroke(linewidth=2.5, foreground=PAPER)]
            style: dict[str, Any] = {"fontsize": 8, "color": INK, "path_effects": halo, "zorder": 5, "parse_math": False}
            axes.text(x, y, name, ha="center", va="center", **style)


def _legend(axes: Any, found: PictureMap) -> None:
    from matplotlib.lines import Line2D

    marks = [
        Line2D([], [], marker="o", linestyle="", color=colour_of(name, found.classes), label=caption(name), markersize=6)
        for name in (found.classes if 0 < len(found.classes) <= len(PALETTE) else [])
    ]
    for colour, count, what in ((RING, found.suspects, "suspect label"), (ALONE, found.strangers, "stranger")):
        if count:
            mark = {"marker": "o", "linestyle": "", "markerfacecolor": "none", "markersize": 8, "markeredgecolor": colour}
            marks.append(Line2D([], [], label=f"{what}{'s' if count > 1 else ''}: {count}", **mark))  # type: ignore[arg-type]
    if marks:
        axes.legend(handles=marks, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=6, fontsize=8.5, frameon=False,
                    labelcolor=INK, handletextpad=0.2, columnspacing=1.2)  # fmt: skip


def _below(found: PictureMap) -> str:
    how = (
        f"t-SNE of {found.backbone}'s features; of a picture's nearest here {percent(found.kept, 0)} are nearest by features"
        if found.method == "tsne"
        else f"the two main directions of {found.backbone}'s features, {percent(found.kept, 0)} of all differences"
    )
    return f"{len(found.points):,} pictures · {how}"


def sprite(paths: list[str]) -> tuple[bytes, int, list[list[int]]]:
    """One JPEG with all thumbnails in rows, how many stand in a row, and the width and height of each."""
    across = max(1, round(len(paths) ** 0.5))
    sheet = Image.new("RGB", (across * SIDE, -(-len(paths) // across) * SIDE), PAPER)
    sizes = []
    for place, path in enumerate(paths):
        picture = thumbnail(path)
        sizes.append([0, 0] if picture is None else [picture.width, picture.height])
        if picture is not None:
            sheet.paste(picture, (place % across * SIDE, place // across * SIDE))
    stream = io.BytesIO()
    sheet.save(stream, "JPEG", quality=72, optimize=True)
    return stream.getvalue(), across, sizes


def map_page(found: PictureMap, title: str) -> str:
    """One HTML file: the map in SVG, a thumbnail and the facts of the picture under the pointer; it loads nothing."""
    sheet, across, sizes = sprite([one.path for one in found.points])
    dots = "".join(_dot(row, one, found.classes) for row, one in enumerate(found.points))
    facts = [
        [Path(one.path).parent.name + "/" + Path(one.path).name, one.label or "", one.suggested or "", int(one.stranger)]
        for one in found.points
    ]
    data = json.dumps({"across": across, "side": SIDE, "sizes": sizes, "facts": facts}).replace("<", "\\u003c")
    legend = "".join(
        f'<button type="button" data-class="{place}"><i style="background:{colour_of(name, found.classes)}"></i>'
        f"<bdi>{_safe(name)}</bdi></button>"
        for place, name in enumerate(found.classes)
    )
    marks = [(found.suspects, "suspect", "suspect label"), (found.strangers, "alone", "stranger")]
    rings = "".join(
        f'<span><i class="{kind}"></i>{count} {what}{"s" if count > 1 else ""}</span>' for count, kind, what in marks if count
    )
    image = base64.b64encode(sheet).decode()
    style = packaged("map.css").replace("SHEET", f"data:image/jpeg;base64,{image}")
    script = packaged("map.js")
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {_allowed(script)}"
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light">
<title>{_safe(title)} · map</title><style>{style}</style></head>
<body><header><h1><bdi>{_safe(title)}</bdi></h1><p>{_safe(_below(found))}</p></header>
<main><svg viewBox="-20 -20 1040 1040" role="img" aria-label="map of {len(found.points)} pictures">{dots}</svg>
<aside><div id="card" aria-live="polite"><div id="picture"></div><p id="words">Point at a dot.</p></div>
<div class="rings">{rings}</div><div class="legend">{legend}</div></aside></main>
<script type="application/json" id="facts">{data}</script><script>{script}</script></body></html>
"""


def packaged(file: str) -> str:
    """Text of a file that lies beside this module, in any installation."""
    return resources.files("topwork.compare").joinpath(file).read_text(encoding="utf-8")


def _dot(row: int, one: Place, classes: list[str]) -> str:
    place = classes.index(one.label) if one.label in classes else -1
    kind = "suspect" if one.suggested else "alone" if one.stranger else ""
    ring = f' class="{kind}"' if kind else ""
    at = f'cx="{1000 * one.x:.0f}" cy="{1000 * (1 - one.y):.0f}"'
    return f'<circle {at} r="7" fill="{colour_of(one.label, classes)}" data-row="{row}" data-class="{place}"{ring}/>'


def _safe(text: object) -> str:
    return html.escape(str(text).encode("utf-8", "backslashreplace").decode(), quote=True)


def _allowed(inline: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'"
