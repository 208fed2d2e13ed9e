"""The learning curve: it rises, its parts are nested, its forecast holds, and it says who gains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clouds import Made, made

import topwork
from topwork.compare.gains import class_gains
from topwork.compare.learning import CurveSettings, learning_curve
from topwork.compare.reading import nested_order, sampled
from topwork.errors import InputError
from topwork.pictures.records import from_pairs


def test_more_pictures_are_better_and_every_point_has_its_interval(clouds: Made) -> None:
    table, labels, groups, views = clouds
    found = learning_curve(table, labels, groups, list("abcde"), views)
    assert found.view == "last"
    sizes, right = [one.per_class for one in found.points], [one.accuracy for one in found.points]
    assert sizes == sorted(sizes) and sizes[-1] == pytest.approx(32) and len(sizes) >= 5
    assert right[-1] > right[0] + 0.1
    assert all(one.low < one.accuracy < one.high for one in found.points)
    forecast = found.forecast
    assert forecast["now"]["accuracy"] <= forecast["twice"]["accuracy"]
    assert forecast["now"]["per_class"] == 40 and forecast["path"][-1]["per_class"] == 80
    assert found.to_config()["points"][0].keys() == {"per_class", "pictures", "accuracy", "low", "high"}


def test_the_forecast_from_a_quarter_holds_all() -> None:
    """Classes drawn from a known source, so that the truth at four times the pictures can be measured on many fresh ones."""
    inside = 0
    for seed in range(10):
        table, labels, groups, views = made(12, 6, 0.5, seed)
        found = learning_curve(
            table, labels, groups, list("abcdef"), views, CurveSettings(seed=seed), available=4 * len(labels)
        )
        whole = made(48, 6, 0.5, 1000 + seed)
        truth = learning_curve(*whole[:3], list("abcdef"), whole[3], CurveSettings(seed=seed)).forecast["now"]["accuracy"]
        inside += found.forecast["now"]["low"] <= truth <= found.forecast["now"]["high"]
    assert inside >= 8


def test_the_goal_decides_what_is_forecast(clouds: Made) -> None:
    table, labels, groups, views = clouds
    plain = learning_curve(table, labels, groups, list("abcde"), views)
    easy = learning_curve(table, labels, groups, list("abcde"), views, CurveSettings(goal=0.3))
    hard = learning_curve(table, labels, groups, list("abcde"), views, CurveSettings(goal=0.9999))
    assert easy.forecast["more_per_class"] == 0 and "reached already" in easy.reason
    assert "hardly" in hard.reason
    assert plain.forecast["goal"] > plain.forecast["now"]["accuracy"]
    assert learning_curve(table, labels, groups, list("abcde"), views) == replace(
        plain, seconds=pytest.approx(plain.seconds, abs=60)
    )


def test_parts_are_nested_and_keep_the_classes_in_proportion() -> None:
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    order = nested_order(labels, np.random.default_rng(0))
    assert sorted(order) == list(range(100))
    for size in (10, 20, 50, 100):
        assert np.abs(np.bincount(labels[order[:size]], minlength=3) - size * np.array([0.6, 0.3, 0.1])).max() <= 1


def test_classes_that_err_gain_and_classes_that_do_not_do_not() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 200)
    chance = np.array([[0.5, 0.9, 0.99], [0.6, 0.9, 0.99], [0.75, 0.9, 0.99]])
    right = np.stack([(rng.random(600) < row[labels]).astype(float) for row in chance])
    rows = class_gains(right, labels, ["slow", "flat", "done"], np.array([100.0, 200.0, 400.0]), 0.05)
    assert rows[0].label == "slow" and rows[0].low > 0
    assert all(rows[0].gain > 1.5 * abs(one.gain) for one in rows[1:])
    assert all(one.low <= one.gain <= one.high for one in rows)


def test_a_flat_curve_leaves_gains_in_doubt() -> None:
    labels = np.repeat(np.arange(2), 50)
    right = np.tile(np.where(np.arange(100) % 10, 1.0, 0.0), (3, 1))  # more pictures changed no answer
    for one in class_gains(right, labels, ["a", "b"], np.array([10.0, 20.0, 40.0]), 0.0):
        assert one.gain == 0 and one.low < 0 < one.high <= 1 - one.accuracy


def test_what_cannot_have_a_curve_is_said(painted: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "red").symlink_to(painted / "red bars")
    with pytest.raises(InputError, match="found 1 class"):
        topwork.curve(tmp_path / "one")
    with pytest.raises(InputError, match="found no class"):
        topwork.curve(painted / "red bars")


@pytest.mark.photos
@pytest.mark.full
@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("name", ["pets37", "eurosat"])
def test_on_photos_the_forecast_from_a_quarter_holds_all(photos: Path, name: str) -> None:
    from topwork.compare.reading import LookSettings, see
    from topwork.pictures.records import read_records

    seen = see(read_records(photos / name / "train"), LookSettings(most=5_000))
    table, labels, groups, views = seen.found.table, seen.labels, seen.groups, seen.chosen.spec.views
    truth = learning_curve(table, labels, groups, seen.classes, views).forecast["now"]["accuracy"]
    inside = 0
    for seed in range(10):
        some = np.sort(nested_order(labels, np.random.default_rng(500 + seed))[: len(labels) // 4])
        part = table.subset(some), labels[some], groups[some]
        forecast = learning_curve(*part, seen.classes, views, CurveSettings(seed=seed), len(labels)).forecast["now"]
        inside += forecast["low"] <= truth <= forecast["high"]
    assert inside >= 8


def test_a_sample_holds_some_of_every_class() -> None:
    pairs = [(Path(f"{place}.png"), "cat") for place in range(5000)] + [(Path(f"l{place}.png"), "lynx") for place in range(6)]
    some = sampled(from_pairs(pairs), 500, 0, least=4)
    assert len(some) == 500 and int((some.labels == 1).sum()) == 4
    many = [(Path(f"{place}.png"), str(place % 300)) for place in range(3000)]
    assert np.bincount(sampled(from_pairs(many), 100, 0, least=2).labels).tolist() == [2] * 300
