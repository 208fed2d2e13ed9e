"""A table beyond memory gives every thread the rows it asked for."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from topwork.errors import StorageError
from topwork.features import table as tables
from topwork.features.table import FeatureTable


def test_threads_share_a_table_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MEMORY_LIMIT", 0)
    rows = np.arange(2000, dtype=np.float32)[:, None] * np.ones((1, 64), np.float32)
    table = FeatureTable.of(rows)

    def right(seed: int) -> bool:
        wanted = np.random.default_rng(seed).integers(0, len(rows), 500)
        return bool((table.take(wanted) == rows[wanted]).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(right, range(32)))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
def test_a_full_disk_is_told_by_the_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MEMORY_LIMIT", 0)
    with Path("/dev/full").open("r+b", buffering=0) as full:
        monkeypatch.setattr(tempfile, "TemporaryFile", lambda **how: full)
        with pytest.raises(StorageError, match="the disk is full"):
            FeatureTable.of(np.ones((1, 8), np.float32))
