"""Pictures read for a comparison: records, features and near-copies, labelled or not."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from topwork.classifier import extract_for
from topwork.copies import Copies, find_copies
from topwork.errors import InputError, UnknownName
from topwork.features.choose import Chosen, open_engine
from topwork.features.extract import Extraction, Progress
from topwork.fitting import sample_of
from topwork.pictures.records import Records, need_classes
from topwork.pictures.sources import Pictures, any_records, labelled_records, plain_records

Labels = NDArray[np.int64]

TYPICAL_RATE = 100.0
"""Pictures a second, where all came from the store and nothing was measured."""


@dataclass(frozen=True)
class LookSettings:
    """Which network looks at the pictures, and at how many."""

    backbone: str = "lite0"
    """lite0 or another short name, timm:NAME, or keras:NAME."""
    weights: str = "pretrained"
    """pretrained, random, or a file."""
    engine: Literal["auto", "torch", "openvino", "onnxruntime"] = "auto"
    """What runs the backbone; auto measures once and remembers."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where torch runs."""
    most: int = 1_000
    """Of more pictures a sample is drawn: a few of every class, for the rest each in its proportion."""
    seed: int = 0
    """Draws the sample and the folds."""
    store: bool = True
    """Keep and use stored embeddings."""


def changed(settings: LookSettings, changes: dict[str, Any]) -> LookSettings:
    """The settings with changes by name. Raises UnknownName."""
    for name in changes:
        if name not in LookSettings.__dataclass_fields__:
            raise UnknownName("setting", name, LookSettings.__dataclass_fields__)
    settings = replace(settings, **changes)
    if settings.most < 1 or settings.seed < 0:
        raise InputError(f"expected most >= 1 and seed >= 0, got most={settings.most}, seed={settings.seed}.")
    return settings


@dataclass(frozen=True)
class Seen:
    """Pictures with their features."""

    chosen: Chosen
    found: Extraction
    groups: Labels
    """(N,) equal for near-copies."""
    labelled: bool
    """Whether there are at least two classes, each of at least two pictures, and every picture has one."""
    notes: list[str]
    available: int
    """Usable pictures that there are, about, where these are a sample of them."""

    @property
    def labels(self) -> Labels:
        """(N,) class indices, -1 where a picture has none."""
        return self.found.records.labels

    @property
    def rate(self) -> float:
        """Pictures a second that the engine was measured or seen to do."""
        fresh = self.found.computed
        return fresh / self.found.seconds if fresh >= 50 and self.found.seconds else TYPICAL_RATE

    @property
    def classes(self) -> list[str]:
        """The classes' names."""
        return list(self.found.records.classes)


@contextlib.contextmanager
def opened(pictures: Pictures) -> Iterator[Records]:
    """Records of a folder, a CSV, (picture, label) pairs or pictures; labels where there are some. Raises InputError."""
    if isinstance(pictures, Records):
        yield pictures
    elif isinstance(pictures, (str, os.PathLike)):
        yield any_records(os.fspath(pictures))
    elif isinstance(pictures, (list, tuple)) and pictures and isinstance(pictures[0], (list, tuple)):
        with labelled_records(pictures) as records:
            yield records
    else:
        with plain_records(pictures) as records:
            yield records


def training(records: Records) -> Records:
    """The training pictures where the table says which these are, else all: a test chooses nothing."""
    return records.of_split("train") if any(row.split == "train" for row in records) else records


def need_labels(records: Records, pictures_each: int = 2) -> Records:
    """The labelled pictures of the table. Raises InputError where these are not at least two classes."""
    labelled = records.select(records.labels >= 0) if records.classes else records
    need_classes(labelled, pictures_each)
    return labelled


def sampled(records: Records, most: int, seed: int, least: int = 2) -> Records:
    """Some `most` of the records, `least` of each class and for the rest each in its proportion, in their order."""
    if len(records) <= most:
        return records
    labels = records.labels - records.labels.min()
    order = nested_order(labels, np.random.default_rng(seed))
    first = np.concatenate([np.flatnonzero(labels[order] == one)[:least] for one in np.unique(labels)])
    rest = np.setdiff1d(np.arange(len(order)), first)
    keep = np.zeros(len(records), np.bool_)
    keep[order[np.concatenate([first, rest])[: max(most, len(first))]]] = True
    return records.select(keep)


def nested_order(labels: Labels, rng: np.random.Generator) -> Labels:
    """Rows in an order of which every beginning has the classes (N,) in their proportions."""
    drawn = rng.permutation(len(labels))
    mine = labels[drawn]
    sizes = np.bincount(labels)
    order = np.argsort(mine, kind="stable")
    rank = np.empty(len(labels))
    rank[order] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = (rank + rng.random(len(sizes))[mine]) / sizes[mine]
    return drawn[np.argsort(place, kind="stable")]


def see(
    records: Records,
    settings: LookSettings,
    progress: Progress | None = None,
    chosen: Chosen | None = None,
    least: int = 2,
) -> Seen:
    """Features of the pictures, through the store; of a sample `least` of each class. Raises InputError if none is usable."""
    notes = list(records.notes)
    some = sampled(records, settings.most, settings.seed, least)
    if len(some) < len(records):
        notes.append(f"{len(some):,} of {len(records):,} pictures were looked at: {least} of every class, else in proportion")
    chosen = chosen or open_engine(settings.backbone, settings.weights, settings.engine, settings.device, sample_of(some))
    found = extract_for(chosen.spec, chosen.engine, some, settings.store, progress)
    if not len(found.records):
        told = "; ".join(f"{bad['path']}: {bad['reason']}: {bad['detail']}" for bad in found.broken[:3])
        raise InputError(
            f"{records.source}: none of its {len(some)} pictures could be used: {told}. "
            "Expected JPEG, PNG, WebP, BMP, GIF or TIFF files."
        )
    views = chosen.spec.views
    copies: Copies = find_copies(found, views.get("last+stages", views["last"]))
    labels = found.records.labels
    counts = np.bincount(labels[labels >= 0], minlength=len(records.classes))
    labelled = len(records.classes) > 1 and bool((labels >= 0).all()) and int((counts >= 2).sum()) > 1
    labelled = labelled and int(counts[counts > 0].min()) >= 2
    available = round(len(records) * len(labels) / len(some))
    return Seen(chosen, found, copies.groups, labelled, [*notes, *found.warnings], available)
