"""The archives of a data set: those that the user has, the others fetched from where they are published."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from topwork.datasets.archives import list_names
from topwork.datasets.catalogue import MIRROR, Archive, DataSet, Published
from topwork.download import Told, download
from topwork.errors import DownloadError, InputError
from topwork.runtime import cache_folder, in_words, sha256_file

Bar = Callable[[str, str], contextlib.AbstractContextManager[Told | None]]
"""Shows progress: called with what is done and its unit, yields what is called with the counts."""


@dataclass(frozen=True)
class Obtained:
    """An archive that is here now."""

    path: Path
    sha256: str
    size: int
    published: Published | None
    """Which published version its bytes are; None where they are none."""
    address: str | None
    """Where it was fetched from now."""
    fetched: bool
    """Whether it lies in the cache only for this."""


def silent(what: str, unit: str) -> contextlib.AbstractContextManager[Told | None]:
    """No progress shown."""
    return contextlib.nullcontext()


def obtain(data_set: DataSet, given: Sequence[str], bar: Bar, offline: bool, command: str) -> dict[str, Obtained]:
    """The archives by what they hold. given: files and addresses of archives, in any order; command: tells how to give them.

    Raises InputError (what was given is none of them), DownloadError, ArchiveError, StorageError.
    """
    here: dict[str, Obtained] = {}
    for source in given:
        one = _given(source, data_set, bar, offline)
        archive = _recognised(one, data_set)
        if archive.key in here:
            raise InputError(f"{source}: holds the {archive.key}, as {here[archive.key].path} does. Give each archive once.")
        here[archive.key] = one
    missing = [archive for archive in data_set.archives if archive.key not in here]
    for place, archive in enumerate(missing):
        here[archive.key] = _fetched(archive, data_set, bar, offline, _remedy(missing[place:], command))
    return here


def to_come(data_set: DataSet, given: Sequence[str]) -> tuple[int, int]:
    """(bytes that are still to be fetched, bytes of all archives), as far as that is known before."""
    fetched = [archive.versions[0] for archive in data_set.archives[len(given) :]]
    known = [Path(source).expanduser() for source in given]
    whole = sum(one.size for one in fetched) + sum(path.stat().st_size for path in known if path.is_file())
    missing = 0
    for one in fetched:
        places = [downloads(data_set) / name for name in (one.file, f"{one.file}.part")]
        missing += max(0, one.size - max((place.stat().st_size for place in places if place.is_file()), default=0))
    return missing, whole


def downloads(data_set: DataSet) -> Path:
    """Where archives are fetched to."""
    return cache_folder() / "downloads" / data_set.name


def _given(source: str, data_set: DataSet, bar: Bar, offline: bool) -> Obtained:
    """An archive that the user has, or has the address of."""
    if re.match(r"https?://", source):
        name = PurePosixPath(unquote(urlsplit(source).path)).name
        name = re.sub(r"[^\w.-]", "_", name) or "archive"
        place = downloads(data_set) / f"from-{hashlib.sha256(source.encode()).hexdigest()[:8]}" / name
        with bar(name, "bytes") as told:
            done = download(source, place, told=told, offline=offline, remedy="Bring the archive and give it with --from FILE.")
        return Obtained(place, done.sha256, done.size, _published(done.sha256, data_set), source, True)
    path = Path(source).expanduser()
    if path.is_dir():
        raise InputError(f"{source}: expected an archive, found a folder. Class folders need no get: topwork fit {source}")
    if not path.is_file():
        raise InputError(f"{source}: no such file. Expected {_expected(data_set)}, or the address of one.")
    try:
        sha256, size = sha256_file(path), path.stat().st_size
    except OSError as error:
        raise InputError(f"{source}: cannot be read: {error.strerror}. Expected {_expected(data_set)}.") from error
    return Obtained(path, sha256, size, _published(sha256, data_set), None, False)


def _published(sha256: str, data_set: DataSet) -> Published | None:
    versions = (version for archive in data_set.archives for version in archive.versions)
    return next((version for version in versions if version.sha256 == sha256), None)


def _expected(data_set: DataSet) -> str:
    return " or ".join(version.file for archive in data_set.archives for version in archive.versions)


def _recognised(one: Obtained, data_set: DataSet) -> Archive:
    """Which archive it is: by its bytes, else by the names in it."""
    for archive in data_set.archives:
        if one.published in archive.versions:
            return archive
    names = list_names(one.path)
    for archive in data_set.archives:
        if any(re.fullmatch(archive.holds, name) for name in names):
            return archive
    files = [name for name in names if not name.endswith("/")]
    holds = " or ".join(archive.example for archive in data_set.archives)
    raise InputError(
        f"{one.path}: is no archive of {data_set.name}: expected paths like {holds}, "
        f"found {', '.join(files[:3]) or 'no files'}. Expected {_expected(data_set)}."
    )


def _fetched(archive: Archive, data_set: DataSet, bar: Bar, offline: bool, remedy: str) -> Obtained:
    """The first published version that can be fetched. Raises DownloadError telling what to bring instead."""
    reasons = []
    mirror = os.environ.get(MIRROR, "").rstrip("/")
    for version in archive.versions:
        place = downloads(data_set) / version.file
        addresses = (f"{mirror}/{version.file}",) if mirror else version.addresses
        try:
            with bar(version.file, "bytes") as told:
                done = download(addresses, place, version.sha256, version.size, told, offline, remedy="")
        except DownloadError as error:
            reasons.append(str(error).strip())
            continue
        return Obtained(place, done.sha256, done.size, version, done.address, True)
    raise DownloadError(f"{' '.join(reasons)} {remedy}")


def _remedy(missing: Sequence[Archive], command: str) -> str:
    """What a person can do without a network, all of it at once."""
    bring = []
    for archive in missing:
        versions = [(f"{one.file} ({in_words(one.size)}, SHA-256 {one.sha256})", one.addresses) for one in archive.versions]
        bring.append(", or ".join(f"{what} from {' or '.join(where)}" for what, where in versions))
    return f"Without a network, bring {'; and '.join(bring)}; and give it: {command}{' --from FILE' * len(missing)}"
