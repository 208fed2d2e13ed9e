"""Linear discriminant analysis with a ridge: nearest class mean under the pictures' own spread, in closed form."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from topwork.heads.designs import Design

Float32 = NDArray[np.float32]
Floats = NDArray[np.floating]
Labels = NDArray[np.int64]

LEAST_PRIOR = 0.01
"""Pictures a class is credited with that has none in a fold."""


class Discriminant:
    """Fits of labels (N,) on a design, each with another fold left out (Fisher 1936; ridge after Friedman 1989).

    With fewer pictures than features all is done through the pictures' inner products (N, N), else through one sum
    of squares (D, D) a fold: one pass over the features either way, whatever the number of strengths.
    """

    def __init__(self, data: Design, labels: Labels, folds: Labels, classes: int, balanced: bool = False) -> None:
        self.data, self.labels, self.folds, self.balanced = data, labels, folds, balanced
        count, width = data.shape
        self.names = [int(fold) for fold in np.unique(folds)]
        self.sums = {fold: np.zeros((classes, width)) for fold in self.names}
        self.sizes = {fold: np.bincount(labels[folds == fold], minlength=classes).astype(float) for fold in self.names}
        self.dual = count < 1.3 * width
        self.squares = {fold: np.zeros((0 if self.dual else width,) * 2, np.float32) for fold in self.names}
        parts = []
        for start, block in data.blocks():
            here = slice(start, start + len(block))
            for fold in self.names:
                mine = folds[here] == fold
                rows = block[mine, :-1]
                self.sums[fold] += _class_sums(rows, labels[here][mine], classes)
                if not self.dual:
                    self.squares[fold] += rows.T @ rows
            if self.dual:
                parts.append(block[:, :-1])
        self.features = np.concatenate(parts) if self.dual else np.zeros((0, width), np.float32)
        self.inner = self.features @ self.features.T

    def solve(self, strength: float, left_out: int = -1) -> Float32:
        """Weights (D + 1, K), the last row the intercepts, without the fold `left_out`; -1: from all pictures.

        `strength` is the ridge beside the within-class covariance of standardised features: 1 weighs as much as a
        typical feature; infinity makes it the nearest class mean, up to a scale.
        """
        seen = [fold for fold in self.names if fold != left_out]
        if not seen:
            return np.zeros((self.data.shape[1] + 1, len(self.sizes[left_out])), np.float32)
        sizes = np.sum([self.sizes[fold] for fold in seen], axis=0)
        means = np.sum([self.sums[fold] for fold in seen], axis=0) / np.maximum(sizes, 1)[:, None]
        if np.isinf(strength):
            solved: Floats = means.T
        else:
            solved = self._dual(means, left_out, strength) if self.dual else self._primal(means, sizes, seen, strength)
        prior = np.log((sizes + LEAST_PRIOR) / (sizes.sum() + LEAST_PRIOR * len(sizes)))
        if self.balanced:
            prior = np.where(sizes > 0, 0.0, prior)
        intercept = prior - 0.5 * np.einsum("kd,dk->k", means, solved)
        return np.concatenate([solved, intercept[None]]).astype(np.float32)

    def all_weights(self, strength: float) -> Float32:
        """Weights (D + 1, folds + 1, K): one fit without each fold, then the one of all."""
        return np.stack([self.solve(strength, fold) for fold in [*self.names, -1]], axis=1)

    def held_out(self, weights: Float32) -> Float32:
        """Logits (N, K) of every picture from the fit without its fold, among those of `all_weights`."""
        out = np.zeros((len(self.labels), weights.shape[2]), np.float32)
        for start, block in self.data.blocks():
            for place, fold in enumerate(self.names):
                mine = np.flatnonzero(self.folds[start : start + len(block)] == fold)
                out[start + mine] = block[mine] @ weights[:, place]
        return out

    def _primal(self, means: NDArray[np.float64], sizes: NDArray[np.float64], seen: list[int], strength: float) -> Floats:
        within = np.sum([self.squares[fold] for fold in seen], axis=0)
        within -= ((means.T * sizes) @ means).astype(np.float32)
        within /= np.float32(max(sizes.sum(), 1))
        within[np.diag_indices(len(within))] += np.float32(strength)
        return np.asarray(np.linalg.solve(within, means.T.astype(np.float32)))

    def _dual(self, means: NDArray[np.float64], left_out: int, strength: float) -> Floats:
        """(within + strength I)^-1 means' (D, K) by Woodbury's identity."""
        seen = np.flatnonzero(self.folds != left_out)
        own, classes, count = self.labels[seen], len(means), len(seen)
        sizes = np.maximum(np.bincount(own, minlength=classes), 1).astype(np.float32)[:, None]
        inner = self.inner[np.ix_(seen, seen)]
        # Inner products of the pictures less their class means.
        inner -= (_class_sums(inner, own, classes).astype(np.float32) / sizes)[own]
        inner -= (_class_sums(inner.T, own, classes).astype(np.float32) / sizes)[own].T
        inner[np.diag_indices(count)] += np.float32(strength * count)
        goal = means.T.astype(np.float32)  # (D, K)
        features = self.features[seen]
        solved = np.linalg.solve(inner, features @ goal - (goal.T @ goal)[own])  # (n, K)
        back = features.T @ solved - goal @ _class_sums(solved, own, classes).astype(np.float32)
        return np.asarray((goal - back) / np.float32(strength))


def _class_sums(rows: Floats, labels: Labels, classes: int) -> NDArray[np.float64]:
    """Sum (K, D) of the rows (N, D) of each class."""
    member = np.zeros((classes, len(labels)), np.float32)
    member[labels, np.arange(len(labels))] = 1
    return np.asarray(member @ rows, np.float64)
