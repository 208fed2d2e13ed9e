"""C2, C3, C6: a bundle while its disk fills or fails, its writer is killed, its bytes flip, and its readers look on."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from faults import Workers, nth_call, save_job, saves_job, version_of, whole_version, write_toy

from topwork import runtime
from topwork.bundle import check_place, read_bundle, write_bundle
from topwork.errors import BundleError, InputError, StorageError
from topwork.runtime import publish_file, publish_folder

EXCHANGE = pytest.mark.parametrize("exchange", [True, False], ids=["exchange", "fallback"])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A user's folder with a picture and a bundle of version 1 in it."""
    folder = tmp_path / "home"
    (folder / "photos").mkdir(parents=True)
    (folder / "photos" / "1.jpg").write_bytes(b"picture")
    write_toy(folder / "pets.topwork", 1, parts(tmp_path))
    return folder


def parts(tmp_path: Path) -> Path:
    (tmp_path / "parts").mkdir(exist_ok=True)
    return tmp_path / "parts"


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@EXCHANGE
@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("old", [True, False], ids=["over an old one", "new"])
def test_a_disk_that_fills_or_fails_at_the_nth_call(home: Path, tmp_path: Path, exchange: bool, fault: int, old: bool) -> None:
    path = home / ("pets.topwork" if old else "new.topwork")
    before = listing(home)
    shutil.copytree(home, tmp_path / "copy", copy_function=shutil.copy2)
    write_toy(tmp_path / "x.topwork", 2, parts(tmp_path))  # makes the parts
    told, failed = "", 0
    for nth in range(1, 1000):
        try:
            with nth_call(nth, fault, exchange) as made:
                write_toy(path, 2, parts(tmp_path))
        except StorageError as error:
            told = str(error)
            failed += 1
            assert listing(home) == before, (nth, made[-1])
            assert sorted(file.name for file in home.iterdir()) == ["pets.topwork", "photos"], (nth, made[-1])
            assert str(path) in told and ".tmp" not in told
            if fault == errno.ENOSPC:
                assert "the disk is full" in told and "needed" in told and "free" in told, (nth, made[-1], told)
            continue
        # Nothing failed, or a call that there is another way for.
        assert whole_version(path) == 2
        assert sorted(file.name for file in home.iterdir()) == sorted({"pets.topwork", "photos", path.name})
        if len(made) < nth:
            break
        shutil.rmtree(home)
        shutil.copytree(tmp_path / "copy", home)
    assert failed > 20


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EIO])
def test_a_file_on_a_disk_that_fills_or_fails(tmp_path: Path, fault: int) -> None:
    path = tmp_path / "features.npz"
    publish_file(path, b"old" * 1000)
    new = b"new" * 1_000_000
    for nth in range(1, 100):
        with nth_call(nth, fault) as made:
            try:
                publish_file(path, new)
                break
            except StorageError as error:
                assert fault == errno.EIO or ("3.0 MB are needed" in str(error) and "free" in str(error))
        replaced = made.count("replace") and made[-1] != "replace"  # then only the folder could not be synced
        assert path.read_bytes() == (new if replaced else b"old" * 1000)
        assert [file.name for file in tmp_path.iterdir()] == ["features.npz"]
    assert nth > 5
    assert path.read_bytes() == new


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB, really."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if not sys.platform.startswith("linux") or os.geteuid() != 0 or mount is None:
        pytest.skip("needs Linux and root")
    if subprocess.run([mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_really_full_disk(small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = small_disk / "pets.topwork"
    write_toy(path, 1, parts(tmp_path))
    (small_disk / "filler").write_bytes(bytes(700_000))
    before = listing(small_disk)
    with pytest.raises(StorageError, match=r"disk is full: .* needed, .* free"):
        write_bundle(path, {}, {"weight": np.zeros(200_000, np.float32)}, {}, {})
    monkeypatch.setattr(runtime, "free_bytes", lambda path: None)  # room that others take meanwhile
    with pytest.raises(StorageError, match=r"disk is full: .* needed"):
        write_bundle(path, {}, {"weight": np.zeros(200_000, np.float32)}, {}, {})
    with pytest.raises(StorageError, match=r"disk is full: .* needed"):
        publish_file(small_disk / "filler", bytes(900_000))
    assert listing(small_disk) == before
    assert whole_version(path) == 1


@EXCHANGE
def test_killed_at_each_call_while_saving(home: Path, tmp_path: Path, workers: Workers, exchange: bool) -> None:
    path, version, killed = home / "pets.topwork", 1, 0
    for nth in range(1, 1000):
        ended = workers.run(save_job, path, parts(tmp_path), version + 1, nth, exchange)
        found = whole_version_as_readers_find_it(path)
        assert found in (version, version + 1), nth
        version = found
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
        killed += 1
    assert killed > 25
    write_toy(path, 5000, parts(tmp_path))
    assert whole_version(path) == 5000
    assert sorted(file.name for file in home.iterdir()) == ["pets.topwork", "photos"]


def whole_version_as_readers_find_it(path: Path) -> int:
    version = version_of(read_bundle(path))  # brings the old one back where the writer was killed between two steps
    assert whole_version(path) == version
    return version


@EXCHANGE
@pytest.mark.parametrize("kills", [25, pytest.param(200, marks=pytest.mark.full)])
def test_killed_at_random_moments_while_saving(
    home: Path, tmp_path: Path, workers: Workers, kills: int, exchange: bool
) -> None:
    path, drawn, version = home / "pets.topwork", random.Random(kills), 1
    for _ in range(kills):
        process = workers.start(saves_job, path, parts(tmp_path), version + 1, 1000, exchange)
        time.sleep(drawn.random() * 0.04)
        os.kill(process, signal.SIGKILL)
        assert workers.wait(process) == -signal.SIGKILL
        found = whole_version_as_readers_find_it(path)
        assert found >= version
        version = found
    assert version > kills / 2
    write_toy(path, 5000, parts(tmp_path))
    assert sorted(file.name for file in home.iterdir()) == ["pets.topwork", "photos"]


@EXCHANGE
@pytest.mark.parametrize("saves", [100, pytest.param(1000, marks=pytest.mark.full)])
def test_readers_look_on_while_a_writer_replaces(
    home: Path, tmp_path: Path, workers: Workers, saves: int, exchange: bool
) -> None:
    path = home / "pets.topwork"
    writer = workers.start(saves_job, path, parts(tmp_path), 2, saves, exchange)
    seen, last = set(), 1
    until = time.monotonic() + 120
    while last < saves + 1 and time.monotonic() < until:
        found = version_of(read_bundle(path))
        assert found >= last
        seen.add(found)
        last = found
    assert workers.wait(writer) == 0
    assert last == saves + 1
    assert len(seen) > 5


@EXCHANGE
def test_two_writers_at_once(home: Path, tmp_path: Path, workers: Workers, exchange: bool) -> None:
    path = home / "new.topwork"
    first = workers.start(saves_job, path, parts(tmp_path), 100, 15, exchange)
    second = workers.start(saves_job, path, parts(tmp_path), 200, 15, exchange)
    ends = workers.wait(first), workers.wait(second)
    assert ends == (0, 0)
    assert whole_version(path) in (114, 214)
    assert sorted(file.name for file in home.iterdir()) == ["new.topwork", "pets.topwork", "photos"]


@pytest.mark.parametrize("flips", [40, pytest.param(200, marks=pytest.mark.full)])
@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_a_flipped_byte_is_found_and_its_file_named(home: Path, engine: str, flips: int, tmp_path: Path) -> None:
    path = home / "pets.topwork"
    if engine == "torch":
        source = parts(tmp_path) / "1-backbone.safetensors"
        sources = {"backbone.safetensors": source}
        write_bundle(path, {"engine": {"name": "torch"}}, {"weight": np.ones(9)}, sources, {"splits.json": "{}"})
    names = sorted({"config.json", *json.loads((path / "config.json").read_text())["decides"]})
    if engine != "torch":
        names.remove("backbone.safetensors")
    drawn = random.Random(flips)
    for flip in range(flips):
        file = path / names[flip % len(names)]
        whole = file.read_bytes()
        place = drawn.randrange(len(whole))
        file.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << drawn.randrange(8))]) + whole[place + 1 :])
        try:
            read_bundle(path)
        except BundleError as error:
            assert file.name in str(error)
        else:
            assert file.name == "config.json"
            assert same_meaning(file.read_bytes(), whole)
        file.write_bytes(whole)
    read_bundle(path)
    for name in [name for name in names if name != "config.json"]:
        whole = (path / name).read_bytes()
        for data in (whole[:-1], whole + b"x", b"", None):
            (path / name).unlink()
            if data is not None:
                (path / name).write_bytes(data)
            with pytest.raises(BundleError, match=name):
                read_bundle(path)
            (path / name).write_bytes(whole)


