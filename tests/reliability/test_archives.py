"""No archive writes outside its folder, fills a disk or the memory, or is half-unpacked (promise A1)."""

from __future__ import annotations

import io
import os
import random
import re
import sys
import tarfile
import tracemalloc
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile_archives import LINK, OUTSIDE, Z, a_tar, a_zip, end64, gz, hostile_tars, hostile_zips, other_files, pax, t
from hypothesis import given, settings
from hypothesis import strategies as some

from topwork.datasets.archives import extract, list_names
from topwork.datasets.entries import Limits
from topwork.errors import ArchiveError, InputError, StorageError

LIMITS = Limits(count=3000, size=64 << 20, each=2 << 20)
KINDS: dict[str, Callable[[], dict[str, tuple[bytes, str]]]] = {"zip": hostile_zips, "tar": hostile_tars, "other": other_files}


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_archives(kind: str, tmp_path: Path) -> None:
    """Refused with the reason; nothing is written, neither inside nor outside."""
    hostile = KINDS[kind]()
    assert len(hostile) >= {"zip": 75, "tar": 150, "other": 11}[kind]
    place = tmp_path / "above" / "here"
    place.mkdir(parents=True)
    (place / "mine").write_text("mine")
    wrong = {}
    for name, (data, why) in hostile.items():
        archive = tmp_path / "archive"
        archive.write_bytes(data)
        try:
            extract(archive, place / "out", LIMITS)
            wrong[name] = "was unpacked"
        except ArchiveError as error:
            if why not in str(error) or not str(error).startswith(f"{archive}: cannot be trusted, nothing of it was kept: "):
                wrong[name] = str(error)
        assert tree(tmp_path) == {"above/here/mine": b"mine", "archive": data}, name
        assert [path.name for path in place.iterdir()] == ["mine"], name
        assert not any((Path(root) / OUTSIDE).exists() for root in ("/", os.getcwd())), name
    assert not wrong


def test_hostile_entries_that_are_not_wanted(tmp_path: Path) -> None:
    """What is passed over may be of any kind, but a name that is an attack never goes, and all that comes out counts."""

    def select(path: str) -> str | None:
        return "x" if path == "a/b.txt" else None

    links = [a_zip([Z("l", b"/etc", LINK), Z(), Z("CON", b"")]), a_tar(t("l", b"", b"2", b"/etc"), t(), t("d", b"", b"3"))]
    for number, data in enumerate(links):
        (tmp_path / "archive").write_bytes(data)
        assert extract(tmp_path / "archive", tmp_path / f"{number}", LIMITS, select) == ["x"]
    attacks = [
        a_zip([Z(), Z(f"../{OUTSIDE}")]),
        a_tar(t(), t(f"../{OUTSIDE}")),
        gz(a_tar(t("passed over", size=b"%o" % (60 << 20), data=b"")[:512] + bytes(60 << 20), t())),
    ]
    for data in attacks:
        (tmp_path / "archive").write_bytes(data)
        with pytest.raises(ArchiveError):
            extract(tmp_path / "archive", tmp_path / "out", LIMITS, select)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("target", ["../x", "/x", "a:b", "CON"])
def test_names_that_a_caller_chooses_are_checked_too(tmp_path: Path, target: str) -> None:
    (tmp_path / "archive").write_bytes(a_zip([Z()]))
    with pytest.raises(ArchiveError):
        extract(tmp_path / "archive", tmp_path / "out", LIMITS, lambda path: target)
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


FILES = {"a.txt": b"hello", "deep/er/b.bin": bytes(range(256)) * 2000, "empty": b"", "Caf\u00e9/\u732b.jpg": b"x" * 70_000}


