"""Temperatures and suspect labels on answers whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from topwork.heads.calibrate import calibrate, fit_temperature
from topwork.heads.metrics import log_loss, softmax
from topwork.heads.suspects import suspect_labels


def drawn(count: int, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels drawn from their own probabilities: calibrated by construction."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, classes)) * 2
    probs = softmax(logits).astype(np.float64)
    return logits, (probs.cumsum(1) > rng.random((count, 1))).argmax(1)


@pytest.mark.parametrize("factor", [0.2, 1.0, 7.0, 50.0])
def test_temperature_undoes_a_factor(factor: float) -> None:
    logits, labels = drawn(4000)
    assert fit_temperature(logits * factor, labels) == pytest.approx(factor, rel=0.06)


@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.integers(2, 5))
def test_temperature_is_finite_and_positive(seed: int, count: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, classes)) * 10.0 ** rng.integers(-3, 4)
    found = fit_temperature(logits, rng.integers(0, classes, count))
    assert np.isfinite(found)
    assert found > 0


def test_temperature_is_the_least_log_loss() -> None:
    logits, labels = drawn(3000, seed=3)
    found = fit_temperature(logits * 3, labels)
    for other in (found * 0.9, found * 1.1):
        assert log_loss(logits * 3, labels, found) < log_loss(logits * 3, labels, other)


def test_all_right_does_not_run_to_certainty() -> None:
    labels = np.arange(100) % 2
    logits = np.eye(2)[labels] * 30
    confidence = softmax(logits, fit_temperature(logits, labels)).max(1)
    np.testing.assert_allclose(confidence, 101 / 102, atol=1e-4)


def test_calibration_says_what_it_did() -> None:
    logits, labels = drawn(2000)
    found = calibrate(logits * 5, labels, np.arange(2000) % 5)
    assert found.calibrated
    assert found.error_before > 0.1 > 0.03 > found.error_after
    assert "2000 held-out pictures" in found.reason


def test_too_little_is_not_calibrated() -> None:
    logits, labels = drawn(20)
    few = calibrate(logits, labels, np.arange(20) % 5)
    assert not few.calibrated
    assert few.reason == "not calibrated: 20 pictures, need 50"
    labels = np.arange(100) % 2
    right = calibrate(np.eye(2)[labels] * 9, labels, np.arange(100) % 5)
    assert right.reason == "not calibrated: 0 wrong answers on held-out pictures, need 3"
    assert np.isfinite([right.temperature, right.error_before, right.error_after]).all()


def test_planted_flips_are_found() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, 1000)
    probs = softmax(np.eye(5)[truth] * 6 + rng.normal(size=(1000, 5)))
    given_labels = truth.copy()
    flipped = rng.permutation(1000)[:50]
    given_labels[flipped] = (truth[flipped] + rng.integers(1, 5, 50)) % 5
    found = suspect_labels(probs, given_labels)
    rows = {one.row for one in found}
    assert len(rows & set(flipped.tolist())) >= 0.95 * 50  # recall
    assert len(rows & set(flipped.tolist())) >= 0.9 * len(rows)  # precision
    assert all(one.given == given_labels[one.row] != one.suggested for one in found)
    assert [one.score for one in found] == sorted(one.score for one in found)


def test_suspects_by_hand() -> None:
    probs = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.1, 0.9], [0.85, 0.15]])
    labels = np.array([0, 0, 1, 1, 1])
    # Bars: class 0 (0.9 + 0.7) / 2 = 0.8, class 1 (0.8 + 0.9 + 0.15) / 3 = 0.617: only the last reaches another's.
    assert [(one.row, one.given, one.suggested) for one in suspect_labels(probs, labels)] == [(4, 1, 0)]


def test_an_empty_class_is_never_suggested() -> None:
    probs = np.array([[0.2, 0.1, 0.7], [0.1, 0.9, 0.0]])
    assert suspect_labels(probs, np.array([0, 1])) == []
