"""A quick cross-validated probe: ridge discriminants on a choice of features; each is asked about pictures it never saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import comb

import numpy as np
from numpy.typing import NDArray

from topwork.features.table import FeatureTable
from topwork.heads.calibrate import fit_temperature
from topwork.heads.designs import design
from topwork.heads.discriminant import Discriminant
from topwork.heads.metrics import Z95, wilson
from topwork.heads.parallel import in_parallel, one_thread_algebra
from topwork.pictures.splits import grouped_folds

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Labels = NDArray[np.int64]
Columns = NDArray[np.int64]

RIDGES = (0.3, 1.0, 0.1, 0.03)
"""The first two are tried on every choice of features, the others only on the best."""

FOLDS = 5


@dataclass(frozen=True, eq=False)
class Probe:
    """Held-out answers from one choice of features."""

    view: str
    ridge: float
    logits: Float32
    """(N, K), each row divided by the best temperature."""
    labels: Labels

    @property
    def right(self) -> NDArray[np.bool_]:
        """(N,)."""
        return np.asarray(self.logits.argmax(1) == self.labels)

    @property
    def losses(self) -> Float64:
        """(N,) minus the logarithm of the true class's probability, in nats."""
        scaled = self.logits.astype(np.float64)
        top = scaled.max(1)
        total = np.log(np.exp(scaled - top[:, None]).sum(1)) + top
        return np.asarray(total - scaled[np.arange(len(scaled)), self.labels])

    @property
    def accuracy(self) -> float:
        """Share of held-out pictures answered right."""
        return float(self.right.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the accuracy (Wilson 1927)."""
        return wilson(int(self.right.sum()), len(self.labels))


def probes(
    table: FeatureTable,
    labels: Labels,
    groups: Labels,
    classes: int,
    views: Mapping[str, Columns],
    seed: int = 0,
    ridges: tuple[float, ...] = RIDGES,
) -> dict[str, Probe]:
    """A probe of each view of a table (N, D_full) with the better of the first two ridges; the best one with its best ridge.

    labels (N,), groups (N,) equal for near-copies, which never stand on both sides of a split.
    """
    folds = grouped_folds(labels, groups, fold_count(labels, groups), seed)

    def models(name: str) -> Discriminant:
        return Discriminant(design(table, views[name], "sqrt"), labels, folds, classes)

    def one(name: str) -> Probe:
        model = models(name)
        return best_of({str(ridge): _answered(model, name, ridge, labels) for ridge in ridges[:2]})

    with one_thread_algebra():
        found = dict(zip(views, in_parallel([partial(one, name) for name in views]), strict=True))
        best = best_of(found)
        model = models(best.view)
        others = in_parallel([partial(_answered, model, best.view, ridge, labels) for ridge in ridges[2:]])
    found[best.view] = best_of({str(one.ridge): one for one in [best, *others]})
    return found


def best_of(found: Mapping[str, Probe]) -> Probe:
    """The one of least held-out log loss."""
    return min(found.values(), key=lambda one: float(one.losses.mean()))


def fold_count(labels: Labels, groups: Labels) -> int:
    """Parts for cross-validation: fewer where the largest class has fewer different pictures, at least 2."""
    pairs = np.unique(np.stack([labels, groups]), axis=1)[0]
    return int(max(2, min(FOLDS, np.bincount(pairs).max())))


def _answered(model: Discriminant, view: str, ridge: float, labels: Labels) -> Probe:
    weights = np.stack([model.solve(ridge, fold) for fold in model.names], axis=1)
    logits = model.held_out(weights)
    return Probe(view, ridge, logits / np.float32(fit_temperature(logits, labels)), labels)


def mean_gain(first: Float64 | NDArray[np.bool_], second: Float64 | NDArray[np.bool_]) -> tuple[float, float, float]:
    """(middle, low, high) of the mean of second - first over the same pictures, 95 % interval (paired, normal)."""
    gain = np.asarray(second, np.float64) - np.asarray(first, np.float64)
    half = Z95 * float(gain.std(ddof=1)) / len(gain) ** 0.5 if len(gain) > 1 else np.inf
    return float(gain.mean()), float(gain.mean() - half), float(gain.mean() + half)


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Chance of so unequal answers to the same pictures if both were equally good: McNemar's exact test, two-sided (1947)."""
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    differing, fewer = only_first + only_second, min(only_first, only_second)
    if differing == 0:
        return 1.0
    tail = sum(comb(differing, k) for k in range(fewer + 1))  # whole numbers, so no rounding
    return min(1.0, float(2 * tail / 2**differing))
