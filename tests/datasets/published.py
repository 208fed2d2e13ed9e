"""Archives as the data sets are published, of drawn pictures, with all that lies beside the pictures in the real ones."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from topwork.pictures.records import read_records

CATS = "kagglecatsanddogs_5340.zip"

BREEDS = {"Abyssinian": 1, "Maine_Coon": 1, "american_bulldog": 2, "pug": 2}
"""Breeds, and 1 for cats, 2 for dogs."""


def picture(kind: int, number: int, format: str = "JPEG") -> bytes:  # noqa: A002 - as Pillow calls it
    """A drawn picture: bars or checks in red or blue, told apart by `kind` 0 to 3, with noise that `number` seeds."""
    rng = np.random.default_rng(1000 * kind + number)
    rows, columns = np.mgrid[:72, :96]
    pattern = columns // 12 % 2 if kind % 2 else (columns // 12 + rows // 12) % 2
    pixels = rng.integers(0, 90, (72, 96, 3), dtype=np.uint8)
    pixels[..., 0 if kind < 2 else 2] += (pattern * rng.integers(90, 160)).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format)
    return out.getvalue()


CATS_BROKEN = {
    "cat/666.jpg": "EMPTY",
    "dog/11702.jpg": "EMPTY",
    "dog/3.jpg": "TRUNCATED",
    "cat/4.jpg": "NOT_IMAGE",
}


def cats_entries(each: int = 10) -> dict[str, bytes]:
    """What the Cats vs. Dogs zip holds: `each` good pictures a class, one of them a GIF that is called .jpg."""
    entries = {"readme[1].txt": b"Asirra", "MSR-LA - 3467.docx": b"PK\3\4 a licence"}
    for kind, folder in ((0, "Cat"), (3, "Dog")):
        entries[f"PetImages/{folder}/"] = b""
        entries[f"PetImages/{folder}/Thumbs.db"] = b"\xd0\xcf\x11\xe0"
        for number in range(each - 1):
            entries[f"PetImages/{folder}/{number + 20}.jpg"] = picture(kind, number)
    entries["PetImages/Cat/10.jpg"] = picture(0, 98, "GIF")
    entries["PetImages/Dog/10.jpg"] = picture(3, 99)
    entries["PetImages/Cat/666.jpg"] = entries["PetImages/Dog/11702.jpg"] = b""
    entries["PetImages/Dog/3.jpg"] = picture(3, 3)[:800]
    entries["PetImages/Cat/4.jpg"] = b"<html>not found</html>"
    return entries


def zipped(entries: Mapping[str, bytes]) -> bytes:
    """A zip of them."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in entries.items():
            made.writestr(name, data)
    return out.getvalue()


def tarred(entries: Mapping[str, bytes]) -> bytes:
    """A tar.gz of them, as GNU tar makes it."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.GNU_FORMAT) as made:
        for name, data in entries.items():
            entry = tarfile.TarInfo(name.rstrip("/"))
            entry.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            entry.size = len(data)
            made.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def pets_images(each: int = 6) -> dict[str, bytes]:
    """What images.tar.gz holds: pictures 1 to `each` of a breed, matrices, and a picture that is in no list."""
    entries = {"images/": b""}
    for kind, breed in enumerate(BREEDS):
        for number in range(1, each + 1):
            entries[f"images/{breed}_{number}.jpg"] = picture(kind, number)
    entries["images/Abyssinian_100.mat"] = b"MATLAB 5.0"
    entries["images/._pug_1.jpg"] = b"\0\5\x16\7"
    entries["images/pug_999.jpg"] = picture(3, 999)
    entries["images/pug_2.jpg"] = picture(3, 2)[:-900]
    entries["images/Maine_Coon_5.jpg"] = b""
    return entries


PETS_BROKEN = {"train/pug/pug_2.jpg": "TRUNCATED", "test/Maine_Coon/Maine_Coon_5.jpg": "EMPTY"}


def pets_annotations(each: int = 6) -> dict[str, bytes]:
    """What annotations.tar.gz holds: two thirds of a breed in trainval.txt, the rest in test.txt, one that has no picture."""
    head = "#Image CLASS-ID SPECIES BREED ID\n#ID: 1:37 Class ids\n#SPECIES: 1:Cat 2:Dog\n"
    train, test = "", ""
    for number, (breed, species) in enumerate(BREEDS.items(), 1):
        for place in range(1, each + 1):
            row = f"{breed}_{place} {number} {species} {number}\n"
            train, test = (train + row, test) if place <= 2 * each // 3 else (train, test + row)
    return {
        "annotations/": b"",
        "annotations/README": b"OXFORD-IIIT PET Dataset",
        "annotations/list.txt": (head + train + test).encode(),
        "annotations/trainval.txt": train.encode(),
        "annotations/test.txt": f"{test}Maine_Coon_{each + 1} 2 1 2\r\n".encode(),
        "annotations/trimaps/._pug_1.png": b"\0\5\x16\7",
        "annotations/trimaps/pug_1.png": picture(0, 0, "PNG"),
        "annotations/xmls/pug_1.xml": b"<annotation/>",
    }


def tree(folder: Path) -> list[str]:
    """Every file below a folder."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def pictures_of(folder: Path) -> dict[str, int]:
    """Pictures by their folder, as fit sees them."""
    records = read_records(folder)
    counts: dict[str, int] = {}
    for path in records.paths:
        place = path.relative_to(folder).parent.as_posix()
        counts[place] = counts.get(place, 0) + 1
    assert not records.notes
    return counts


def cache() -> Path:
    """Where archives are fetched to."""
    return Path(os.environ["TOPWORK_CACHE"]) / "downloads"
