"""From class names to files: ideal pictures made, judged, and written with their sheets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from topwork.errors import InputError
from topwork.grafted import Grafted, VotingHead
from topwork.look.ideal import RECIPES, Ideal, Recipe, Told, check, ideal
from topwork.look.judges import Verdict, judged, open_network
from topwork.look.naming import class_named
from topwork.look.natural import PHOTOS, Natural, contrast, measure, saturation
from topwork.look.objectives import Channels, channel_numbered
from topwork.look.sheets import captioned, loss_curve, percent, save_figure, save_film, save_picture, strip
from topwork.pictures.decode import Geometry, Pixels, decode, read_bytes, to_pixels
from topwork.pictures.reasons import BadPicture
from topwork.pictures.sources import plain_records
from topwork.runtime import make_folder

AT_ONCE = 10
"""Pictures that are optimised together."""

SHEET_SIDE = 320
"""Pixels of a picture on the sheet, at most."""

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
    """Pictures whose colours and contrast are followed, with maco their detail; None: the numbers that come with topwork."""
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
    single = _check_out(out)
    if settings.count < 1:
        raise InputError(f"--count: expected 1 or more, found {settings.count}.")
    network = open_network(source, weights, every_vote=True)
    targets = [place for place in _places(network, wanted, settings.layer) for _ in range(settings.count)]
    recipe = _recipe(settings)
    check(recipe, settings.size or network.spec.geometry.size, min(len(targets), AT_ONCE), network.spec.geometry.size)
    judges = _judges(network, settings)
    # What climbs with all votes is judged as the classifier answers.
    itself = open_network(source, weights) if isinstance(network.head, VotingHead) else network
    album = _Album(source, out, single, len(targets), settings, itself, judges)
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
        album.add(made)
    album.close()
    rows = album.rows
    return {
        "network": source,
        "backbone": network.spec.id,
        "recipe": settings.recipe,
        "steps": recipe.steps,
        "engine": made.engine,
        "out": str(out),
        "pictures": rows,
        "judges": {name: _agreement([row["judges"][name] for row in rows]) for name in judges},
        "mean_saturation": float(np.mean([row["saturation"] for row in rows])),
        "mean_contrast": float(np.mean([row["contrast"] for row in rows])),
        "photos_saturation": [recipe.natural.saturation[0], recipe.natural.saturation[2]],
        "photos_contrast": [recipe.natural.contrast[0], recipe.natural.contrast[2]],
        "seconds": album.seconds,
    }


def _check_out(out: Path) -> bool:
    """Whether `out` is one PNG, not a folder. Raises InputError where neither can be written."""
    if out.is_dir():
        return False
    if out.suffix and out.suffix.lower() != ".png":
        raise InputError(f"{out}: expected a name ending in .png, or a folder. Ideal pictures are written without loss.")
    if not out.suffix and out.exists():
        raise InputError(f"{out}: is a file. Expected a name ending in .png, or a folder.")
    if out.suffix and not out.absolute().parent.is_dir():
        raise InputError(f"{out}: the folder {out.absolute().parent} does not exist. Make it first.")
    return bool(out.suffix)


def _judges(network: Grafted, settings: PortraitSettings) -> dict[str, Grafted]:
    """The judges by their short names, or by their paths where two have one. Raises InputError for one that took part."""
    if settings.judges and settings.layer is not None:
        raise InputError("--judges: channels have no names that others know. Leave --judges or --layer out.")
    short = [Path(name).name for name in settings.judges]
    names = short if len(set(short)) == len(short) else settings.judges
    judges = {name: open_network(given) for name, given in zip(names, settings.judges, strict=True)}
    for name, judge in judges.items():
        if judge.spec.weights_sha256 == network.spec.weights_sha256:
            raise InputError(f"--judges {name}: is the network that makes the pictures. A judge has to be another one.")
    return judges


def _agreement(verdicts: list[dict[str, Any]]) -> dict[str, Any]:
    """Of those whose class the judge knows."""
    known = [one for one in verdicts if one["agrees"] is not None]
    return {
        "known": len(known),
        "agree": sum(one["agrees"] for one in known) / len(known) if known else None,
        "mean_probability": float(np.mean([one["probability"] for one in known])) if known else None,
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
    try:
        with torch.inference_mode():
            count = cut(torch.rand(1, 3, size, size)).shape[1]
    finally:
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


def _told(verdict: Verdict) -> dict[str, Any]:
    return {
        "label": verdict.label,
        "probability": verdict.probability,
        "probability_unsaved": verdict.unsaved,
        "agrees": verdict.agrees,
    }


class _Album:
    """What becomes of pictures: each batch is judged and written when it is done, and only small copies are kept."""

    def __init__(
        self,
        source: str,
        out: Path,
        single: bool,
        count: int,
        settings: PortraitSettings,
        itself: Grafted,
        judges: dict[str, Grafted],
    ) -> None:
        self.source, self.out, self.single, self.count, self.settings = source, out, single, count, settings
        self.itself, self.judges = itself, judges
        self.folder = out.parent if single else make_folder(out)
        self.rows: list[dict[str, Any]] = []
        self.small: list[Pixels] = []
        self.seconds, self.batches = 0.0, 0

    def add(self, made: Ideal) -> None:
        """Judge and write a batch."""
        rows = self._judged(made)
        digits = len(str(self.count))
        for row, picture in zip(rows, made.pixels, strict=True):
            if not self.single:
                row["path"] = str(self.folder / f"{len(self.rows):0{digits}d}-{file_name(row['class'])}.png")
            elif self.count == 1:
                row["path"] = str(self.out)
            if row["path"] is not None:
                save_picture(picture, Path(row["path"]))
            self.rows.append(row)
            self.small.append(_small(picture))
        if self.settings.loop:
            self._show_the_way(made)
        self.seconds += made.seconds
        self.batches += 1

    def close(self) -> None:
        """Write the sheet of all, where there are several or a folder was wanted."""
        if self.single and self.count == 1:
            return
        captions = [_caption(row) for row in self.rows]
        sheet = captioned(self.small, captions, f"What {Path(self.source).name} has in mind", note=_note(self.settings))
        save_figure(sheet, self.out if self.single else self.folder / "sheet.png")

    def _judged(self, made: Ideal) -> list[dict[str, Any]]:
        channels = self.settings.layer is not None
        own = [None] * len(made.classes) if channels else judged(self.itself, made.pixels, made.images, made.classes)
        others = {name: judged(one, made.pixels, made.images, made.classes) for name, one in self.judges.items()}
        loud, deep = saturation(made.pixels), contrast(made.pixels)
        rows = []
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

    def _show_the_way(self, made: Ideal) -> None:
        stem = f"{self.out.stem}-" if self.single else ""
        tail = f"-{self.batches}" if self.count > AT_ONCE else ""
        steps = [(step.number, step.pixels, step.probs) for step in made.strip]
        shares = self.settings.layer is None
        title = f"The way to it, and the {'probability' if shares else 'channel'} on the way"
        save_figure(strip(steps, made.classes, title, shares), self.folder / f"{stem}loop{tail}.png")
        save_figure(loss_curve(made.losses, "The loss, by its parts"), self.folder / f"{stem}loss{tail}.png")
        save_film(made.frames, self.folder / f"{stem}loop{tail}.webp")


def _small(picture: Pixels) -> Pixels:
    """A copy for the sheet, where a larger one would not be seen."""
    if max(picture.shape[:2]) <= SHEET_SIDE:
        return picture
    return np.asarray(Image.fromarray(picture).resize((SHEET_SIDE, SHEET_SIDE), Image.Resampling.LANCZOS))


def _caption(row: dict[str, Any]) -> tuple[str, str]:
    said = [
        f"{name} {'does not know it' if one['probability'] is None else percent(one['probability'])}"
        for name, one in row["judges"].items()
    ]
    own = [f"itself {percent(row['probability'])}"] if "probability" in row else []
    return str(row["class"]), ", ".join(own + said)


def _note(settings: PortraitSettings) -> str:
    return f"recipe {settings.recipe}, seed {settings.seed}" + (
        "; beside itself: networks that took no part" if settings.judges else ""
    )


def file_name(text: str) -> str:
    """A class's name as the name of a file."""
    return re.sub(r"[^\w.-]+", "-", text.strip(), flags=re.UNICODE).strip("-.")[:80] or "picture"
