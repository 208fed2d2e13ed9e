"""Oxford-IIIT Pet: images/BREED_NUMBER.jpg and the official split become train/BREED and test/BREED."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from topwork.datasets.archives import unpack
from topwork.datasets.entries import Limits
from topwork.datasets.layout import Layout
from topwork.datasets.obtaining import Bar
from topwork.errors import ArchiveError, InputError

LIMITS = Limits(size=8 << 30, each=64 << 20)
LIST_LIMITS = Limits(size=8 << 30, each=4 << 20)

SPLITS = {"trainval": "train", "test": "test"}
"""The official lists, and the folders they become."""

_PICTURE = re.compile(r"(?:.*/)?images/([^/.][^/]*)\.jpg")
_LIST = re.compile(r"(?:.*/)?annotations/(trainval|test)\.txt")
_ROW = re.compile(r"(?P<name>(?P<breed>\w+)_\d+) (?P<breed_number>\d+) (?P<species>[12]) \d+")


@dataclass(frozen=True)
class Pet:
    """What the lists say of a picture."""

    split: str
    breed: str
    species: str
    """cat or dog."""

    def folder(self, binary: bool) -> str:
        """The class folder it belongs to."""
        return f"{self.split}/{self.species if binary else self.breed}"


def lay_out(archives: Mapping[str, Path], folder: Path, binary: bool, bar: Bar) -> Layout:
    """Unpack into train/BREED and test/BREED below `folder`; train/cat, train/dog, test/cat, test/dog when `binary`.

    Raises ArchiveError and StorageError.
    """
    pets = read_lists(archives["annotations"], folder / ".lists")
    unlisted = 0

    def place(path: str) -> str | None:
        nonlocal unlisted
        match = _PICTURE.fullmatch(path)
        if match is None:
            return None
        pet = pets.get(match[1])
        unlisted += pet is None
        return f"{pet.folder(binary)}/{match[1]}.jpg" if pet else None

    with bar("unpacking", "bytes") as told:
        paths = unpack(archives["pictures"], folder, LIMITS, place, told)
    if not paths:
        raise ArchiveError(f"{archives['pictures']}: holds none of the {len(pets)} pictures that the lists name.")
    notes = []
    if unlisted:
        notes.append(f"pictures that are in no official list and were left out: {unlisted}")
    if len(paths) < len(pets):
        notes.append(f"pictures that the official lists name and the archive lacks: {len(pets) - len(paths)}")
    species = {pet.species if binary else pet.breed: pet.species for pet in pets.values()}
    return Layout(tuple(paths), species, tuple(notes))


def read_lists(archive: Path, place: Path) -> dict[str, Pet]:
    """What trainval.txt and test.txt in `archive` say of each picture; `place` is a folder made for it and removed.

    A row is NAME CLASS SPECIES BREED, species 1 for cats and 2 for dogs. Raises ArchiveError naming the line.
    """
    place.mkdir()
    try:
        found = unpack(archive, place, LIST_LIMITS, lambda path: m[1] if (m := _LIST.fullmatch(path)) else None)
        missing = SPLITS.keys() - set(found)
        if missing:
            raise ArchiveError(f"{archive}: expected annotations/trainval.txt and test.txt, found no {missing.pop()}.txt.")
        pets: dict[str, Pet] = {}
        for name, split in SPLITS.items():
            _read_list(archive, name, split, (place / name).read_bytes(), pets)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    breeds: dict[str, str] = {}
    for pet in pets.values():
        if breeds.setdefault(pet.breed, pet.species) != pet.species:
            raise ArchiveError(f"{archive}: its lists call {pet.breed} a cat and a dog. Take a fresh copy.")
    if not pets:
        raise InputError(f"{archive}: its lists are empty. Take a fresh copy.")
    return pets


def _read_list(archive: Path, name: str, split: str, data: bytes, pets: dict[str, Pet]) -> None:
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        row = _ROW.fullmatch(" ".join(line.split()))
        fault = "expected NAME_NUMBER CLASS SPECIES BREED" if row is None else ""
        if row is not None and row["name"] in pets:
            fault = "a picture that was listed before"
        if row is None or fault:
            raise ArchiveError(f"{archive}: annotations/{name}.txt, line {number}: {fault}, found {line[:80]!r}.")
        pets[row["name"]] = Pet(split, row["breed"], "cat" if row["species"] == "1" else "dog")
