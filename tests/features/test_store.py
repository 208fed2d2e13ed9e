from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

import numpy as np

from topwork.features.store import Row, Store, summary
from topwork.features.table import FeatureTable


def row(number: int) -> Row:
    sha = hashlib.sha256(str(number).encode()).hexdigest()
    return Row(sha, 10, 20, bytes(16), np.random.default_rng(number).random(300, np.float32))


def test_what_was_put_comes_back(tmp_path: Path) -> None:
    with Store("f", "note") as store:
        for number in range(100):
            store.put(row(number))
    with Store("f") as store, Store("other") as other:
        assert len(store) == 100
        np.testing.assert_array_equal(store.get(row(7).sha256).features, row(7).features)
        assert other.get(row(7).sha256) is None
    assert summary()[0]["rows"] == 100


def test_a_flipped_byte_is_a_miss_of_that_row_only(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    with Store("f", path=path) as store:
        for number in range(20):
            store.put(row(number))
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    whole = path.read_bytes()
    places = np.random.default_rng(0).integers(0, len(whole), 40)
    for place in places:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
        with Store("f", path=path) as store:
            for number in range(20):
                found = store.get(row(number).sha256)
                if found is not None:
                    np.testing.assert_array_equal(found.features, row(number).features)
                else:
                    store.put(row(number))
            store.flush()
            for number in range(20):
                assert store.get(row(number).sha256) is not None


def test_a_table_gives_the_same_rows_from_memory_and_from_a_file(monkeypatch) -> None:
    rows = np.random.default_rng(0).random((500, 30), np.float32)
    small = FeatureTable.of(rows)
    monkeypatch.setattr("topwork.features.table.MEMORY_LIMIT", 1000)
    large = FeatureTable(30)
    for start in range(0, 500, 7):
        large.append(rows[start : start + 7])
    for table in (small, large):
        assert table.shape == (500, 30)
        np.testing.assert_array_equal(table.read(13, 90), rows[13:90])
        np.testing.assert_array_equal(table.take(np.array([400, 3])), rows[[400, 3]])
        np.testing.assert_array_equal(np.concatenate([block for _, block in table.blocks()]), rows)
