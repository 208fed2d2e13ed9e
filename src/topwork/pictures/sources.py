"""Whatever a caller holds - paths, folders, a CSV, pairs, PIL pictures, an array - as records of files.

Pictures from memory are written losslessly into a temporary folder, so that every picture takes the one way to pixels.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

from topwork.errors import InputError
from topwork.pictures.records import Record, Records, from_pairs, list_pictures, read_records
from topwork.runtime import storage_error

_ORIENTATION = 0x0112

Pictures: TypeAlias = Any
"""str, Path, a sequence of paths, (path, label) pairs or PIL pictures, (PIL picture, label) pairs, or uint8 (N, H, W, 3)."""


IN_MEMORY = "pictures in memory"
"""What the source of a table is called whose files are gone when the work is done."""


@contextlib.contextmanager
def plain_records(pictures: Pictures) -> Iterator[Records]:
    """Records without labels. Raises InputError for what is no picture source, and where no path of a list exists."""
    if isinstance(pictures, Records):
        yield pictures
    elif isinstance(pictures, (str, os.PathLike)):
        yield _listed([pictures])
    elif _in_memory(pictures):
        with _written(_images(pictures)) as paths:
            yield Records(tuple(Record(path) for path in paths), IN_MEMORY)
    else:
        yield _listed(list(pictures))


def any_records(pictures: str | Path) -> Records:
    """Every picture of a folder, a CSV or a single file, with a label where class folders or the CSV give one.

    Raises InputError.
    """
    path = Path(os.path.expanduser(pictures))
    if _is_table(path):
        return read_records(pictures)
    plain = list_pictures([pictures])
    if not path.is_dir():
        return plain
    try:
        known = read_records(pictures)
    except InputError:
        return plain
    rows = {record.path: record for record in known}
    return replace(known, rows=tuple(rows.get(record.path, record) for record in plain), notes=plain.notes)


def _listed(sources: Sequence[str | os.PathLike[str]]) -> Records:
    """The pictures that files, folders and CSVs name, in order; a path that is missing among others is UNREADABLE."""
    for source in sources:
        if not isinstance(source, (str, os.PathLike)):
            raise InputError(f"expected paths, PIL pictures or uint8 (N, H, W, 3), got {type(source).__name__}.")
    paths = [Path(os.path.expanduser(source)) for source in sources]
    there = [os.path.lexists(path) for path in paths]
    if len(paths) < 2 or not any(there):
        return _one(Path(sources[0])) if len(paths) == 1 else list_pictures([Path(source) for source in sources])
    rows: list[Record] = []
    notes: list[str] = []
    for path, exists in zip(paths, there, strict=True):
        try:
            found = _one(path) if exists else Records((Record(path),), str(path))
            rows += found.rows
            notes += found.notes
        except InputError as error:
            notes.append(str(error))
    if not rows:
        raise InputError(" ".join(notes))
    return Records(tuple(rows), ", ".join(map(str, paths[:3])), notes=tuple(notes))


def _one(path: Path) -> Records:
    if not _is_table(path):
        return list_pictures([path])
    found = read_records(path)
    return Records(tuple(Record(row.path) for row in found), found.source, notes=found.notes)


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in (".csv", ".tsv") and path.is_file()


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
                yield replace(from_pairs(list(zip(paths, labels, strict=True))), source=IN_MEMORY)
        else:
            yield from_pairs(list(zip(sources, labels, strict=True)))


def _in_memory(pictures: Pictures) -> bool:
    if isinstance(pictures, (np.ndarray, Image.Image)):
        return True
    return isinstance(pictures, Sequence) and len(pictures) > 0 and isinstance(pictures[0], (np.ndarray, Image.Image))


def _images(pictures: Pictures) -> list[Image.Image]:
    if isinstance(pictures, Image.Image):
        return [pictures]
    if isinstance(pictures, np.ndarray) and pictures.ndim != 4:
        raise InputError(f"expected uint8 pictures (N, H, W, 3), got {pictures.dtype} {pictures.shape}.")
    images = []
    for picture in pictures:
        if isinstance(picture, np.ndarray):
            if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
                raise InputError(f"expected uint8 pictures (H, W, 3), got {picture.dtype} {picture.shape}.")
            picture = Image.fromarray(picture)
        if not isinstance(picture, Image.Image):
            raise InputError(f"expected PIL pictures or uint8 arrays (H, W, 3), got {type(picture).__name__}.")
        images.append(picture)
    return images


@contextlib.contextmanager
def _written(images: list[Image.Image]) -> Iterator[list[Path]]:
    with tempfile.TemporaryDirectory(prefix="topwork-") as folder:
        paths = []
        for number, image in enumerate(images):
            path = Path(folder) / f"{number:06d}.png"
            try:
                _write(image, path)
            except (OSError, ValueError, SyntaxError) as error:
                if getattr(error, "errno", None) == errno.ENOSPC:
                    raise storage_error(path, error) from error  # type: ignore[arg-type]
                raise InputError(f"picture {number} in memory cannot be read: {error}.") from error
            paths.append(path)
        yield paths


def _write(image: Image.Image, path: Path) -> None:
    """The picture as a PNG without loss, or a TIFF where its values do not fit one; its orientation goes along."""
    kept = image if image.mode in ("RGB", "RGBA", "L", "LA", "P", "1", "I;16", "I", "F") else image.convert("RGB")
    exif = image.getexif()
    if kept.mode in ("I", "F"):
        kept.save(path, "TIFF")
    elif exif.get(_ORIENTATION, 1) != 1:
        turned = Image.Exif()
        turned[_ORIENTATION] = exif[_ORIENTATION]
        kept.save(path, compress_level=1, exif=turned)
    else:
        kept.save(path, compress_level=1, exif=b"")
