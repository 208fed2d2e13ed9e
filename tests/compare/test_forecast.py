"""The power law: found where there is one, honest where there is doubt."""

from __future__ import annotations

import numpy as np
import pytest

from topwork.compare.forecast import fit_power_law, next_goal

SIZES = np.array([30.0, 50.0, 83.0, 139.0, 231.0, 385.0])


def test_a_curve_without_noise_is_found() -> None:
    errors = 0.02 + 2.0 * SIZES**-0.6
    law = fit_power_law(SIZES, errors, np.eye(6) * 1e-10)
    middle, low, high = law.accuracy(1500)
    truth = 1 - 0.02 - 2.0 * 1500**-0.6
    assert low < truth < high
    assert middle == pytest.approx(truth, abs=0.01)
    needed, fewest, most = law.needed(truth)
    assert fewest < 1500 < most and needed == pytest.approx(1500, rel=0.5)


def test_what_no_number_of_pictures_reaches_is_infinite() -> None:
    law = fit_power_law(SIZES, 0.3 + 1e-3 * SIZES**-0.5, np.eye(6) * 1e-8)
    assert law.needed(0.99)[0] == np.inf
    assert law.accuracy(1e9)[0] < 0.99


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = []
    for trial in range(120):
        floor, exponent = rng.uniform(0, 0.04), rng.uniform(0.35, 0.9)
        truth = floor + 0.5 * (SIZES / 30) ** -exponent
        pictures = 400
        noise = np.diag(truth * (1 - truth) / pictures)
        law = fit_power_law(SIZES, truth + rng.standard_normal(6) * np.sqrt(np.diag(noise)), noise, seed=trial)
        _, low, high = law.accuracy(4 * SIZES[-1])
        held.append(low <= 1 - floor - 0.5 * (4 * SIZES[-1] / 30) ** -exponent <= high)
    assert np.mean(held) >= 0.9


def test_more_noise_means_more_doubt_and_a_seed_gives_the_same_again() -> None:
    errors = 0.02 + 2.0 * SIZES**-0.6
    wide, narrow = (fit_power_law(SIZES, errors, np.eye(6) * noise).accuracy(2000) for noise in (1e-3, 1e-7))
    assert wide[2] - wide[1] > 2 * (narrow[2] - narrow[1])
    assert fit_power_law(SIZES, errors, np.eye(6) * 1e-4, 3).accuracy(900) == fit_power_law(
        SIZES, errors, np.eye(6) * 1e-4, 3
    ).accuracy(900)


@pytest.mark.parametrize(("now", "goal"), [(0.3, 0.6), (0.8, 0.9), (0.905, 0.95), (0.992, 0.995), (0.99999, 0.9999)])
def test_the_goal_is_about_half_the_error(now: float, goal: float) -> None:
    assert next_goal(now) == pytest.approx(goal, abs=0.051)