def made_by_zipfile(**settings: int) -> bytes:
    """A zip of FILES, by the standard library."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **settings) as made:  # type: ignore[arg-type]
        made.comment = b"a comment"
        made.mkdir("an empty folder")
        for name, data in FILES.items():
            with made.open(name, "w", force_zip64=name == "a.txt") as file:
                file.write(data)
    return out.getvalue()


def streamed_zip() -> bytes:
    """As made into a pipe: sizes stand behind the content."""

    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: bytes) -> int:  # type: ignore[override]
            self.data += data
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as made:  # type: ignore[type-var]
        for name, data in FILES.items():
            made.writestr(name, data)
    return bytes(pipe.data)


def made_by_tarfile(format: int, mode: str) -> bytes:  # noqa: A002 - as the library calls it
    """A tar of FILES and of a long name, by the standard library."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=format) as made:  # type: ignore[call-overload]
        folder = tarfile.TarInfo("deep")
        folder.type = tarfile.DIRTYPE
        made.addfile(folder)
        for name, data in FILES.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            made.addfile(entry, io.BytesIO(data))
    return out.getvalue()


TRUE = [t(name, data) for name, data in FILES.items()]
GOOD = {
    "zip, stored": made_by_zipfile(),
    "zip, deflated": made_by_zipfile(compression=zipfile.ZIP_DEFLATED),
    "zip, streamed": streamed_zip(),
    "zip, 64-bit": a_zip([Z(name, data) for name, data in FILES.items()], end64=end64),
    "tar, ustar": made_by_tarfile(tarfile.USTAR_FORMAT, "w"),
    "tar, gnu": made_by_tarfile(tarfile.GNU_FORMAT, "w:gz"),
    "tar, pax": made_by_tarfile(tarfile.PAX_FORMAT, "w:gz"),
    "tar, old": a_tar(*[t(name, data, b"\0", magic=b"") for name, data in FILES.items()]),
    "tar, in members": gz(a_tar(*[t(n, d) for n, d in FILES.items()])[:900])
    + gz(a_tar(*[t(n, d) for n, d in FILES.items()])[900:]),
    "tar, padded": gz(a_tar(*[t(name, data) for name, data in FILES.items()], end=bytes(10240))) + bytes(100),
    "tar, pax for all": a_tar(pax(b"g", comment="x"), *[t(name, data) for name, data in FILES.items()]),
}


@pytest.mark.parametrize("kind", GOOD)
def test_good_archives(kind: str, tmp_path: Path) -> None:
    archive, told = tmp_path / "archive", list[tuple[int, int]]()
    archive.write_bytes(GOOD[kind])
    (tmp_path / "out").mkdir()  # an empty folder may be there
    written = extract(archive, tmp_path / "out", LIMITS, told=lambda *counts: told.append(counts))
    assert tree(tmp_path / "out") == FILES and sorted(written) == sorted(FILES)
    assert told[-1][0] <= told[-1][1] == len(GOOD[kind])
    assert {name.rstrip("/") for name in list_names(archive)} >= set(FILES)
    assert extract(archive, tmp_path / "one", LIMITS, lambda path: "1" if path == "a.txt" else None) == ["1"]
    assert tree(tmp_path / "one") == {"1": b"hello"}
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_symlink() and not (path.is_file() and os.access(path, os.X_OK))


