"""From class names to files: ideal pictures made, judged, and written with their sheets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from topwork.errors import InputError
from topwork.grafted import Grafted, VotingHead
from topwork.look.ideal import RECIPES, Ideal, Recipe, Told, check, ideal
from topwork.look.judges import Verdict, judged, open_network
from topwork.look.naming import class_named
from topwork.look.natural import PHOTOS, Natural, contrast, measure, saturation
from topwork.look.objectives import Channels, channel_numbered
from topwork.look.sheets import captioned, loss_curve, percent, save_figure, save_film, save_picture, strip
from topwork.pictures.decode import Geometry, decode, read_bytes, to_pixels
from topwork.pictures.reasons import BadPicture
from topwork.pictures.sources import plain_records
from topwork.runtime import make_folder

AT_ONCE = 10
"""Pictures that are optimised together."""

MOST_MEASURED = 300
"""Of the user's photos this many, evenly spread, are measured for their colours and detail."""


@dataclass(frozen=True)
class PortraitSettings:
    """How ideal pictures are made and told."""

    recipe: str = "fourier"
    """lesson, fourier or maco."""
    steps: int | None = None
    """Steps of the optimisation; None: the recipe's own."""
    rate: float | None = None
    """Learning rate; None: the recipe's own."""
    variation: float | None = None
    """Weight of the smoothness term (total variation); None: the recipe's own."""
    size: int = 0
    """Side of the pictures in pixels; 0: what the network sees."""
    count: int = 1
    """Pictures of each class."""
    seed: int = 0
    loop: bool = False
    """Also write the strip of steps, the film, and the loss curve."""
    judges: tuple[str, ...] = ()
    """Backbones or bundles that took no part and say what they see."""
    layer: str | None = None
    """Channels of this layer are climbed instead of classes."""
    photos: str | None = None
    """Pictures whose colours, contrast and detail are followed, instead of the numbers that come with topwork."""
    engine: str = "auto"
    """What gives the gradients: auto, openvino or torch."""


def portraits(
    source: str,
    wanted: Sequence[str],
    out: Path,
    settings: PortraitSettings,
    weights: str = "pretrained",
    told: Told | None = None,
) -> dict[str, Any]:
    """Make ideal pictures of the classes `wanted` of a bundle or backbone, write them at `out`, and tell of each.

    out: a PNG (one picture, or the sheet of several) or a folder (a PNG for each, and the sheet). Raises TopworkError.
    """
    single = out.suffix.lower() == ".png"
    if out.suffix and not single:
        raise InputError(f"{out}: expected a name ending in .png, or a folder. Ideal pictures are written without loss.")
    if single and not out.absolute().parent.is_dir():
        raise InputError(f"{out}: the folder {out.absolute().parent} does not exist. Make it first.")
    if settings.count < 1:
        raise InputError(f"--count: expected 1 or more, found {settings.count}.")
    network = open_network(source, weights, every_vote=True)
    targets = [place for place in _places(network, wanted, settings.layer) for _ in range(settings.count)]
    recipe = _recipe(settings)
    check(recipe, settings.size or network.spec.geometry.size, min(len(targets), AT_ONCE), network.spec.geometry.size)
    judges = {Path(name).name: open_network(name) for name in settings.judges}
    parts = []
    for start in range(0, len(targets), AT_ONCE):
        some = targets[start : start + AT_ONCE]

        def part(done: int, total: int, start: int = start, count: int = len(some)) -> None:
            if told is not None:
                told(start * total + done * count, len(targets) * total)

        made = ideal(
            network,
            some,
            recipe,
            size=settings.size,
            seed=settings.seed + start,
            loop=settings.loop,
            layer=settings.layer,
            engine=settings.engine,
            progress=part,
        )
        parts.append(made)
    if isinstance(network.head, VotingHead):  # climbed with all votes, but judged as the classifier answers
        network = open_network(source, weights)
    rows = _rows(network, parts, judges, settings.layer is not None)
    _write(out, single, source, parts, rows, settings)
    names = [row["class"] for row in rows]
    return {
        "network": source,
        "backbone": network.spec.id,
        "recipe": settings.recipe,
        "steps": recipe.steps,
        "engine": parts[0].engine,
        "out": str(out),
        "pictures": rows,
        "judges": {
            name: {
                "agree": sum(row["judges"][name]["agrees"] for row in rows) / len(names),
                "mean_probability": float(np.mean([row["judges"][name]["probability"] for row in rows])),
            }
            for name in judges
        },
        "mean_saturation": float(np.mean([row["saturation"] for row in rows])),
        "mean_contrast": float(np.mean([row["contrast"] for row in rows])),
        "photos_saturation": [recipe.natural.saturation[0], recipe.natural.saturation[2]],
        "photos_contrast": [recipe.natural.contrast[0], recipe.natural.contrast[2]],
        "seconds": sum(one.seconds for one in parts),
    }


