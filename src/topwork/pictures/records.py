"""The table of pictures: from class folders, train/test folders, a CSV, a plain folder, or a list of files.

Reading the table opens no picture. Nothing is ever written into the user's folders.
"""

from __future__ import annotations

import csv
import io
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from topwork.errors import InputError
from topwork.pictures.decode import PICTURE_SUFFIXES

TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("test", "testing")
VALIDATION_NAMES = ("val", "valid", "validation")
"""Used for the test where there is no other; beside a test they join the training pictures."""

_IGNORED = {"__MACOSX", "Thumbs.db", "desktop.ini", "@eaDir", "$RECYCLE.BIN"}
# Files that lie beside pictures in published sets; anything else is tried, so that a nameless picture is found.
_NOT_PICTURES = {".txt", ".md", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".py", ".html", ".log", ".mat"}


@dataclass(frozen=True)
class Record:
    """One picture of the table."""

    path: Path
    label: str | None = None
    """Class name, or None where the picture has none."""
    split: str | None = None
    """As the user gave it: train, test, or None."""


@dataclass(frozen=True)
class Records:
    """The table of pictures, in a stated order (by path within folders, by line in a CSV)."""

    rows: tuple[Record, ...]
    source: str
    """Where it comes from, for messages."""
    classes: tuple[str, ...] = field(default=())
    """Sorted class names."""
    notes: tuple[str, ...] = ()
    """What was left out or decided while reading, in words: a person should see them."""

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.rows)

    @property
    def paths(self) -> list[Path]:
        """The paths, in order."""
        return [row.path for row in self.rows]

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) index of each picture's class in `classes`; -1 where it has none or another."""
        index = {name: place for place, name in enumerate(self.classes)}
        return np.array([index.get(row.label or "", -1) for row in self.rows], np.int64)

    def of_split(self, split: str) -> Records:
        """The rows of one given split ("train" or "test"), with this table's classes."""
        return replace(self, rows=tuple(row for row in self.rows if row.split == split))

    def select(self, keep: Sequence[bool] | NDArray[np.bool_]) -> Records:
        """The rows where `keep` is true."""
        return replace(self, rows=tuple(row for row, kept in zip(self.rows, keep, strict=True) if kept))


def read_records(source: str | Path) -> Records:
    """The table of labelled pictures at `source`: class folders, train/ and test/ above class folders, or a CSV.

    Raises InputError: no such path, no pictures, no class folders, or a CSV without the columns it needs.
    """
    path = Path(os.path.expanduser(source))
    if not os.path.exists(path):
        raise InputError(f"{source}: no such file or folder. Expected a folder with one folder per class, or a CSV file.")
    if not path.is_dir():
        if path.suffix.lower() in (".csv", ".tsv"):
            return _from_csv(path)
        raise InputError(
            f"{source}: expected a folder with one folder per class, or a CSV with columns path,label; found a "
            f"{path.suffix or 'plain'} file."
        )
    notes: list[str] = []
    try:
        folders, files = _entries(path)
    except OSError as error:
        raise InputError(f"{source}: cannot be read: {error.strerror}. Expected a folder that you may open.") from error
    beside = sum(_pictured(file) for file in files)
    given = [folder for folder in folders if _split_name(folder.name)]
    others = [folder for folder in folders if not _split_name(folder.name) and next(_walk(folder, []), None)]
    if given and not others:
        rows = list(_split_rows(path, given, notes))
    else:
        if any(_split_name(folder.name) == "train" and _subfolders(folder) for folder in given):
            notes.append(f"{given[0].name}/ was taken as a class, because {others[0].name}/ stands beside it")
        rows = list(_class_rows(path, None, notes))
    if not rows:
        if beside:
            raise InputError(
                f"{source}: found {beside} pictures but no class folders. "
                f"Is it one class of several? Give the folder that holds them all: {path.parent}. Else put each class "
                f"in a folder of its own in it, or give a CSV with path,label."
            )
        because = f" ({'; '.join(notes)})" if notes else ""
        raise InputError(f"{source}: found no pictures{because}. Expected one folder per class with pictures in it.")
    if beside:
        notes.append(f"{beside} pictures beside the class folders belong to no class and were left out")
    return _table(rows, str(source), notes)


