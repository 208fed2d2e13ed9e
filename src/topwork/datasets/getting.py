"""The whole way of a data set: fetched or given, unpacked, its broken files set aside, published as class folders in one step.

DIR/cat/0.jpg ...                         or DIR/train/BREED/..., DIR/test/BREED/...: what `topwork fit DIR` takes
DIR/dataset.json                          what it is, from where, its classes; says that DIR is whole
DIR/broken.csv                            what could not be decoded, and why
DIR/.topwork-broken/cat/666.jpg           those files; a hidden folder is never a class
DIR/README.md                             where it comes from, its licence
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from topwork import __version__
from topwork.datasets import cats_vs_dogs, pets
from topwork.datasets.catalogue import DataSet, find
from topwork.datasets.layout import Layout
from topwork.datasets.obtaining import Bar, Obtained, downloads, obtain, silent, to_come
from topwork.errors import InputError, StorageError
from topwork.pictures.decode import decode, read_bytes
from topwork.pictures.reasons import BadPicture
from topwork.runtime import cores, free_bytes, in_words, make_folder, publish_folder, storage_error, write_file

FACTS = "dataset.json"
BROKEN = ".topwork-broken"

_LAYOUTS: Mapping[str, Callable[[Mapping[str, Path], Path, bool, Bar], Layout]] = {
    "cats-vs-dogs": cats_vs_dogs.lay_out,
    "pets": pets.lay_out,
}

UNPACKED = 1.1
"""Bytes on disk for each byte of an archive of photos, which hardly shrink; a little more is wanted free."""


@dataclass(frozen=True)
class Got:
    """A data set that is on disk."""

    folder: Path
    facts: dict[str, Any]
    """What dataset.json says."""
    fresh: bool
    """Whether it was made now."""
    notes: list[str] = field(default_factory=list)
    """What a person should know."""


def get(
    name: str,
    folder: Path,
    given: Sequence[str] = (),
    binary: bool = False,
    *,
    keep: bool = False,
    offline: bool = False,
    bar: Bar = silent,
    catalogue: Mapping[str, DataSet] | None = None,
) -> Got:
    """Put the data set `name` into `folder` as class folders; where it is there already, nothing is done.

    given: files or addresses of its archives; what is missing is fetched. binary: cats and dogs in the place of breeds.
    keep: leave fetched archives in the cache. Raises UnknownName, InputError (the folder holds other things; an archive of
    something else), DownloadError, ArchiveError, StorageError; then the folder is as it was, and a next call goes on.
    """
    data_set = find(name, catalogue)
    folder = Path(os.path.abspath(folder))
    layout = "cats and dogs" if binary or data_set.classes == 2 else "breeds"
    if there := _already(data_set, folder, layout):
        return there
    _check_writable(folder)
    _check_room(data_set, folder, given)
    command = f"topwork data get {name} -o {folder}{' --binary' if binary else ''}"
    archives = obtain(data_set, given, bar, offline, command)
    with publish_folder(folder, round(UNPACKED * sum(one.size for one in archives.values()))) as temporary:
        found = _LAYOUTS[name]({key: one.path for key, one in archives.items()}, temporary, binary, bar)
        broken = set_broken_aside(temporary, found.paths, bar)
        facts = _facts(data_set, layout, archives, found, broken)
        write_file(temporary / FACTS, json.dumps(facts, indent=1, ensure_ascii=False).encode())
        write_file(temporary / "broken.csv", _table(broken).encode())
        write_file(temporary / "README.md", _readme(data_set, facts).encode())
        if hasattr(os, "sync"):
            os.sync()  # thousands of files: all at once, before they are seen
        _check_free(data_set, folder)  # somebody may have put something there meanwhile
    notes = [*found.notes, *_strangers(archives)]
    if not keep:
        for one in archives.values():
            if one.fetched:
                one.path.unlink(missing_ok=True)
        _remove_empty(downloads(data_set))
    return Got(folder, facts, True, notes)


def set_broken_aside(folder: Path, paths: Sequence[str], bar: Bar = silent) -> list[dict[str, str]]:
    """Move the files that cannot be decoded below BROKEN; returns path, reason and detail of each, in order."""

    def fault(path: str) -> BadPicture | None:
        try:
            decode(read_bytes(folder / path), path)
        except BadPicture as bad:
            return bad
        return None

    broken: list[dict[str, str]] = []
    with bar("checking", "pictures") as told, ThreadPoolExecutor(cores()) as pool:
        try:
            for done, (path, bad) in enumerate(zip(paths, pool.map(fault, paths), strict=True), 1):
                if bad is not None:
                    aside = folder / BROKEN / path
                    aside.parent.mkdir(parents=True, exist_ok=True)
                    os.rename(folder / path, aside)
                    broken.append({"path": path, "reason": str(bad.reason), "detail": bad.detail})
                if told is not None:
                    told(done, len(paths))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return broken


def _already(data_set: DataSet, folder: Path, layout: str) -> Got | None:
    """The finished data set at `folder`; None where there is room for it. Raises InputError where something else is."""
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        known = facts["kind"] == "topwork data set" and (facts["name"], facts["layout"]) == (data_set.name, layout)
        expected = int(facts["pictures"])
        told = f"holds {facts['name']} as {facts['layout']}"
    except (OSError, ValueError, KeyError, TypeError):
        _check_free(data_set, folder)
        return None
    if not known:
        raise InputError(f"{folder}: {told}. It is left as it is; choose another folder with -o.")
    inside = (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    there = sum(1 for place in inside for path in place.rglob("*") if path.is_file() and not path.name.startswith("."))
    notes = [] if there == expected else [f"{there:,} of its {expected:,} pictures are there; to get it anew, remove {folder}"]
    return Got(folder, facts, False, notes)


def _check_free(data_set: DataSet, folder: Path) -> None:
    """Raises InputError unless nothing or an empty folder is there."""
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder to put {data_set.name} into, found a file. Choose another name with -o.")
    foreign = next(iter(sorted(path.name for path in folder.iterdir())), None)
    if foreign is not None:
        raise InputError(
            f"{folder}: expected a new or an empty folder, found {foreign}. It is left as it is; choose another one with -o."
        )


def _check_writable(folder: Path) -> None:
    """Raises StorageError, before anything is fetched, where nothing can be put beside `folder`."""
    try:
        with tempfile.TemporaryFile(dir=make_folder(folder.parent)):  # leaves nothing behind, even when killed
            pass
    except OSError as error:
        raise storage_error(folder, error) from error


def _check_room(data_set: DataSet, folder: Path, given: Sequence[str]) -> None:
    """Raises StorageError, before anything is fetched, where a disk has no room for what will come."""
    needs: Counter[int] = Counter()
    places: dict[int, Path] = {}
    coming, here = to_come(data_set, given)
    for path, size in ((downloads(data_set), coming), (folder, round(UNPACKED * here))):
        disk = next(one for one in [path, *path.absolute().parents] if one.exists()).stat().st_dev
        needs[disk] += size
        places[disk] = path
    for disk, size in needs.items():
        room = free_bytes(places[disk])
        if room is not None and room < size:
            raise StorageError(
                f"{places[disk]}: {data_set.name} needs {in_words(size)} on this disk (the archive and the pictures), "
                f"{in_words(room)} are free. Make room, or choose another disk with -o or TOPWORK_CACHE."
            )


def _facts(
    data_set: DataSet, layout: str, archives: Mapping[str, Obtained], found: Layout, broken: list[dict[str, str]]
) -> dict[str, Any]:
    """What dataset.json says."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in sorted(found.species)}
    aside = {one["path"] for one in broken}
    for path in found.paths:
        if path not in aside:
            *split, label, _ = path.split("/")
            counts[label][split[0] if split else "pictures"] += 1
    splits = sorted({name for count in counts.values() for name in count if name != "pictures"}, reverse=True)
    return {
        "kind": "topwork data set",
        "name": data_set.name,
        "title": data_set.title,
        "layout": layout,
        "topwork": __version__,
        "pictures": sum(sum(count.values()) for count in counts.values()),
        "splits": {split: sum(count[split] for count in counts.values()) for split in splits},
        "classes": [{"name": name, "species": found.species[name], **count} for name, count in counts.items()],
        "broken": broken,
        "left_out": list(found.notes),
        "archives": [
            {
                "holds": key,
                "file": one.published.file if one.published else one.path.name,
                "sha256": one.sha256,
                "bytes": one.size,
                "published": one.published is not None,
                "address": one.address,
            }
            for key, one in archives.items()
        ],
        **{key: value for key, value in asdict(data_set).items() if key in ("licence", "citation", "homepage")},
    }


