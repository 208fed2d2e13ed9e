"""A bundle that is replaced while it is loaded: what comes back is wholly the old or wholly the new one (promise C6)."""

from __future__ import annotations

import dataclasses
import itertools
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import topwork.classifier
from running import Cli
from topwork import Classifier
from topwork.errors import BundleError

pytestmark = pytest.mark.usefixtures("warm")


@pytest.fixture
def versions(bundle: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Two bundles that differ in all that is read: classes, facts, splits."""
    first = Classifier.load(bundle)
    classes = tuple(f"new {name}" for name in first.classes)
    second = dataclasses.replace(first, classes=classes, facts={**first.facts, "reasons": {}}, splits={"train": ["new"]})
    shutil.copytree(bundle, tmp_path / "old.topwork")
    second.save(tmp_path / "new.topwork")
    return tmp_path / "old.topwork", tmp_path / "new.topwork"


def replace_by(path: Path, source: Path) -> None:
    """Put a copy of `source` in the place of `path`, as a writer does."""
    from topwork.runtime import publish_folder

    with publish_folder(path) as folder:
        for file in source.iterdir():
            shutil.copyfile(file, folder / file.name)


def whole(found: Classifier) -> bool:
    """Whether a classifier is the new one; fails when it is a mixture."""
    new = found.classes[0].startswith("new ")
    assert (found.facts["reasons"] == {}) == (found.splits == {"train": ["new"]}) == new
    return new


def while_the_engine_opens(monkeypatch: pytest.MonkeyPatch, happens: Callable[[int], None]) -> list[int]:
    """Let something happen just before the engine opens its files; returns how often it did."""
    real, times = topwork.classifier.open_files, list[int]()

    def opening(*args: Any, **named: Any) -> Any:
        times.append(len(times))
        happens(times[-1])
        return real(*args, **named)

    monkeypatch.setattr(topwork.classifier, "open_files", opening)
    return times


def test_replaced_once(versions: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = versions
    path = tmp_path / "x.topwork"
    shutil.copytree(old, path)
    times = while_the_engine_opens(monkeypatch, lambda time: replace_by(path, new) if time == 0 else None)
    assert whole(Classifier.load(path)) and len(times) == 2
    assert whole(Classifier.load(path)) and len(times) == 3


def test_gone_for_a_moment(versions: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a system cannot exchange two folders: the engine finds no file, and that is no damage."""
    old, new = versions
    path = tmp_path / "x.topwork"
    shutil.copytree(old, path)

    def happens(time: int) -> None:
        if time == 0:
            shutil.rmtree(path)
            threading.Timer(0.01, lambda: os.rename(new, path)).start()

    while_the_engine_opens(monkeypatch, happens)
    assert whole(Classifier.load(path))


def test_replaced_again_and_again(versions: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.topwork"
    shutil.copytree(versions[0], path)
    times = while_the_engine_opens(monkeypatch, lambda time: replace_by(path, versions[1 - time % 2]))
    with pytest.raises(BundleError, match=r"is being replaced again and again\. Wait until its writer is done"):
        Classifier.load(path)
    assert len(times) == topwork.classifier.LOADS
    # Damage is no replacement: it is told at once.
    monkeypatch.undo()
    monkeypatch.setenv("TOPWORK_CACHE", str(tmp_path / "cache"))

    def damaged(time: int) -> None:
        raise RuntimeError("it is damaged")

    times = while_the_engine_opens(monkeypatch, damaged)  # whichever engine was chosen
    with pytest.raises(BundleError, match="cannot open its engine file: it is damaged"):
        Classifier.load(path)
    assert len(times) == 1


def test_a_writer_that_never_rests(versions: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "x.topwork"
    shutil.copytree(versions[0], path)
    ended = threading.Event()

    def write() -> None:
        pause = 0.02
        for time in itertools.count():
            replace_by(path, versions[time % 2])
            if ended.wait(pause):
                return
            pause *= 1.05  # on the slowest machine too a load fits in between at last

    writer = threading.Thread(target=write)
    writer.start()
    try:
        loaded = 0
        while loaded < 4:
            try:
                whole(Classifier.load(path))
                loaded += 1
            except BundleError as error:
                assert "again and again" in str(error)
    finally:
        ended.set()
        writer.join()
    assert whole(Classifier.load(path)) in (True, False)


def test_what_is_no_bundle(bundle: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every message says what to do."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "file").write_text("mine")
    configs = {"text": b"mine", "list": b"[1]", "other": b'{"kind": "x"}', "bytes": b"\xff", "deep": b"[" * 99_999}
    for name, config in configs.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_bytes(config)
    (tmp_path / "folder" / "config.json").mkdir(parents=True)
    said = {
        "none": "no such bundle. Make one: topwork fit photos/ -o none",
        "photos": "found a folder without config.json. Give the folder that fit wrote, or make one: topwork fit",
        "file": "which is a folder; found a file. Give the folder",
        "folder": "its config.json cannot be read: Is a directory. Give yourself the right to read it, or take a fresh copy",
        **dict.fromkeys(configs, "is none of a bundle: ! Take a fresh copy, or fit again"),
    }
    for name, words in said.items():
        done = cli("predict", name, tmp_path)
        assert done.code == 1 and "Errno" not in done.err and done.err.count("\n") == 1
        assert all(part in done.err for part in words.split("!")), done.err
