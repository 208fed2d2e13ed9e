"""Logistic regression and the discriminant against scikit-learn, and block by block against in memory."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from synthetic import clustered

from topwork.features import table as tables
from topwork.features.table import FeatureTable
from topwork.heads import designs
from topwork.heads.designs import Design, design, transformed
from topwork.heads.discriminant import Discriminant
from topwork.heads.linear import Job, Logistic
from topwork.heads.recipes import class_weights
from topwork.pictures.splits import grouped_folds


def made(pictures: int = 240, width: int = 30, classes: int = 4, apart: float = 0.4) -> tuple[Design, np.ndarray]:
    features, labels = clustered(pictures, width, classes, apart=apart)
    return design(FeatureTable.of(features), np.arange(width), "none"), labels


def test_design_is_standardised_and_dead_columns_are_zero() -> None:
    features, _ = clustered(50, 8, 2)
    features[:, 3] = 0.1  # constant, and not exact in binary
    data = design(FeatureTable.of(features), np.array([1, 3, 5]), "sqrt")
    block = next(data.blocks())[1]
    np.testing.assert_allclose(block[:, :-1].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(block[:, :-1].std(0), [1, 0, 1], atol=1e-5)
    assert (block[:, -1] == 1).all()


def test_transforms() -> None:
    features = np.array([[4.0, -9.0, 0.0]], np.float32)
    np.testing.assert_array_equal(transformed(features, "sqrt"), [[2, -3, 0]])
    np.testing.assert_allclose(np.linalg.norm(transformed(features, "unit"), axis=1), 1)
    np.testing.assert_array_equal(transformed(features, "none"), features)
    assert not np.isnan(transformed(np.zeros((1, 3), np.float32), "unit")).any()


@pytest.mark.parametrize("strength", [1.0, 30.0])
@pytest.mark.parametrize("classes", [2, 4])
def test_same_optimum_as_scikit_learn(strength: float, classes: int) -> None:
    data, labels = made(classes=classes)
    folds = grouped_folds(labels, np.arange(len(labels)), 3)
    model = Logistic(data, labels, folds, np.ones(classes, np.float32))
    jobs = [Job(strength, 0), Job(strength * 3, 1), Job(strength)]
    weights = model.solve(jobs, model.start(jobs), tolerance=1e-9, limit=500)
    features = next(data.blocks())[1][:, :-1]
    for place, job in enumerate(jobs):
        seen = folds != job.left_out
        # A binary problem has one weight vector there and two opposite ones here: half the penalty on twice the length.
        penalty = job.strength / 2 if classes == 2 else job.strength
        expected = LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=5000).fit(features[seen], labels[seen])
        logits = features @ weights[:-1, place] + weights[-1, place]
        found = logits[:, 1] - logits[:, 0] if classes == 2 else logits - logits.mean(1, keepdims=True)
        wanted = expected.decision_function(features)
        wanted = wanted if classes == 2 else wanted - wanted.mean(1, keepdims=True)
        np.testing.assert_allclose(found, wanted, atol=1e-3 * max(1, np.abs(wanted).max()))


def test_balanced_weights_as_scikit_learn() -> None:
    data, labels = made()
    keep = np.flatnonzero((labels != 0) | (np.arange(len(labels)) % 16 == 0))
    data = design(data.table, data.columns, "none", keep)
    labels = labels[keep]
    model = Logistic(data, labels, np.zeros(len(labels), np.int64), class_weights(labels, 4, True))
    weights = model.solve([Job(5.0)], model.start([Job(5.0)]), tolerance=1e-9, limit=500)[:, 0]
    features = next(data.blocks())[1][:, :-1]
    expected = LogisticRegression(C=1 / 5, tol=1e-8, max_iter=5000, class_weight="balanced").fit(features, labels)
    logits = features @ weights[:-1] + weights[-1]
    wanted = expected.decision_function(features)
    np.testing.assert_allclose(logits - logits.mean(1, keepdims=True), wanted - wanted.mean(1, keepdims=True), atol=2e-3)


def test_separable_pictures_at_the_weakest_strength_stay_finite() -> None:
    data, labels = made(pictures=20, width=50, classes=2, apart=5.0)
    model = Logistic(data, labels, np.zeros(20, np.int64), np.ones(2, np.float32))
    weights = model.solve([Job(1e-6)], model.start([Job(1e-6)]))
    assert np.isfinite(weights).all()
    assert (model.held_out([Job(1.0, 0)], weights).argmax(1) == labels).all()


@pytest.mark.parametrize("pictures", [40, 300])  # through inner products, through sums of squares
def test_discriminant_as_scikit_learn(pictures: int) -> None:
    data, labels = made(pictures, 60, 3)
    folds = grouped_folds(labels, np.arange(pictures), 4)
    model = Discriminant(data, labels, folds, 3)
    assert model.dual == (pictures == 40)
    features = next(data.blocks())[1][:, :-1].astype(np.float64)
    held_out = model.held_out(model.all_weights(0.5))
    for fold in range(4):
        seen = folds != fold
        means = np.stack([features[seen & (labels == k)].mean(0) for k in range(3)])
        spread = features[seen] - means[labels[seen]]
        covariance = spread.T @ spread / seen.sum() + 0.5 * np.eye(60)
        logits = features @ np.linalg.solve(covariance, means.T)
        logits += np.log(np.bincount(labels[seen]) / seen.sum()) - 0.5 * np.diag(means @ np.linalg.solve(covariance, means.T))
        np.testing.assert_allclose(held_out[~seen], logits[~seen], atol=2e-2, rtol=2e-3)
    tiny = model.solve(1e-4) if pictures == 300 else None
    if tiny is not None:  # with next to no ridge it is the textbook's
        oracle = LinearDiscriminantAnalysis(solver="lsqr").fit(features, labels)
        answers = (features @ tiny[:-1] + tiny[-1]).argmax(1)
        assert (answers == oracle.predict(features)).mean() > 0.995


def test_block_by_block_is_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = clustered(700, 24, 3, apart=0.4)
    folds = grouped_folds(labels, np.arange(700), 3)

    def answers() -> tuple[np.ndarray, np.ndarray]:
        table = FeatureTable(24)
        for start in range(0, 700, 100):
            table.append(features[start : start + 100])
        data = design(table, np.arange(24), "sqrt")
        model = Logistic(data, labels, folds, np.ones(3, np.float32))
        jobs = [Job(3.0, 0), Job(3.0, 1), Job(3.0, 2)]
        discriminant = Discriminant(data, labels, folds, 3)
        logistic = model.held_out(jobs, model.solve(jobs, model.start(jobs), tolerance=1e-7))
        return logistic, discriminant.held_out(discriminant.all_weights(0.3))

    whole = answers()
    monkeypatch.setattr(tables, "MEMORY_LIMIT", 1000)
    monkeypatch.setattr(tables, "BLOCK_BYTES", 60 * 24 * 4)
    monkeypatch.setattr(designs, "CACHE_BYTES", 0)
    for in_memory, in_blocks in zip(whole, answers(), strict=True):
        np.testing.assert_allclose(in_blocks, in_memory, atol=5e-3)