def list_pictures(sources: Iterable[str | Path]) -> Records:
    """The pictures named by files and folders, without labels; folders are walked. Raises InputError for a missing path."""
    rows: list[Record] = []
    missing: list[str] = []
    notes: list[str] = []
    names = [str(source) for source in sources]
    for name in names:
        path = Path(os.path.expanduser(name))
        if os.path.isdir(path):
            rows += [Record(found) for found in _walk(path, notes)]
        elif os.path.lexists(path):
            rows.append(Record(path))
        else:
            missing.append(name)
    if missing:
        raise InputError(f"{', '.join(missing)}: no such file or folder. Expected pictures, or folders of them.")
    if not rows:
        because = f" ({'; '.join(notes)})" if notes else ""
        raise InputError(f"{', '.join(names) or 'nothing given'}: found no pictures{because}. Expected at least one.")
    return Records(tuple(rows), ", ".join(names), notes=tuple(notes))


def from_pairs(pairs: Iterable[tuple[str | Path, str]]) -> Records:
    """The table of (path, label) pairs."""
    return _table([Record(Path(path), _label(str(label))) for path, label in pairs], "list of pictures", [])


def need_classes(records: Records, pictures_each: int = 2) -> None:
    """Raise InputError unless there are two classes or more, each with `pictures_each` pictures or more."""
    if len(records.classes) < 2:
        found = f"1 class ({records.classes[0]})" if records.classes else "no class"
        name = Path(records.source).name or records.source
        remedy = f"Put each class in its own folder: {name}/cats, {name}/dogs."
        if not os.path.isdir(os.path.expanduser(records.source)):
            remedy = "Add pictures with another label."
        raise InputError(f"{records.source}: found {found}, need at least 2. {remedy}")
    labels = records.labels
    counts = np.bincount(labels[labels >= 0], minlength=len(records.classes))
    few = [f"{name} ({count})" for name, count in zip(records.classes, counts, strict=True) if count < pictures_each]
    if few:
        raise InputError(
            f"{records.source}: too few usable pictures in {', '.join(few)}; need at least {pictures_each} a class. "
            "Add pictures, or leave the class out."
        )


def _table(rows: list[Record], source: str, notes: Sequence[str]) -> Records:
    classes = tuple(sorted({row.label for row in rows if row.label is not None}))
    return Records(tuple(rows), source, classes, tuple(notes))