def _strangers(archives: Mapping[str, Obtained]) -> list[str]:
    return [
        f"{one.path.name}: its SHA-256 {one.sha256} is none of the published ones; it was taken because its layout is right"
        for one in archives.values()
        if one.published is None
    ]


def _table(broken: list[dict[str, str]]) -> str:
    """broken.csv; its columns are not those of a table of pictures, so that it is never taken for one."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(("file", "reason", "detail"))
    table.writerows((f"{BROKEN}/{one['path']}", one["reason"], one["detail"]) for one in broken)
    return out.getvalue()


def _readme(data_set: DataSet, facts: dict[str, Any]) -> str:
    """For people who find the folder."""
    splits = ", ".join(f"{count:,} in {split}/" for split, count in facts["splits"].items())
    counted = f"{facts['pictures']:,} pictures{f' ({splits})' if splits else ''}, {len(facts['classes'])} classes"
    return (
        f"# {data_set.title}\n\n{data_set.about[0].upper()}{data_set.about[1:]}: {counted}.\n\n"
        f"- From: {data_set.homepage}\n- Licence: {data_set.licence}\n- Cite: {data_set.citation}\n"
        f"- Broken as published: {len(facts['broken'])}, listed in broken.csv, kept in {BROKEN}/\n\n"
        f"Made by `topwork data get {data_set.name}`. What it is made of stands in {FACTS}.\n"
    )


def _remove_empty(folder: Path) -> None:
    """Remove a folder of the cache, and those in it, as far as they are empty."""
    for one in [*sorted(folder.glob("from-*")), folder]:
        with contextlib.suppress(OSError):
            one.rmdir()
