"""Which network is picked: within the budget, not slower than need be, and with its reason."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from topwork.compare.choosing import Entry, choose, dominated
from topwork.compare.picker import split_name
from topwork.compare.probe import Probe
from topwork.compare.speed import Speed


def entry(name: str, wrong: int, milliseconds: float, megabytes: float = 10.0, pictures: int = 400) -> Entry:
    """A network that errs on the first `wrong` pictures."""
    labels = np.arange(pictures) % 2
    logits = np.eye(2, dtype=np.float32)[labels]
    logits[:wrong] = logits[:wrong, ::-1]
    speed = Speed(1000 / milliseconds, milliseconds, megabytes, None)
    return Entry(name, cast(Any, SimpleNamespace()), speed, Probe("last", 1.0, logits, labels), None, pictures)


BIG, FAST, SMALL = entry("big", 10, 50, 100), entry("fast", 13, 10, 20), entry("small", 90, 4, 5)


def test_of_those_that_cannot_be_told_apart_the_fastest() -> None:
    pick, reason = choose([BIG, FAST, SMALL], None, None)
    assert pick is FAST
    assert "fast: 96.8 %" in reason and "cannot tell the two apart" in reason and "5.0 times as fast" in reason


def test_the_best_where_it_is_surely_better() -> None:
    best = entry("best", 2, 50)
    pick, reason = choose([best, FAST, SMALL], None, None)
    assert pick is best and "differs from the next, fast" in reason


@pytest.mark.parametrize(("ms", "mb", "name"), [(20, None, "fast"), (5, None, "small"), (None, 6, "small"), (20, 30, "fast")])
def test_the_budget_is_kept(ms: float | None, mb: float | None, name: str) -> None:
    pick, reason = choose([BIG, FAST, SMALL], ms, mb)
    assert pick is not None and pick.name == name and "the budget" in reason


def test_a_budget_nothing_meets_names_the_nearest() -> None:
    pick, reason = choose([BIG, FAST, SMALL], 3, None)
    assert pick is None
    assert "within 3 ms" in reason and "nearest is small with 4.0 ms" in reason
    assert "nearest is small" in choose([BIG, FAST, SMALL], 1, 4)[1]


def test_only_what_no_budget_could_pick_is_dropped() -> None:
    slow_and_bad = entry("slow and bad", 90, 60, 120)
    alive = [BIG, FAST, SMALL, slow_and_bad]
    assert dominated(alive) == [slow_and_bad]
    assert slow_and_bad.dropped is not None and "big is better" in slow_and_bad.dropped
    assert all(one.dropped is None for one in (BIG, FAST, SMALL))


def test_equals_do_not_drop_each_other() -> None:
    assert dominated([entry("one", 20, 10), entry("other", 20, 10)]) == []


@pytest.mark.parametrize(
    ("name", "parts"),
    [("lite0", ("lite0", "pretrained")), ("timm:a=random", ("timm:a", "random")), ("lite0=w=1.pth", ("lite0", "w=1.pth"))],
)
def test_weights_stand_behind_the_name(name: str, parts: tuple[str, str]) -> None:
    assert split_name(name) == parts