def same_meaning(one: bytes, other: bytes) -> bool:
    """Whether two config.json say the same about answers: a flip may hit a space, or what only tells."""
    both = [json.loads(data) for data in (one, other)]
    for config in both:
        config.pop("tells", None)
    return both[0] == both[1]


def test_a_damaged_backbone_is_no_harm_until_it_is_copied(home: Path, tmp_path: Path) -> None:
    """With another engine than torch nothing reads it; its hash is looked at before it goes into another bundle."""
    path = home / "pets.topwork"
    whole = (path / "backbone.safetensors").read_bytes()
    (path / "backbone.safetensors").write_bytes(whole[:-1] + b"!")
    bundle = read_bundle(path)
    with pytest.raises(BundleError, match=r"pets\.topwork: backbone\.safetensors was changed"):
        write_bundle(home / "copy.topwork", {"engine": {"name": "openvino"}}, bundle.tensors, bundle.parts, {})
    assert not (home / "copy.topwork").exists()
    (path / "backbone.safetensors").write_bytes(whole[:-1])
    with pytest.raises(BundleError, match=r"backbone\.safetensors"):
        read_bundle(path)


@pytest.mark.parametrize("name", ["../outside.bin", "/etc/hostname", "notes.txt"])
def test_a_bundle_may_not_name_other_files(home: Path, name: str) -> None:
    path = home / "pets.topwork" / "config.json"
    (home / "outside.bin").write_bytes(b"x")
    config = json.loads(path.read_text())
    config["decides"][name] = hashlib.sha256(b"x").hexdigest()
    body = {key: value for key, value in config.items() if key not in ("sha256", "tells")}
    config["sha256"] = hashlib.sha256(json.dumps(body, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
    path.write_text(json.dumps(config))
    with pytest.raises(BundleError, match="names other files"):
        read_bundle(path.parent)


def test_a_pipe_or_a_link_is_no_part_of_a_bundle(home: Path) -> None:
    file = home / "pets.topwork" / "model.bin"
    shutil.move(file, home / "elsewhere")
    file.symlink_to(home / "elsewhere")
    with pytest.raises(BundleError, match=r"model\.bin"):
        read_bundle(file.parent)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(BundleError, match=r"model\.bin"):
        read_bundle(file.parent)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, '{"kind": "topwork bundle", "format": 1}', "\xff"])
