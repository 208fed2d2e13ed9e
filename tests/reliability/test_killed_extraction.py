"""C1: kill -9 at any moment of an extraction loses at most one batch, and the next run is as if nothing had happened."""

from __future__ import annotations

import errno
import os
import random
import signal
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest
from faults import ToyEngine, Workers, extract_job, toy_extract, toy_spec

from conftest import PICTURES
from topwork.features.extract import Extraction, store_key
from topwork.features.store import BATCH_ROWS, Store


def blank(tmp_path: Path) -> Path:
    done = tmp_path / "done"
    done.write_bytes(bytes(16))
    return done


def number(done: Path, place: int = 0) -> int:
    return int.from_bytes(done.read_bytes()[place : place + 8], "little")


def assert_resumes(pictures: Path, store: Path, uninterrupted: Extraction, done: int) -> None:
    with Store(store_key(toy_spec(), ToyEngine()), "toy", store) as kept:
        there = len(kept)
    assert there >= done - BATCH_ROWS
    again = toy_extract(pictures, store)
    assert again.computed == PICTURES - there
    assert not again.warnings
    assert (again.sha256, again.likeness, again.sizes) == (
        uninterrupted.sha256,
        uninterrupted.likeness,
        uninterrupted.sizes,
    )
    np.testing.assert_array_equal(again.table.read(0, PICTURES), uninterrupted.table.read(0, PICTURES))
    assert toy_extract(pictures, store).computed == 0
    assert sqlite3.connect(store).execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert [path.name for path in store.parent.glob("*damaged*")] == []


@pytest.mark.parametrize("kills", [10, pytest.param(200, marks=pytest.mark.full)])
def test_killed_at_random_moments(
    tmp_path: Path, pictures: Path, uninterrupted: Extraction, workers: Workers, kills: int
) -> None:
    drawn = random.Random(kills)
    killed = 0
    for kill in range(kills):
        store, done = tmp_path / str(kill) / "s.sqlite", blank(tmp_path)
        process = workers.start(extract_job, pictures, store, done)
        enough = drawn.randrange(PICTURES)
        until = time.monotonic() + 60
        while number(done) < enough and time.monotonic() < until:
            time.sleep(0.0005)
        os.kill(process, signal.SIGKILL)
        killed += workers.wait(process) == -signal.SIGKILL
        assert_resumes(pictures, store, uninterrupted, number(done))
    assert killed >= kills * 0.9


def calls_of(workers: Workers, pictures: Path, store: Path, done: Path) -> int:
    assert workers.run(extract_job, pictures, store, done, 10**9, 0) == 0
    return number(done, 8)


@pytest.mark.parametrize("points", [14, pytest.param(10**6, marks=pytest.mark.full)])
def test_killed_at_each_write_and_sync(
    tmp_path: Path, pictures: Path, uninterrupted: Extraction, faulty_workers: Workers, points: int
) -> None:
    calls = calls_of(faulty_workers, pictures, tmp_path / "whole" / "s.sqlite", blank(tmp_path))
    assert calls > 20
    for nth in sorted({round(place) for place in np.linspace(1, calls, min(points, calls))}):
        for mode in (1, 2) if points > 100 else (1 + nth % 2,):  # before the call, or half-way through it
            store, done = tmp_path / f"{nth}-{mode}" / "s.sqlite", blank(tmp_path)
            assert faulty_workers.run(extract_job, pictures, store, done, nth, mode) == -signal.SIGKILL
            assert_resumes(pictures, store, uninterrupted, number(done))


@pytest.mark.parametrize("points", [10, pytest.param(10**6, marks=pytest.mark.full)])
def test_a_disk_that_fills_or_fails_at_each_write(
    tmp_path: Path, pictures: Path, uninterrupted: Extraction, faulty_workers: Workers, points: int
) -> None:
    """The features are all there, one warning says what is wrong, and what the store held before is still there."""
    before = toy_extract(pictures / "a", tmp_path / "old.sqlite")
    assert before.computed == PICTURES // 2
    (tmp_path / "whole").mkdir()
    kept = (tmp_path / "old.sqlite").read_bytes()
    (tmp_path / "whole" / "s.sqlite").write_bytes(kept)
    calls = calls_of(faulty_workers, pictures, tmp_path / "whole" / "s.sqlite", blank(tmp_path))
    told = 0
    for nth in sorted({round(place) for place in np.linspace(1, calls, min(points, calls))}):
        for fault in (errno.ENOSPC, errno.EIO) if points > 100 else ((errno.ENOSPC, errno.EIO)[nth % 2],):
            store, done = tmp_path / f"{nth}-{fault}" / "s.sqlite", blank(tmp_path)
            store.parent.mkdir()
            store.write_bytes(kept)
            ended = faulty_workers.run(extract_job, pictures, store, done, nth, fault)
            told += ended in (2, 6)
            assert ended in (2, 3, 6)  # 3: the call that failed was one that SQLite can do without, or makes when closing
            with Store(store_key(toy_spec(), ToyEngine()), "toy", store) as now:
                for sha, row in zip(before.sha256, before.table.read(0, PICTURES // 2), strict=True):
                    found = now.get(sha)
                    assert found is not None, (nth, fault)
                    np.testing.assert_array_equal(found.features, row)
            again = toy_extract(pictures, store)
            np.testing.assert_array_equal(again.table.read(0, PICTURES), uninterrupted.table.read(0, PICTURES))
            assert not again.warnings
    assert told
