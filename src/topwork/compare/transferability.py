"""How well a head on a network's features will do, told without fitting one: LogME, H-score, LEEP. All in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from topwork.heads.parallel import one_thread_algebra

Float64 = NDArray[np.float64]
Floats = NDArray[np.floating]
Labels = NDArray[np.int64]

MOST_STEPS = 2_000
"""Of the search for the evidence's maximum; some 10 to 50 are enough where features say anything."""

STILL = 1e-9
"""Relative change of alpha / beta at which the search has arrived: the evidence is flat there."""

LEAST_RATIO = 1e-13
"""Least alpha / beta, beside the largest squared singular value: more features than pictures may fit without any noise."""


@dataclass(frozen=True)
class Transferability:
    """The three scores; of each, larger promises more."""

    logme: float
    h_score: float
    leep: float | None
    """None where the network has no classifier of its own."""


def transferability(features: Floats, labels: Labels, answers: Floats | None = None) -> Transferability:
    """The scores of features (N, D), labels (N,) and the network's original answers as probabilities (N, Z)."""
    with one_thread_algebra():
        known = None if answers is None else leep(answers, labels)
        return Transferability(log_me(features, labels), h_score(features, labels), known)


def log_me(features: Floats, labels: Labels) -> float:
    """Logarithm of the maximum evidence, in nats a picture, mean over the classes (You 2021).

    Each class's membership y (N,) is a linear function of the features with weights N(0, 1 / alpha) and noise N(0, 1 / beta);
    the evidence p(y | F, alpha, beta) is maximised over both, by MacKay's fixed point.
    """
    wide: Float64 = np.asarray(features, np.float64)
    count = len(wide)
    goals = _members(labels)  # (N, K)
    squares, along = _spectrum(wide, goals)  # (R,), (R, K): squared singular values, goals along their directions
    outside = (goals**2).sum(0) - (along**2).sum(0)  # of each goal, what no features can reach
    outside = np.where(len(squares) < count, np.maximum(outside, 0), 0.0)
    least = LEAST_RATIO * squares[-1]
    ratio = np.ones(goals.shape[1])  # alpha / beta
    for _ in range(MOST_STEPS):
        before = ratio
        gamma = (squares[:, None] / (squares[:, None] + ratio)).sum(0)
        weights, error = _fit_of(squares, along, outside, ratio)
        ratio = np.maximum(gamma * error / np.maximum(weights * (count - gamma), 1e-300), least)
        if (np.abs(ratio - before) <= STILL * before).all():
            break
    # At the fixed point beta |F m - y|^2 + alpha |m|^2 = N, which leaves one unknown, the ratio.
    weights, error = _fit_of(squares, along, outside, ratio)
    beta = count / (error + ratio * weights)
    volume = np.log(squares[:, None] + ratio).sum(0)
    evidence = (len(squares) * np.log(ratio) + count * np.log(beta) - volume - count - count * np.log(2 * np.pi)) / 2
    return float((evidence / count).mean())


def _fit_of(squares: Float64, along: Float64, outside: Float64, ratio: Float64) -> tuple[Float64, Float64]:
    """|m|^2 and |F m - y|^2 (K,) of the best weights m for alpha / beta = `ratio` (K,)."""
    below = squares[:, None] + ratio  # (R, K)
    weights = (squares[:, None] * along**2 / below**2).sum(0)
    error = ((ratio * along / below) ** 2).sum(0) + outside
    return weights, error


def _spectrum(features: Float64, goals: Float64) -> tuple[Float64, Float64]:
    """Squared singular values (R,) of features (N, D), and the goals (N, K) along the left singular vectors (R, K)."""
    if len(features) <= features.shape[1]:
        squares, left = np.linalg.eigh(features @ features.T)
        along = left.T @ goals
        alive = squares > squares[-1] * 1e-14
        return squares[alive], along[alive]
    squares, right = np.linalg.eigh(features.T @ features)
    alive = squares > squares[-1] * 1e-14
    along = (right.T @ (features.T @ goals))[alive] / np.sqrt(squares[alive])[:, None]
    return squares[alive], along


def h_score(features: Floats, labels: Labels) -> float:
    """The H-score with shrinkage: tr(C^-1 (1 - s) B) (Bao 2019; shrinkage after Ibrahim 2022).

    B is the covariance of the class means, C the features' covariance drawn towards a multiple of the identity by the share s
    of Ledoit and Wolf (2004). At most the number of classes less one.
    """
    features = np.asarray(features, np.float64)
    count, width = features.shape
    centred = features - features.mean(0)
    small = centred @ centred.T if count <= width else centred.T @ centred  # either has all that is asked below
    share, level = _shrinkage(centred, small)
    members = _members(labels)
    sizes = members.sum(0)
    means = (members.T @ centred) / np.sqrt(sizes * count)[:, None]  # (K, D), rows' outer products sum up to B
    floor, slope = share * level, (1 - share) / count  # C = floor I + slope X'X
    if count <= width:  # by Woodbury's identity
        inner = slope * small
        inner[np.diag_indices(count)] += floor
        cross = centred @ means.T  # (N, K)
        spread = ((means**2).sum() - slope * (cross * np.linalg.solve(inner, cross)).sum()) / floor
    else:
        covariance = slope * small
        covariance[np.diag_indices(width)] += floor
        spread = (means.T * np.linalg.solve(covariance, means.T)).sum()
    return float((1 - share) * spread)


def _shrinkage(centred: Float64, small: Float64) -> tuple[float, float]:
    """Ledoit and Wolf's share of the identity for rows (N, D), and the identity's level; `small` is X'X or XX'."""
    count, width = centred.shape
    lengths = (centred**2).sum(1)  # (N,)
    level = lengths.sum() / count / width
    squares = (small**2).sum() / count**2  # |S|^2
    distance = squares / width - level**2
    noise = ((lengths**2).sum() / count - squares) / (count * width)
    if distance <= 0:
        return 1.0, float(level)
    return float(np.clip(noise / distance, 1e-12, 1)), float(level)


def leep(answers: Floats, labels: Labels) -> float:
    """Log expected empirical prediction, in nats a picture, at most 0 (Nguyen 2020).

    answers (N, Z): probabilities of the network's original classes. The mean log likelihood of the labels under the classifier
    that knows only how often each original class goes with each label.
    """
    answers = np.asarray(answers, np.float64)
    members = _members(labels)  # (N, K)
    joint = members.T @ answers / len(answers)  # (K, Z)
    given = joint / np.maximum(joint.sum(0), 1e-300)  # P(label | original class)
    return float(np.log(np.maximum((members @ given * answers).sum(1), 1e-300)).mean())


def _members(labels: Labels) -> Float64:
    """(N, K) 1 where a picture is of a class; only classes that have pictures."""
    _, place = np.unique(labels, return_inverse=True)
    members = np.zeros((len(place), int(place.max()) + 1))
    members[np.arange(len(place)), place] = 1
    return members