def test_a_config_that_is_none(home: Path, text: str) -> None:
    (home / "pets.topwork" / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleError):
        read_bundle(home / "pets.topwork")


def test_files_of_the_user_are_never_replaced(home: Path, tmp_path: Path) -> None:
    before = listing(home)
    for place in (home, home / "photos", home / "photos" / "1.jpg"):
        with pytest.raises(InputError, match="exists and is no bundle"):
            write_toy(place, 2, parts(tmp_path))
    assert listing(home) == before
    (home / "pets.topwork" / "my notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"my notes\.txt"):
        check_place(home / "pets.topwork")


def test_a_link_to_a_bundle_stays_a_link(home: Path, tmp_path: Path) -> None:
    (tmp_path / "link.topwork").symlink_to(home / "pets.topwork")
    write_toy(tmp_path / "link.topwork", 2, parts(tmp_path))
    assert (tmp_path / "link.topwork").is_symlink()
    assert whole_version(home / "pets.topwork") == 2


@EXCHANGE
def test_a_folder_takes_the_place_of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool) -> None:
    if not exchange:
        monkeypatch.setattr(runtime, "_exchange", lambda first, second: False)
    path = tmp_path / "a[1] b"
    for text in ("one", "two", "three"):
        with publish_folder(path) as folder:
            (folder / text).write_text(text)
            assert path.exists() == (text != "one")
        assert [file.name for file in path.iterdir()] == [text]
    with pytest.raises(ValueError, match="mine"), publish_folder(path) as folder:
        (folder / "four").write_text("four")
        raise ValueError("mine")
    assert [file.name for file in tmp_path.iterdir()] == ["a[1] b"]
    assert [file.name for file in path.iterdir()] == ["three"]


def test_what_killed_writers_left_is_removed_and_a_living_writer_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a[1]"
    left = tmp_path / ".a[1].0123456789abcdef.tmp"
    left.mkdir()
    (left / "half").write_bytes(b"half")
    with publish_folder(path) as living:
        assert not left.exists()
        (living / "mine").write_text("1")
        other = threading.Thread(target=publish_empty, args=(path,))
        other.start()
        other.join()
        assert (living / "mine").exists()
    assert [file.name for file in path.iterdir()] == ["mine"]
    assert [file.name for file in tmp_path.iterdir()] == ["a[1]"]


def publish_empty(path: Path) -> None:
    with publish_folder(path):
        pass
