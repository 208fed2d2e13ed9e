from __future__ import annotations

from pathlib import Path

import numpy as np

from topwork.features.choose import open_engine
from topwork.features.extract import extract, store_key
from topwork.features.store import Store
from topwork.pictures.records import read_records


def test_folder_to_features_with_bad_files_and_a_store(drawn: Path) -> None:
    chosen = open_engine("lite0", engine="openvino")
    again = open_engine("lite0", engine="openvino")
    assert again.reason == chosen.reason
    good = extract(read_records(drawn), chosen.spec, chosen.engine)
    assert good.table.shape == (12, chosen.spec.width)
    (drawn / "red" / "0a.jpg").write_text("this is no picture")
    (drawn / "red" / "0b.jpg").write_bytes(b"")
    records = read_records(drawn)
    with Store(store_key(chosen.spec, chosen.engine)) as store:
        first = extract(records, chosen.spec, chosen.engine, store)
        second = extract(records, chosen.spec, again.engine, store)
    assert sorted(bad["reason"] for bad in first.broken) == ["EMPTY", "NOT_IMAGE"]
    assert (first.computed, second.computed) == (12, 0)
    for found in (first, second):
        np.testing.assert_array_equal(found.table.read(0, 12), good.table.read(0, 12))
    assert first.records.labels.tolist() == [0] * 6 + [1] * 6


def test_a_changed_engine_file_is_noticed(tmp_path: Path) -> None:
    chosen = open_engine("lite0", engine="openvino")
    weights = chosen.parts["model.bin"]
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(bytes(data))
    again = open_engine("lite0", engine="openvino")
    assert again.parts["model.bin"].read_bytes() != bytes(data)