def _places(network: Grafted, wanted: Sequence[str], layer: str | None) -> list[int]:
    if not wanted:
        some = ", ".join(network.classes[:8])
        raise InputError(f"expected at least one class. This network knows {len(network.classes)}: {some}, ...")
    if layer is None:
        return [class_named(name, network.classes) for name in wanted]
    import torch

    cut = Channels(network, layer)
    size = network.spec.geometry.size
    with torch.inference_mode():
        count = cut(torch.rand(1, 3, size, size)).shape[1]
    cut.close()
    return [channel_numbered(name, count, layer) for name in wanted]


def _recipe(settings: PortraitSettings) -> Recipe:
    recipe = RECIPES[settings.recipe]
    if settings.steps is not None:
        recipe = replace(recipe, steps=settings.steps)
    if settings.rate is not None:
        recipe = replace(recipe, rate=settings.rate)
    if settings.variation is not None:
        recipe = replace(recipe, terms=replace(recipe.terms, variation=settings.variation))
    return replace(recipe, natural=_natural(settings.photos))


def _natural(photos: str | None) -> Natural:
    """The statistics of the user's own photos, else those that come with topwork."""
    if photos is None:
        return PHOTOS
    geometry, pixels = Geometry(224), []
    with plain_records(photos) as records:
        step = max(1, len(records) // MOST_MEASURED)
        for record in records.rows[::step][:MOST_MEASURED]:
            try:
                pixels.append(to_pixels(decode(read_bytes(record.path), wanted=geometry).image, geometry))
            except BadPicture:
                continue
    if len(pixels) < 2:
        raise InputError(f"{photos}: expected at least 2 photos to measure colours on, found {len(pixels)} that can be read.")
    return measure(np.stack(pixels))


def _rows(network: Grafted, parts: list[Ideal], judges: dict[str, Grafted], layer: bool) -> list[dict[str, Any]]:
    rows = []
    for made in parts:
        own = [None] * len(made.classes) if layer else judged(network, made.pixels, made.images, made.classes)
        others = {name: judged(one, made.pixels, made.images, made.classes) for name, one in judges.items()}
        loud, deep = saturation(made.pixels), contrast(made.pixels)
        for place, name in enumerate(made.classes):
            verdict = own[place]
            row: dict[str, Any] = {"class": name, "path": None}
            if verdict is not None:
                row |= {"probability": verdict.probability, "label": verdict.label, "probability_unsaved": verdict.unsaved}
            row["judges"] = {judge: _told(found[place]) for judge, found in others.items()}
            row |= {"saturation": float(loud[place]), "contrast": float(deep[place])}
            row["seconds"] = made.seconds / len(made.classes)
            rows.append(row)
    return rows


def _told(verdict: Verdict) -> dict[str, Any]:
    return {
        "label": verdict.label,
        "probability": verdict.probability,
        "probability_unsaved": verdict.unsaved,
        "agrees": verdict.agrees,
    }


def _write(
    out: Path, single: bool, source: str, parts: list[Ideal], rows: list[dict[str, Any]], settings: PortraitSettings
) -> None:
    """The pictures, the sheet, and what --loop asks for; the rows learn their paths."""
    pictures = [picture for made in parts for picture in made.pixels]
    folder, stem = (out.parent, f"{out.stem}-") if single else (make_folder(out), "")
    if single and len(pictures) == 1:
        save_picture(pictures[0], out)
        rows[0]["path"] = str(out)
    else:
        digits = len(str(len(rows)))
        for place, (row, picture) in enumerate(zip(rows, pictures, strict=True)):
            if not single:
                row["path"] = str(folder / f"{place:0{digits}d}-{file_name(row['class'])}.png")
                save_picture(picture, Path(row["path"]))
        sheet = captioned(
            pictures, [_caption(row) for row in rows], f"What {Path(source).name} has in mind", note=_note(settings)
        )
        save_figure(sheet, out if single else folder / "sheet.png")
    if settings.loop:
        for number, made in enumerate(parts):
            tail = f"-{number}" if len(parts) > 1 else ""
            steps = [(step.number, step.pixels, step.probs) for step in made.strip]
            save_figure(
                strip(steps, made.classes, "The way to it, and the probability on the way"), folder / f"{stem}loop{tail}.png"
            )
            save_figure(loss_curve(made.losses, "The loss, by its parts"), folder / f"{stem}loss{tail}.png")
            save_film(made.frames, folder / f"{stem}loop{tail}.webp")


def _caption(row: dict[str, Any]) -> tuple[str, str]:
    said = [f"{name} {percent(one['probability'])}" for name, one in row["judges"].items()]
    own = [f"itself {percent(row['probability'])}"] if "probability" in row else []
    return str(row["class"]), ", ".join(own + said)


def _note(settings: PortraitSettings) -> str:
    return f"recipe {settings.recipe}, seed {settings.seed}" + (
        "; beside itself: networks that took no part" if settings.judges else ""
    )


def file_name(text: str) -> str:
    """A class's name as the name of a file."""
    return re.sub(r"[^\w.-]+", "-", text.strip(), flags=re.UNICODE).strip("-.")[:80] or "picture"
