"""Cats vs. Dogs: PetImages/Cat and PetImages/Dog become the class folders cat/ and dog/."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from topwork.datasets.archives import unpack
from topwork.datasets.entries import Limits
from topwork.datasets.layout import Layout
from topwork.datasets.obtaining import Bar
from topwork.errors import ArchiveError
from topwork.pictures.decode import PICTURE_SUFFIXES

LIMITS = Limits(size=8 << 30, each=64 << 20)

_PICTURE = re.compile(r"(?:.*/)?PetImages/(Cat|Dog)/([^/]+)")


def place(path: str) -> str | None:
    """Where a path of the archive goes; None for the licence and what file managers left (Thumbs.db)."""
    match = _PICTURE.fullmatch(path)
    if match is None or match[2].startswith(".") or PurePosixPath(path).suffix.lower() not in PICTURE_SUFFIXES:
        return None
    return f"{match[1].lower()}/{match[2]}"


def lay_out(archives: Mapping[str, Path], folder: Path, binary: bool, bar: Bar) -> Layout:
    """Unpack into cat/ and dog/ below `folder`; it is cats and dogs already, so that `binary` changes nothing.

    Raises ArchiveError and StorageError.
    """
    archive = archives["pictures"]
    with bar("unpacking", "bytes") as told:
        paths = unpack(archive, folder, LIMITS, place, told)
    missing = {"cat", "dog"} - {path.partition("/")[0] for path in paths}
    if missing:
        raise ArchiveError(f"{archive}: expected pictures in PetImages/Cat and PetImages/Dog, found none of {missing.pop()}s.")
    return Layout(tuple(paths), {"cat": "cat", "dog": "dog"})
