"""topwork tricks from end to end, with few of the tricks, on drawn pictures and the real network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from running import Cli
from topwork.pictures.records import from_pairs
from topwork.tricks import experiment
from topwork.tricks.experiment import _some, variants


@pytest.mark.usefixtures("warm")
def test_it_writes_the_table_and_says_how_it_judged(
    painted: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [one for one in variants() if one.name in ("base recipe", "adamw", "zeros initialisation")]
    monkeypatch.setattr(experiment, "variants", lambda: few)
    monkeypatch.setattr(experiment, "BASE", replace(experiment.BASE, epochs=3))
    out = tmp_path / "tricks"
    done = cli("tricks", painted, "-o", out, "--seeds", 2, "--most", 40, "--json", "--quiet")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert json.loads((out / "tricks.json").read_text()) == found
    assert found["pictures"] == 40 and found["comparisons"] == 2 and len(found["results"]) == 3
    assert "40 of 48 pictures were used, as many of each class as can be" in done.err
    verdicts = {row["name"]: row for row in found["results"]}
    assert verdicts["base recipe"]["verdict"] == "base"
    assert verdicts["adamw"]["gain"] == 0 and verdicts["adamw"]["adjusted"] == 1  # the same as adam: no weight decays
    assert verdicts["adamw"]["verdict"] == "not clear"
    assert all(Path(file).is_file() for file in found["figures"])
    done = cli("tricks", painted, "-o", out, "--seeds", 2, "--most", 40, "--quiet")
    assert f"{found['verdict']} (paired t-tests over 2 seeds, p < 0.05 adjusted for 2 comparisons, Holm 1979)" in done.out


@pytest.mark.usefixtures("warm")
def test_an_interrupt_ends_it_without_a_table(painted: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "BASE", replace(experiment.BASE, epochs=2))
    learn = experiment.learn

    def ended(*given: Any, **how: Any) -> Any:
        state = learn(*given, **how)
        state.interrupted = True
        return state

    monkeypatch.setattr(experiment, "learn", ended)
    done = cli("tricks", painted, "-o", tmp_path / "tricks", "--seeds", 2, "--most", 40, "--quiet")
    assert done.code == 130 and not list((tmp_path / "tricks").glob("*"))


@pytest.mark.usefixtures("warm")
def test_a_class_of_copies_is_told(painted: Path, tmp_path: Path, cli: Cli) -> None:
    for name in ("red bars", "blue bars"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for place, file in enumerate(sorted((painted / name).iterdir())[:6]):
            source = file if name == "red bars" else sorted((painted / name).iterdir())[0]
            (tmp_path / "in" / name / f"{place}.png").write_bytes(source.read_bytes())
    done = cli("tricks", tmp_path / "in", "-o", tmp_path / "tricks", "--seeds", 2, "--quiet")
    assert done.code == 1 and "blue bars has 1 different pictures" in done.err


def test_of_more_pictures_each_class_gives_as_many_as_can_be() -> None:
    records = from_pairs(
        [(f"{name}{number}.png", name) for name, count in (("a", 100), ("b", 7), ("c", 50)) for number in range(count)]
    )
    some = _some(records, 47, 0)
    assert np.bincount(some.labels).tolist() == [20, 7, 20]
    assert [row for row in records if row in set(some.rows)] == list(some.rows)
    assert _some(records, 47, 0).rows == some.rows != _some(records, 47, 1).rows
    assert _some(records, 157, 0) is records
    assert np.bincount(_some(records, 1, 0).labels).tolist() == [5, 5, 5]
    assert _some(records, 47, 0).notes == ("47 of 157 pictures were used, as many of each class as can be",)
