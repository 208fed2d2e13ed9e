"""The figures against scikit-learn and plain formulas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from topwork.heads import metrics


@given(st.integers(0, 500), st.integers(1, 500))
def test_wilson_solves_its_equation(right: int, count: int) -> None:
    right = min(right, count)
    low, high = metrics.wilson(right, count)
    share = right / count
    assert 0 <= low <= share <= high <= 1
    for bound in (low, high):
        if 0 < bound < 1:  # the share lies exactly z standard errors of the bound away from it
            assert abs(share - bound) == pytest.approx(metrics.Z95 * (bound * (1 - bound) / count) ** 0.5, abs=1e-9)


def test_wilson_known_values() -> None:
    assert metrics.wilson(0, 0) == (0.0, 1.0)
    assert metrics.wilson(0, 10)[0] == 0.0
    assert metrics.wilson(10, 10)[1] == 1.0
    assert metrics.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe 1998, table I


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(2, 5))
def test_calibration_error_by_hand(seed: int, count: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(classes), count)
    labels = rng.integers(0, classes, count)
    expected = 0.0
    confidence, right = probs.max(1), probs.argmax(1) == labels
    for i in range(15):
        inside = (confidence > i / 15) & (confidence <= (i + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert metrics.expected_calibration_error(probs, labels) == pytest.approx(expected, abs=1e-12)
    assert sum(row.count for row in metrics.reliability(probs, labels)) == count


def test_calibration_error_of_nothing_is_nothing() -> None:
    assert metrics.expected_calibration_error(np.zeros((0, 3)), np.zeros(0, np.int64)) == 0.0


def test_confusion_and_class_scores_as_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels, answers = rng.integers(0, 4, 200), rng.integers(0, 3, 200)  # class 3 is never answered
    matrix = metrics.confusion(labels, answers, 5)  # class 4 has no pictures
    np.testing.assert_array_equal(matrix, oracle.confusion_matrix(labels, answers, labels=range(5)))
    expected = oracle.precision_recall_fscore_support(labels, answers, labels=range(5), zero_division=0)
    found = metrics.per_class(matrix, list("abcde"))
    np.testing.assert_allclose([[s.precision, s.recall, s.f1, s.count] for s in found], np.array(expected).T)


def test_log_loss_as_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    logits, labels = rng.normal(size=(50, 4)) * 3, rng.integers(0, 4, 50)
    probs = np.exp(logits / 2) / np.exp(logits / 2).sum(1, keepdims=True)
    assert metrics.log_loss(logits, labels, 2.0) == pytest.approx(oracle.log_loss(labels, probs, labels=range(4)))
    np.testing.assert_allclose(metrics.softmax(logits, 2.0), probs, rtol=1e-5)


def test_log_loss_survives_huge_logits() -> None:
    logits = np.array([[1e6, 0.0], [0.0, 1e6]])
    assert metrics.log_loss(logits, np.array([0, 0])) == pytest.approx(5e5)
    assert np.isfinite(metrics.softmax(logits)).all()


@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(1, 6))
def test_auroc_as_scikit_learn_with_ties(seed: int, count: int, levels: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, count).astype(float)
    positive = np.arange(count) % 2 == 0
    assert metrics.auroc(scores, positive) == pytest.approx(oracle.roc_auc_score(positive, scores))


def test_auroc_of_one_side_is_nan() -> None:
    assert np.isnan(metrics.auroc(np.ones(3), np.ones(3, bool)))
