"""The quick probe, and the tests of a difference on the same pictures."""

from __future__ import annotations

import numpy as np
import pytest
from clouds import Made, made
from scipy.stats import binomtest

from topwork.compare.probe import best_of, mcnemar, mean_gain, probes
from topwork.heads.metrics import log_loss


def test_it_finds_the_view_that_knows_and_is_fair(clouds: Made) -> None:
    table, labels, groups, views = clouds
    found = probes(table, labels, groups, 5, views)
    assert best_of(found).view == "last"
    assert found["stages"].accuracy < 0.35 < 0.5 < found["last"].accuracy
    low, high = found["last"].interval
    assert low < found["last"].accuracy < high
    assert found["last"].losses.mean() == pytest.approx(log_loss(found["last"].logits, labels), rel=1e-5)


def test_labels_that_mean_nothing_are_answered_by_chance() -> None:
    table, labels, groups, views = made(40, 4, 0.0)
    assert best_of(probes(table, labels, groups, 4, views)).accuracy < 0.37


def test_copies_never_stand_on_both_sides() -> None:
    """Every picture twice, with labels that mean nothing: only who sees the copy can answer."""
    table, labels, _, views = made(20, 4, 0.0, width=300)
    rows = np.tile(np.arange(len(labels)), 2)
    twice = table.subset(rows)
    apart = best_of(probes(twice, labels[rows], rows, 4, views))
    leaked = best_of(probes(twice, labels[rows], np.arange(len(rows)), 4, views))
    assert apart.accuracy < 0.4 < 0.7 < leaked.accuracy


@pytest.mark.parametrize(("first", "second"), [(0, 0), (3, 0), (5, 1), (12, 9), (40, 20), (300, 250)])
def test_mcnemar_equals_the_binomial_test(first: int, second: int) -> None:
    one = np.array([True] * first + [False] * second + [True] * 7)
    other = np.array([False] * first + [True] * second + [True] * 7)
    true = binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar(one, other) == pytest.approx(true, rel=1e-9)


def test_a_gain_has_an_interval_that_holds_it() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        first = rng.random(300) < 0.8
        second = np.where(rng.random(300) < 0.1, rng.random(300) < 0.9, first)
        _, low, high = mean_gain(first, second)
        held += low <= 0.1 * (0.9 - 0.8) <= high
    assert held >= 180
