"""Whatever a caller holds - paths, folders, a CSV, pairs, PIL pictures, an array - as records of files.

Pictures from memory are written losslessly into a temporary folder, so that every picture takes the one way to pixels.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from topwork.errors import InputError
from topwork.pictures.records import Record, Records, from_pairs, list_pictures, read_records

Pictures: TypeAlias = Any
"""str, Path, a sequence of paths, (path, label) pairs or PIL pictures, (PIL picture, label) pairs, or uint8 (N, H, W, 3)."""


@contextlib.contextmanager
def plain_records(pictures: Pictures) -> Iterator[Records]:
    """Records without labels. Raises InputError for what is no picture source."""
    if isinstance(pictures, Records):
        yield pictures
    elif isinstance(pictures, (str, os.PathLike)):
        yield list_pictures([Path(pictures)])
    elif _in_memory(pictures):
        with _written(_images(pictures)) as paths:
            yield Records(tuple(Record(path) for path in paths), "pictures in memory")
    else:
        yield list_pictures([Path(one) for one in pictures])


@contextlib.contextmanager
def labelled_records(pictures: Pictures, labels: Sequence[str] | None = None) -> Iterator[Records]:
    """Records with labels, from a folder, a CSV, pairs, or pictures with `labels`. Raises InputError."""
    if isinstance(pictures, Records):
        yield pictures
    elif isinstance(pictures, (str, os.PathLike)):
        yield read_records(Path(pictures))
    else:
        if labels is None:
            items = list(pictures)
            if not items or not all(isinstance(item, (tuple, list)) and len(item) == 2 for item in items):
                raise InputError("expected a folder, a CSV, or a list of (picture, label) pairs.")
            sources, labels = [item[0] for item in items], [str(item[1]) for item in items]
        else:
            sources = pictures
        if len(sources) != len(labels):
            raise InputError(f"expected a label for each picture, got {len(sources)} pictures and {len(labels)} labels.")
        if _in_memory(sources):
            with _written(_images(sources)) as paths:
                yield from_pairs(list(zip(paths, labels, strict=True)))
        else:
            yield from_pairs(list(zip(sources, labels, strict=True)))


def _in_memory(pictures: Pictures) -> bool:
    if isinstance(pictures, (np.ndarray, Image.Image)):
        return True
    return len(pictures) > 0 and isinstance(pictures[0], (np.ndarray, Image.Image))


def _images(pictures: Pictures) -> list[Image.Image]:
    if isinstance(pictures, Image.Image):
        return [pictures]
    images = []
    for picture in pictures:
        if isinstance(picture, np.ndarray):
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
                raise InputError(f"expected uint8 pictures (H, W, 3), got {picture.dtype} {picture.shape}.")
            picture = Image.fromarray(picture)
        images.append(picture)
    return images


@contextlib.contextmanager
def _written(images: list[Image.Image]) -> Iterator[list[Path]]:
    with tempfile.TemporaryDirectory(prefix="topwork-") as folder:
        paths = []
        for number, image in enumerate(images):
            path = Path(folder) / f"{number:06d}.png"
            kept = image if image.mode in ("RGB", "RGBA", "L", "LA", "P", "1", "I;16") else image.convert("RGB")
            kept.save(path, compress_level=1)
            paths.append(path)
        yield paths
