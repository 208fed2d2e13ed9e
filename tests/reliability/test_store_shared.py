"""C3, C4, C5: a store with flipped bytes, with many users, on a full disk; and what its key depends on."""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from faults import ToyEngine, Workers, share_job, toy_row, toy_spec

import topwork.features.extract
import topwork.zoo.spec
from topwork.features.extract import extract, store_key
from topwork.features.store import Store
from topwork.pictures.decode import Geometry
from topwork.pictures.records import list_pictures, read_records

ROWS = 200


@pytest.fixture(scope="module")
def full_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed store of 200 rows."""
    path = tmp_path_factory.mktemp("store") / "s.sqlite"
    with Store("f", "note", path) as store:
        for number in range(ROWS):
            store.put(toy_row(number))
    return path


def missing(store: Store, rows: int = ROWS) -> list[int]:
    """Rows that are not there; fails when one that is there is wrong."""
    lost = []
    for number in range(rows):
        found, wanted = store.get(toy_row(number).sha256), toy_row(number)
        if found is None:
            lost.append(number)
        else:
            np.testing.assert_array_equal(found.features, wanted.features)
            assert (found.width, found.height, found.likeness) == (wanted.width, wanted.height, wanted.likeness)
    return lost


@pytest.mark.parametrize("flips", [40, pytest.param(200, marks=pytest.mark.full)])
def test_a_flipped_byte_of_a_row_costs_that_row(tmp_path: Path, full_store: Path, flips: int) -> None:
    whole = full_store.read_bytes()
    drawn = random.Random(flips)
    for flip in range(flips):
        number = drawn.randrange(ROWS)
        piece = toy_row(number).features.tobytes()[:400]  # what lies on one page with the row's beginning
        place = whole.index(piece[100:300]) + drawn.randrange(200)
        path = tmp_path / f"{flip}.sqlite"
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << drawn.randrange(8))]) + whole[place + 1 :])
        with Store("f", path=path) as store:
            assert missing(store) == [number]
            store.put(toy_row(number))
            store.flush()
            assert missing(store) == []
            assert store.warning is None
        assert list(tmp_path.glob("*.damaged-*")) == []
        path.unlink()


@pytest.mark.parametrize("flips", [40, pytest.param(400, marks=pytest.mark.full)])
def test_a_flipped_byte_anywhere_is_mended(tmp_path: Path, full_store: Path, flips: int) -> None:
    """Half of the flips hit the first bytes of a page, where the file's own order is kept."""
    whole = full_store.read_bytes()
    drawn = random.Random(flips)
    costs = []
    for flip in range(flips):
        place = drawn.randrange(len(whole))
        if flip % 2:
            place = place // 4096 * 4096 + drawn.randrange(60)
        path = tmp_path / f"{flip}.sqlite"
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << drawn.randrange(8))]) + whole[place + 1 :])
        with Store("f", path=path) as store:
            lost = missing(store)
            for number in lost:
                store.put(toy_row(number))
            store.flush()
            assert store.warning is None
            more = missing(store)  # of a page that turned out to be damaged when it was written
            for number in more:
                store.put(toy_row(number))
            store.flush()
            assert missing(store) == [], place
            costs.append(len({*lost, *more}))
        path.unlink()
    assert sorted(costs)[int(0.75 * flips)] <= 4
    assert sum(cost > 16 for cost in costs) <= 0.1 * flips  # the file's header, or a page that leads to many rows