def _label(name: str) -> str:
    """A class name as it is written everywhere: composed accents (macOS stores them apart), no broken characters."""
    return unicodedata.normalize("NFC", name.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def _split_name(name: str) -> str | None:
    """train, test or validation, if that is what the name means."""
    known = (("train", TRAIN_NAMES), ("test", TEST_NAMES), ("validation", VALIDATION_NAMES))
    return next((split for split, names in known if name.lower() in names), None)


def _validation_is(splits: Iterable[str | None], notes: list[str]) -> str:
    """The split that validation pictures belong to, given all splits there are."""
    present = set(splits)
    if "validation" in present and "test" in present:
        notes.append("there is a test beside the validation pictures, so these were added to the training pictures")
        return "train"
    return "test"


def _split_rows(path: Path, given: Sequence[Path], notes: list[str]) -> Iterator[Record]:
    """Rows of folders that are all named as splits; those without class folders have no labels and are left out."""
    usable = []
    for folder in given:
        if _subfolders(folder):
            usable.append(folder)
        elif next(_walk(folder, notes), None):
            notes.append(f"the pictures in {folder.name}/ are in no class folder and were left out")
    if given and not usable:
        names = ", ".join(f"{folder.name}/" for folder in given)
        raise InputError(
            f"{path}: found {names} but no class folders in them. "
            f"Put each class in its own folder: {given[0].name}/cats, {given[0].name}/dogs."
        )
    splits = [_split_name(folder.name) for folder in usable]
    validation = _validation_is(splits, notes)
    for folder, split in zip(usable, splits, strict=True):
        yield from _class_rows(folder, validation if split == "validation" else split, notes)


def _class_rows(folder: Path, split: str | None, notes: list[str]) -> Iterator[Record]:
    for class_folder in _entries(folder)[0]:
        found = False
        for path in _walk(class_folder, notes):
            found = True
            yield Record(path, _label(class_folder.name), split)
        if not found:
            notes.append(f"{class_folder.name}/ holds no pictures and is no class")


def _hidden(name: str) -> bool:
    return name.startswith(".") or name in _IGNORED


def _is_candidate(name: str) -> bool:
    return os.path.splitext(name)[1].lower() not in _NOT_PICTURES


def _pictured(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """(folders, files) in a folder, sorted, hidden ones left out."""
    folders: list[Path] = []
    files: list[Path] = []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            if not _hidden(entry.name):
                (folders if _is_folder(entry) else files).append(folder / entry.name)
    return folders, files


def _subfolders(folder: Path) -> list[Path]:
    try:
        return _entries(folder)[0]
    except OSError:
        return []


def _walk(folder: Path, notes: list[str]) -> Iterator[Path]:
    """Every candidate file below `folder`, sorted; folders behind links are followed, each real folder once."""
    seen, waiting = set(), [folder]
    while waiting:
        here = waiting.pop()
        try:
            status = os.stat(here)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            folders, files = _entries(here)
        except OSError as error:
            notes.append(f"{here}: the folder cannot be read ({error.strerror}) and was left out")
            continue
        yield from (path for path in files if _is_candidate(path.name))
        waiting += reversed(folders)


def _from_csv(path: Path) -> Records:
    """Rows of a CSV with a header path,label[,split]; relative paths count from the CSV's folder."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a CSV in UTF-8, cannot read it: {error}. Save it again as UTF-8.") from error
    head = text.partition("\n")[0]
    # Spreadsheets write semicolons in half of Europe, and tabs into files named .csv.
    delimiter = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=head.count)
    rows, faults, notes = [], [], list[str]()
    first: dict[str, tuple[str, int]] = {}
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = [name.strip().lower() for name in next(reader, [])]
        if "path" not in columns or "label" not in columns:
            raise InputError(
                f"{path}: expected a header with path,label[,split]; found {','.join(columns) or 'nothing'}. "
                "Name the columns in the first line."
            )
        for cells in reader:
            number = reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            line = dict(zip(columns, (cell.strip() for cell in cells), strict=False))
            name, label, given = line.get("path", ""), _label(line.get("label", "")), line.get("split", "")
            split = _split_name(given)
            if len(cells) > len(columns):
                faults.append(f"line {number}: {len(cells)} values for {len(columns)} columns (put quotes around a comma)")
            elif not name or not label:
                faults.append(f"line {number}: path or label is empty")
            elif given and split is None:
                faults.append(f"line {number}: split {given!r}; expected train or test")
            elif first.setdefault(name, (label, number))[0] != label:
                faults.append(f"line {number}: {name} is {label}, but {first[name][0]} in line {first[name][1]}")
            else:
                rows.append(Record(_listed_file(path.parent, name), label, split))
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num}: {error}. Expected rows of path,label[,split].") from error
    if faults:
        more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise InputError(f"{path}: {'; '.join(faults[:5])}{more}. Mend these lines.")
    if not rows:
        raise InputError(f"{path}: has a header but no rows. Add a line path,label for each picture.")
    validation = _validation_is((row.split for row in rows), notes)
    rows = [replace(row, split=validation) if row.split == "validation" else row for row in rows]
    if any(row.split == "test" for row in rows):
        rows = [replace(row, split=row.split or "train") for row in rows]
    return _table(rows, str(path), notes)


def _listed_file(folder: Path, name: str) -> Path:
    """The file that a CSV in `folder` calls `name`, also where it was written on another system."""
    file = folder / os.path.expanduser(name)
    if (name.isascii() and "\\" not in name) or os.path.lexists(file):
        return file
    slashed = name.replace("\\", "/")
    for form in (slashed, unicodedata.normalize("NFC", slashed), unicodedata.normalize("NFD", slashed)):
        if os.path.lexists(folder / form):
            return folder / form
    return file
