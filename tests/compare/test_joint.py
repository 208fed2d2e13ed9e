"""Many networks in one pass: the numbers of each alone, decoded once, from the store where it has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from topwork.classifier import extract_for
from topwork.compare import joint as module
from topwork.compare.joint import Joint, add
from topwork.features.choose import Chosen, open_engine
from topwork.pictures.records import read_records

TINY = "timm:test_efficientnet"


@pytest.fixture
def networks(warm: Path) -> list[Chosen]:
    return [open_engine("lite0"), open_engine(TINY, "random"), open_engine("timm:mobilenetv3_small_050", "random")]


def test_the_rows_are_those_of_each_network_alone(
    painted: Path, networks: list[Chosen], monkeypatch: pytest.MonkeyPatch
) -> None:
    records = read_records(painted)
    decoded = []
    real = module.decode
    monkeypatch.setattr(module, "decode", lambda *a, **k: (decoded.append(1), real(*a, **k))[1])
    found = Joint()
    add(found, records.rows[:20], networks, False, lambda _: None)
    add(found, records.rows[20:], networks, False, lambda _: None)
    sizes = {one.spec.geometry for one in networks}
    assert len(decoded) == len(records) * len(sizes) and len(sizes) == 2, "lite0 and mobilenet share a decoded picture"
    assert found.computed == len(records) * 3 and [one.path for one in found.records] == records.paths
    for one, table in zip(networks, found.tables, strict=True):
        alone = extract_for(one.spec, one.engine, records, False).table
        np.testing.assert_array_equal(table.read(0, 99), alone.read(0, 99))


def test_what_the_store_has_is_not_made_again(painted: Path, networks: list[Chosen], tmp_path: Path) -> None:
    for file in [*painted.rglob("0?.png")]:  # pictures that no other test has put into the store
        place = tmp_path / "photos" / file.parent.name / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.open(file).transpose(Image.Transpose.ROTATE_180).save(place)
    count = len(read_records(tmp_path / "photos"))
    (tmp_path / "photos" / "red bars" / "empty.png").write_bytes(b"")
    records = read_records(tmp_path / "photos")
    first, second = Joint(), Joint()
    told: list[int] = []
    extract_for(networks[0].spec, networks[0].engine, records, True)
    add(first, records.rows, networks[:2], True, told.append)
    assert first.computed == count and told[-1] == count + 1
    add(second, records.rows, networks[:2], True, told.append)
    assert second.computed == 0
    assert [one["reason"] for one in second.broken] == ["EMPTY"] and len(second.records) == count
    for before, after in zip(first.tables, second.tables, strict=True):
        np.testing.assert_array_equal(before.read(0, 99), after.read(0, 99))
    assert len(first.extraction(records).likeness) == count
    first.without(0)
    assert len(first.tables) == 1