def test_a_store_that_is_rubbish_or_cut_is_begun_anew(tmp_path: Path, full_store: Path) -> None:
    whole = full_store.read_bytes()
    for name, data in {
        "rubbish": b"rubbish " * 1000,
        "empty": b"",
        "half": whole[: len(whole) // 2],
        "head": whole[:5000],
    }.items():
        path = tmp_path / name
        path.write_bytes(data)
        with Store("f", path=path) as store:
            for number in missing(store):
                store.put(toy_row(number))
            store.flush()
            for number in missing(store):
                store.put(toy_row(number))
            store.flush()
            assert (missing(store), store.warning) == ([], None), name


def test_a_full_disk_keeps_what_was_there(tmp_path: Path, full_store: Path) -> None:
    path = tmp_path / "s.sqlite"
    shutil.copyfile(full_store, path)
    with Store("f", path=path) as store:
        pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
        store._connection.execute(f"PRAGMA max_page_count = {pages + 3}")
        for number in range(ROWS, ROWS + 200):
            store.put(toy_row(number))
        store.flush()
        assert store.warning is not None
        assert "disk is full" in store.warning and "needed" in store.warning and "free" in store.warning
        assert missing(store) == []
    with Store("f", path=path) as store:
        assert missing(store) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    from topwork.errors import StorageError

    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    with pytest.raises(StorageError, match="can be written"):
        Store("f", path=folder / "s.sqlite")


@pytest.mark.parametrize(("processes", "rounds"), [(4, 8), pytest.param(8, 50, marks=pytest.mark.full)])
def test_many_processes_share_one_store(tmp_path: Path, workers: Workers, processes: int, rounds: int) -> None:
    path = tmp_path / "s.sqlite"
    drawn = random.Random(rounds)
    rows = 120
    for turn in range(rounds):
        started = [workers.start(share_job, path, turn * 100 + one, rows) for one in range(processes)]
        time.sleep(drawn.random() * 0.15)
        killed = drawn.sample(started, processes // 2)
        for process in killed:
            os.kill(process, signal.SIGKILL)
        ends = {process: workers.wait(process) for process in started}
        assert all(ends[process] == 0 for process in started if process not in killed), ends
        with Store("shared", path=path) as store:
            assert missing(store, rows) == []
            store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            assert store._connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            if turn % 3 == 2:  # something to write again
                store._connection.execute("DELETE FROM rows WHERE width % 2")
        if turn % 4 == 3:
            path.unlink()
    assert list(tmp_path.glob("*damaged*")) == []


def test_the_key_depends_on_all_that_changes_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, engine = toy_spec(), ToyEngine()
    plain = store_key(spec, engine)
    keys = {plain, store_key(spec, engine, mirrored=True)}
    count = 2
    for field in dataclasses.fields(spec):
        value = getattr(spec, field.name)
        others = [value + 1] if isinstance(value, int) else [f"{value}!"]
        if isinstance(value, Geometry):
            others = [Geometry(33), Geometry(32, 0.9), Geometry(32, interpolation="bilinear"), Geometry(32, mode="squash")]
        if isinstance(value, tuple):
            others = [(("s", 3),), (("s", 4),), (("t", 3),)] if field.name == "stages" else [(0.5, 0.5, 0.4), (0.4, 0.5, 0.5)]
        for other in others:
            key = store_key(dataclasses.replace(spec, **{field.name: other}), engine)
            if field.name in (
                "id",
                "licence",
                "weights",
                "parameters",
                "multiply_adds",
                "classes",
                "label_set",
            ):  # words about it, no part of it
                assert key == plain
                continue
            keys.add(key)
            count += 1
            assert len(keys) == count, (field.name, other)
    other_engine = ToyEngine()
    other_engine.precision = "bf16"
    keys.add(store_key(spec, other_engine))
    monkeypatch.setattr(topwork.zoo.spec, "DECODER_VERSION", 99)
    keys.add(store_key(spec, engine))
    monkeypatch.undo()
    monkeypatch.setattr(topwork.features.extract, "LIKENESS_VERSION", 99)
    keys.add(store_key(spec, engine))
    monkeypatch.undo()
    assert len(keys) == count + 3
    assert store_key(toy_spec(), ToyEngine()) == plain


def test_another_key_is_a_miss_and_another_name_is_a_hit(tmp_path: Path, pictures: Path) -> None:
    folder = tmp_path / "moved"
    shutil.copytree(pictures, folder)
    path = tmp_path / "s.sqlite"
    spec, engine = toy_spec(), ToyEngine()

    def computed(changed: object = spec) -> int:
        with Store(store_key(changed, engine), path=path) as store:  # type: ignore[arg-type]
            return extract(read_records(folder), changed, engine, store).computed  # type: ignore[arg-type]

    with Store(store_key(spec, engine), path=path) as store:
        extract(list_pictures([pictures]), spec, engine, store)
    assert computed() == 0  # moved, and with labels
    for number, file in enumerate(sorted(folder.rglob("*.png"))):
        os.utime(file, (number, number))
        file.rename(file.with_name(f"renamed-{number}.png"))
    (folder / "a").rename(folder / "another label")
    assert computed() == 0
    changed = next(folder.rglob("*.png"))
    changed.write_bytes(changed.read_bytes() + b"x")
    assert computed() == 1
    assert computed(dataclasses.replace(spec, weights_sha256="other")) == len(list(folder.rglob("*.png")))
