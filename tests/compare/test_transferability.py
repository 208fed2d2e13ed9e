"""LogME, H-score and LEEP against calculations written out from their papers, in float64."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf

from topwork.compare.transferability import h_score, leep, log_me, transferability
from topwork.heads.parallel import one_thread_algebra

Array = NDArray[np.float64]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Many small matrices: threads would only wait for each other."""
    with one_thread_algebra():
        yield


def drawn(count: int, width: int, classes: int, apart: float, seed: int = 0) -> tuple[Array, NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    return rng.standard_normal((count, width)) + apart * rng.standard_normal((classes, width))[labels] + 0.3, labels


def log_me_of_paper(features: Array, labels: NDArray[np.int64]) -> float:
    """You 2021, algorithm 1, with matrices instead of a decomposition; the evidence at its fixed point."""
    count, width = features.shape
    total = 0.0
    for label in np.unique(labels):
        y = (labels == label).astype(float)
        alpha = beta = 1.0
        for _ in range(3_000):
            inverse = np.linalg.inv(alpha * np.eye(width) + beta * features.T @ features)
            m = beta * inverse @ features.T @ y
            gamma = width - alpha * np.trace(inverse)
            before = alpha / beta
            alpha, beta = gamma / (m @ m), (count - gamma) / ((features @ m - y) @ (features @ m - y))
            if abs(alpha / beta - before) < 1e-10 * before:
                break
        a = alpha * np.eye(width) + beta * features.T @ features
        m = beta * np.linalg.solve(a, features.T @ y)
        total += (
            width / 2 * np.log(alpha)
            + count / 2 * np.log(beta)
            - 0.5 * np.linalg.slogdet(a)[1]
            - beta / 2 * ((features @ m - y) ** 2).sum()
            - alpha / 2 * (m**2).sum()
            - count / 2 * np.log(2 * np.pi)
        ) / count
    return total / len(np.unique(labels))


def h_score_of_paper(features: Array, labels: NDArray[np.int64]) -> float:
    """Ibrahim 2022: tr(covariance with Ledoit and Wolf's shrinkage^-1 x (1 - share) x covariance of class means)."""
    fitted = LedoitWolf().fit(features)
    means = np.stack([features[labels == label].mean(0) for label in labels])
    between = np.cov(means, rowvar=False, bias=True)
    return float(np.trace(np.linalg.inv(fitted.covariance_) @ between) * (1 - fitted.shrinkage_))


def leep_of_paper(answers: Array, labels: NDArray[np.int64]) -> float:
    """Nguyen 2020, equations 1 and 2, picture by picture."""
    joint = np.zeros((labels.max() + 1, answers.shape[1]))
    for row, label in zip(answers, labels, strict=True):
        joint[label] += row / len(labels)
    total = 0.0
    for row, label in zip(answers, labels, strict=True):
        total += np.log(sum(joint[label, z] / joint[:, z].sum() * row[z] for z in range(len(row))))
    return total / len(labels)


@pytest.mark.parametrize(("count", "width"), [(300, 12), (120, 40), (60, 50), (200, 150)])
@pytest.mark.parametrize("apart", [0.0, 0.5, 3.0])
def test_scores_equal_the_papers(count: int, width: int, apart: float) -> None:
    features, labels = drawn(count, width, 5, apart)
    assert log_me(features, labels) == pytest.approx(log_me_of_paper(features, labels), abs=1e-8)
    assert h_score(features, labels) == pytest.approx(h_score_of_paper(features, labels), abs=1e-8)


@pytest.mark.parametrize("apart", [0.0, 0.5, 3.0])
def test_scores_with_more_features_than_pictures(apart: float) -> None:
    """The evidence as the density of y under N(0, 1 / beta + F F' / alpha), at the best ratio on a fine grid."""
    features, labels = drawn(40, 90, 4, apart)
    inner = features @ features.T
    total = 0.0
    for label in range(4):
        y = (labels == label).astype(float)
        best = -np.inf
        for ratio in 10.0 ** np.linspace(-11, 8, 1901) * np.linalg.norm(inner, 2):
            covariance = inner / ratio + np.eye(40)
            scale = y @ np.linalg.solve(covariance, y) / 40
            best = max(best, -0.5 * (40 * np.log(2 * np.pi * scale) + np.linalg.slogdet(covariance)[1] + 40) / 40)
        total += best / 4
    assert log_me(features, labels) == pytest.approx(total, abs=2e-5)
    assert h_score(features, labels) == pytest.approx(h_score_of_paper(features, labels), abs=1e-8)


def test_leep_equals_the_paper() -> None:
    features, labels = drawn(150, 20, 4, 1.0)
    answers = np.exp(features)
    answers /= answers.sum(1, keepdims=True)
    assert leep(answers, labels) == pytest.approx(leep_of_paper(answers, labels), abs=1e-8)


def test_scores_rise_with_how_far_classes_lie_apart() -> None:
    scores = []
    for apart in (0.0, 0.3, 1.0, 3.0):
        features, labels = drawn(200, 20, 4, apart)
        answers = np.exp(2 * features[:, :8])
        scores.append(transferability(features, labels, answers / answers.sum(1, keepdims=True)))
    for name in ("logme", "h_score", "leep"):
        values = [getattr(score, name) for score in scores]
        assert values == sorted(values)
    assert scores[-1].leep is not None and scores[-1].leep <= 0 and scores[-1].h_score <= 3


def test_a_class_name_without_pictures_changes_nothing() -> None:
    features, labels = drawn(90, 10, 3, 1.0)
    assert log_me(features, labels * 2) == log_me(features, labels)
    assert transferability(features, labels).leep is None
