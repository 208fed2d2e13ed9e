"""What is called clear: Student's t against scipy, Holm against the closed test that it is a short way for."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from topwork.tricks.verdicts import CLEAR, bound, holm, interval, paired, student

DIFFERENCES = np.array([0.0125, 0.0292, -0.0042, 0.0208, 0.0167])


@pytest.mark.parametrize("freedom", range(1, 31))
def test_students_t_is_that_of_scipy(freedom: int) -> None:
    for t in (0.0, 0.3, 1.0, -2.2, 4.7, 12.0, 150.0):
        assert student(t, freedom) == pytest.approx(2 * stats.t.sf(abs(t), freedom), abs=1e-14)
    assert student(math.inf, freedom) == pytest.approx(0, abs=1e-15)
    assert bound(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)


@pytest.mark.parametrize("n", [2, 3, 5, 12])
def test_the_paired_test_and_the_interval_are_those_of_scipy(n: int) -> None:
    rng = np.random.default_rng(n)
    first, second = rng.normal(0.8, 0.03, n), rng.normal(0.78, 0.03, n)
    expected = stats.ttest_rel(first, second)
    assert paired(first - second) == pytest.approx(expected.pvalue, abs=1e-13)
    assert interval(first - second) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_the_interval_leaves_zero_where_the_p_is_below_one_in_twenty() -> None:
    for shift in np.linspace(-0.03, 0.03, 61):
        low, high = interval(DIFFERENCES + shift, 1 / 240)
        assert (low > 0 or high < 0) == (paired(DIFFERENCES + shift, 1 / 240) < 0.05)


def test_seeds_that_agree_by_chance_are_no_certainty() -> None:
    same = np.full(2, 2 / 240)
    assert paired(same) == pytest.approx(0)
    assert paired(same, 1 / 240) > 0.05
    assert paired(np.zeros(5), 1 / 240) == 1
    assert paired(np.array([0.1])) == 1 and all(math.isnan(one) for one in interval(np.array([0.1])))


def test_holm_by_hand() -> None:
    # 4 x 0.005, 3 x 0.01, 2 x 0.03, and 0.04 that may not be below its smaller neighbour.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02] and holm([]) == []


def test_holm_is_the_closed_test_of_bonferronis() -> None:
    """A comparison's adjusted p is the largest Bonferroni p of all sets that hold it (Marcus 1976)."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        chances = [float(p) for p in rng.choice([rng.uniform(0, 0.05, 6), rng.uniform(0, 1, 6), np.full(6, 0.01)])]
        sets = [one for size in range(1, 7) for one in combinations(range(6), size)]
        closed = [max(min(1.0, len(one) * min(chances[i] for i in one)) for one in sets if index in one) for index in range(6)]
        assert holm(chances) == pytest.approx(closed)


def test_where_nothing_differs_hardly_anything_looks_clear() -> None:
    """Of 2,000 experiments with 30 comparisons each, without any difference, at most one in twenty finds one."""
    rng = np.random.default_rng(1)
    found = plain = 0
    for differences in rng.normal(0, 0.01, (2000, 30, 5)):
        chances = [paired(one) for one in differences]
        found += min(holm(chances)) < CLEAR
        plain += min(chances) < CLEAR
    assert found / 2000 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)
    assert plain / 2000 > 0.7
