"""Folders of photos made from the real ones: fewer, more, many more, wrongly labelled. Only the work folder is written to."""

from __future__ import annotations

import shutil
from pathlib import Path


def class_pictures(folder: Path) -> dict[str, list[Path]]:
    """Pictures by class folder, sorted."""
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    return {path.name: sorted(file for file in path.iterdir() if file.is_file()) for path in classes}


def count(folder: Path) -> int:
    """How many files lie below the folder."""
    return sum(path.is_file() for path in folder.rglob("*"))


def read_all(folder: Path) -> None:
    """Read every file once, so that the first contender does not pay for the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.read_bytes()


def subset(source: Path, target: Path, per_class: int) -> Path:
    """A copy of `source` with at most `per_class` pictures in each class folder."""
    for name, files in class_pictures(source).items():
        (target / name).mkdir(parents=True)
        for file in files[:per_class]:
            shutil.copyfile(file, target / name / file.name)
    return target


def mislabelled(source: Path, target: Path, wrong: int) -> Path:
    """A copy of `source` in which the first `wrong` pictures of each class lie in the next class's folder."""
    classes = class_pictures(source)
    names = list(classes)
    for name in names:
        (target / name).mkdir(parents=True)
    for place, name in enumerate(names):
        for number, file in enumerate(classes[name]):
            label = names[(place + 1) % len(names)] if number < wrong else name
            shutil.copyfile(file, target / label / file.name)
    return target


def with_added(source: Path, target: Path, added: dict[str, list[Path]]) -> Path:
    """A copy of `source` with more pictures in its class folders."""
    shutil.copytree(source, target)
    for label, files in added.items():
        for file in files:
            shutil.copyfile(file, target / label / f"added-{file.parent.name}-{file.name}")
    return target


def cats_and_dogs_of_pets(pets: Path, each: int) -> dict[str, list[Path]]:
    """`each` cats and `each` dogs of Oxford-IIIT Pet, whose cat breeds are the ones written with a capital."""
    classes = class_pictures(pets)
    pools: dict[str, list[Path]] = {"cat": [], "dog": []}
    deepest = max(map(len, classes.values()))
    for number in range(deepest):  # in turn, so that every breed is met
        for name, files in classes.items():
            if number < len(files):
                pools["cat" if name[0].isupper() else "dog"].append(files[number])
    return {label: files[:each] for label, files in pools.items()}


def repeated(source: Path, target: Path, total: int) -> Path:
    """`total` pictures: those of `source` again and again, each file with bytes of its own and the same pixels.

    A JPEG may be followed by anything after its end-of-image marker; the copy's number goes there.
    """
    classes = class_pictures(source)
    for name in classes:
        (target / name).mkdir(parents=True)
    originals = [(name, file) for name, files in classes.items() for file in files]
    for number in range(total):
        name, file = originals[number % len(originals)]
        copy = number // len(originals)
        ending = b"" if copy == 0 else copy.to_bytes(1 if copy < 256 else 4, "big")
        (target / name / f"{file.stem}-{copy}{file.suffix}").write_bytes(file.read_bytes() + ending)
    return target


def objects(source: Path, target: Path) -> Path:
    """ImageNet's pictures, one a class, without its domestic dogs (151 to 268) and cats (281 to 285)."""
    target.mkdir(parents=True)
    for name, files in class_pictures(source).items():
        index = int(name.partition("-")[0])
        if not (151 <= index <= 268 or 281 <= index <= 285):
            for file in files:
                shutil.copyfile(file, target / f"{name}-{file.name}")
    return target