@pytest.mark.parametrize("kind", ["zip, deflated", "zip, 64-bit", "tar, ustar", "tar, pax"])
@pytest.mark.parametrize("count", [150, pytest.param(3000, marks=pytest.mark.full)])
def test_damaged_archives(kind: str, count: int, tmp_path: Path) -> None:
    """Flipped, cut and shuffled bytes: refused, or the content is right; never another error, never half of it."""
    rng, archive, out = random.Random(kind), tmp_path / "archive", tmp_path / "out"
    refused = 0
    for number in range(count):
        data = bytearray(GOOD[kind])
        if number % 3 == 0:
            del data[rng.randrange(len(data)) :]
        for _ in range(rng.randrange(1, 4) if number % 3 else 0):
            at = rng.randrange(len(data)) if rng.random() < 0.3 else rng.choice(_marked(data))
            data[at] = rng.randrange(256)
        archive.write_bytes(data)
        try:
            extract(archive, out, LIMITS)
        except ArchiveError:
            refused += 1
            assert [path.name for path in tmp_path.iterdir()] == ["archive"]
            continue
        found = tree(out)
        if "zip" in kind or "pax" in kind:  # these have checksums over the content
            assert sorted(found.values()) == sorted(FILES.values()) or len(found) < len(FILES)
        for path in sorted(out.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        out.rmdir()
    assert refused > count // 3


def _marked(data: bytearray) -> list[int]:
    """Places in headers: they matter most."""
    starts = [match.start() for match in re.finditer(rb"PK|ustar", data)]
    return [min(len(data) - 1, at + more) for at in starts or [0] for more in range(0, 46)]


names = some.text(some.characters(blacklist_categories=["Cs"]), min_size=1, max_size=12) | some.sampled_from(
    ["..", ".", "/", "a", "A", "con", "x\\y", "../../x", "C:", "~", "a/b/c", "\u212a", "k", "\u1e9e", "ss"]
)


@settings(max_examples=150, deadline=None)
@given(some.lists(some.lists(names, min_size=1, max_size=4).map("/".join), min_size=1, max_size=6), some.booleans())
def test_any_names(tmp_path_factory: pytest.TempPathFactory, paths: list[str], packed: bool) -> None:
    """Whatever the entries are called: all of them lie below the folder under their own names, or none is written."""
    place = tmp_path_factory.mktemp("names")
    archive = place / "archive"
    archive.write_bytes(
        a_tar(*[pax(path=path) + t("x", path.encode()) for path in paths])
        if packed
        else a_zip([Z(path, path.encode()) for path in paths])
    )
    try:
        written = extract(archive, place / "out", LIMITS)
    except ArchiveError:
        assert [path.name for path in place.iterdir()] == ["archive"]
        return
    found = tree(place / "out")
    assert sorted(found) == sorted(written)
    meant = ["/".join(part for part in path.split("/") if part not in ("", ".")) for path in paths if path[-1] != "/"]
    assert {unicodedata.normalize("NFC", path) for path in meant} == set(found)


def test_memory_is_flat(tmp_path: Path) -> None:
    """100 MB of zeros come out of 100 kB: where that is allowed it costs no memory."""
    limits = Limits(ratio=10_000)
    zeros = bytes(100_000_000)
    for kind, data in {"zip": a_zip([Z(data=zeros)]), "tar.gz": gz(a_tar(t(data=zeros)))}.items():
        (tmp_path / kind).write_bytes(data)
        tracemalloc.start()
        extract(tmp_path / kind, tmp_path / f"{kind} out", limits)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (tmp_path / f"{kind} out" / "a" / "b.txt").stat().st_size == len(zeros) and peak < 4 << 20


def test_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(GOOD["zip, stored"])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    for taken in (tmp_path / "mine", tmp_path / "mine" / "file"):
        with pytest.raises(InputError, match="expected a new or an empty folder"):
            extract(archive, taken)
    assert tree(tmp_path / "mine") == {"file": b"mine"}
    with pytest.raises(ArchiveError, match="cannot read it: No such file"):
        extract(tmp_path / "none.zip", tmp_path / "out")
    with pytest.raises(ArchiveError, match="cannot read it"):
        list_names(tmp_path)
    (tmp_path / "broken").write_bytes(b"PK\3\4")
    with pytest.raises(ArchiveError, match="cannot be trusted"):
        list_names(tmp_path / "broken")
    monkeypatch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(StorageError, match="the disk is full"):
        extract(archive, tmp_path / "out")
    monkeypatch.undo()
    assert not (tmp_path / "out").exists() and len(list(tmp_path.iterdir())) == 3


def test_only_the_folder_is_written_to(tmp_path: Path) -> None:
    """Every file that is opened for writing, made, renamed or removed lies beside the archive or below it."""
    touched: list[str] = []
    watching = True

    def hook(event: str, args: tuple[object, ...]) -> None:
        if not watching:
            return
        writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes or event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.chmod"):
            touched.append(os.fsdecode(args[0]))  # type: ignore[arg-type]

    good, hostile = tmp_path / "good", tmp_path / "hostile"
    good.write_bytes(GOOD["tar, pax"])
    sys.addaudithook(hook)
    try:
        extract(good, tmp_path / "out", LIMITS)
        for data, _ in [*hostile_zips().values(), *hostile_tars().values()][::7]:
            hostile.write_bytes(data)
            with pytest.raises(ArchiveError):
                extract(hostile, tmp_path / "other", LIMITS)
    finally:
        watching = False
    places = {path for path in touched if os.path.isabs(path)}
    assert len(places) > 10 and all(Path(path).is_relative_to(tmp_path) for path in places)
