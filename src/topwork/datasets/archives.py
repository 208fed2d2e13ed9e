"""Unpacking zip, tar and tar.gz files that come from anywhere: regular files only, never outside their folder.

Python's own tarfile and zipfile are not used: several versions in use let a hostile archive write outside (CVE-2025-4517) or
hang (CVE-2025-8194). An archive that holds anything hostile is refused as a whole, and nothing of it is left.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from topwork.datasets.entries import Budget, Entry, Hostile, Limits, Taken, check_portable, clean_name
from topwork.datasets.tars import HEADER, gzip_reader, is_tar, plain_reader, tar_entries
from topwork.datasets.zips import zip_entries
from topwork.errors import ArchiveError, InputError
from topwork.runtime import publish_folder, storage_error

Select = Callable[[str], str | None]
"""From an entry's path to its path below the folder; None passes it over."""

Told = Callable[[int, int], None]
"""Called with the bytes of the archive that are done and those there are."""

_OTHER_FORMATS = {
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!": "rar",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"<": "a web page",
}


def extract(
    archive: Path,
    folder: Path,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    select: Select | None = None,
    told: Told | None = None,
) -> list[str]:
    """Unpack into a new folder, which appears whole or not at all; returns the paths below it, in the archive's order.

    Raises ArchiveError (the entry and the reason named), InputError where the folder is there and not empty, StorageError.
    """
    if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"{folder}: expected a new or an empty folder. It is left as it is; choose another one.")
    with publish_folder(folder) as temporary:
        return unpack(archive, temporary, limits, select, told)


def unpack(
    archive: Path,
    folder: Path,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    select: Select | None = None,
    told: Told | None = None,
) -> list[str]:
    """Unpack into a folder that is there and empty; returns the paths below it. Raises as `extract`; then some may be there.

    Folders are made for the files in them. What `select` passes over may be of any kind, but no entry may have a name that is
    an attack, and all that comes out counts.
    """
    written: list[str] = []
    taken = Taken()
    name = ""
    try:
        with archive.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            for entry in _entries(file, size, Budget(limits, size)):
                name = entry.name
                path = _place(entry, limits, select, taken)
                if path is not None:
                    _write(folder / path, entry.blocks(), limits.each)
                    written.append(path)
                if told is not None:
                    told(min(file.tell(), size), size)
                name = ""
    except Hostile as fault:
        at = f"{name!r}: " if name else ""
        raise ArchiveError(f"{archive}: cannot be trusted, nothing of it was kept: {at}{fault}. Take a fresh copy.") from fault
    except OSError as error:
        raise ArchiveError(f"{archive}: expected a zip or tar file, cannot read it: {error.strerror or error}.") from error
    return written


def list_names(archive: Path, limits: Limits = Limits(), most: int = 1000) -> list[str]:  # noqa: B008 - frozen
    """The names of the first entries, as the archive has them. Raises ArchiveError."""
    names: list[str] = []
    try:
        with archive.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            for entry in _entries(file, size, Budget(limits, size)):
                names.append(entry.name)
                if len(names) == most:
                    break
    except Hostile as fault:
        raise ArchiveError(f"{archive}: cannot be trusted: {fault}. Take a fresh copy.") from fault
    except OSError as error:
        raise ArchiveError(f"{archive}: expected a zip or tar file, cannot read it: {error.strerror or error}.") from error
    return names


def _entries(file: BinaryIO, size: int, budget: Budget) -> Iterator[Entry]:
    """The entries of an archive, by what its first bytes say."""
    head = file.read(HEADER)
    file.seek(0)
    if head.startswith((b"PK\3\4", b"PK\5\6")):
        return zip_entries(file, size, budget)
    if head.startswith(b"\x1f\x8b"):
        return tar_entries(gzip_reader(file, budget), budget)
    if is_tar(head):
        return tar_entries(plain_reader(file, budget), budget)
    found = next((kind for magic, kind in _OTHER_FORMATS.items() if head.startswith(magic)), "something else")
    raise Hostile(f"expected zip, tar or tar.gz, found {found if head else 'an empty file'}")


def _place(entry: Entry, limits: Limits, select: Select | None, taken: Taken) -> str | None:
    """Where below the folder an entry goes; None where it is a folder or passed over. Raises Hostile."""
    path = clean_name(entry.name)
    if entry.kind == "folder":
        return None
    wanted = path if select is None else select(path)
    if wanted is None:
        return None
    if entry.kind != "file":
        raise Hostile(f"it is {entry.kind}, expected a regular file")
    if entry.size > limits.each:
        raise Hostile(f"it has more than {limits.each} bytes")
    wanted = clean_name(wanted)
    check_portable(wanted, limits)
    taken.take(wanted)
    return wanted


def _write(path: Path, blocks: Iterator[bytes], most: int) -> None:
    """Write a new file. Raises StorageError, and Hostile where more than `most` bytes come."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    with _told_as_storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, flags, 0o666)
    length = 0
    try:
        for block in blocks:
            length += len(block)
            if length > most:
                raise Hostile(f"it has more than {most} bytes")
            with _told_as_storage(path):
                view = memoryview(block)
                while view:
                    view = view[os.write(handle, view) :]
    finally:
        with _told_as_storage(path):
            os.close(handle)


@contextmanager
def _told_as_storage(path: Path) -> Iterator[None]:
    """What goes wrong while writing is no fault of the archive."""
    try:
        yield
    except OSError as error:
        raise storage_error(path, error) from error
