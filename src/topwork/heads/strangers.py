"""Pictures that belong to none of the classes, told from how far they lie from every picture the head has learned.

The score is a sum of two. Far strangers lie far from all references: cosine distance to the nearest ones (deep nearest
neighbours, Sun 2022). Near strangers, such as an unknown breed, lie close to many but excite no class much: the largest
logit (Hendrycks 2022). Each is put on the scale of held-out training pictures before they are added.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topwork.errors import BundleError
from topwork.features.table import FeatureTable
from topwork.heads.designs import transformed
from topwork.heads.head import entry, tensor
from topwork.heads.neighbours import AnyHead

Float32 = NDArray[np.float32]
Labels = NDArray[np.int64]

REFERENCES = 2_000
"""Training pictures kept to compare with."""

CHECKED = 4_000
"""Training pictures at most whose own scores set the scale and the threshold."""

NEAREST = 3
"""Nearest references whose similarity is averaged."""


@dataclass(frozen=True, eq=False)
class Strangers:
    """How strange a picture is to a head, and from where on it is none of its classes."""

    head: AnyHead
    references: NDArray[np.float16]
    """(R, D) features of training pictures on the head's view, square-rooted and of length one."""
    centre: tuple[float, float]
    """Median of distance and of minus the largest logit on held-out training pictures."""
    spread: tuple[float, float]
    """From there to their 95 % points."""
    threshold: float
    """Score above which a picture counts as a stranger."""
    kept: float
    """Share of held-out training pictures at or below the threshold."""

    def scores(self, features: Float32, logits: Float32 | None = None) -> Float32:
        """Scores (N,) of full features (N, D_full), larger is stranger; `logits` of the head if they are at hand."""
        logits = self.head.logits(features) if logits is None else logits
        distance = np.empty(len(features), np.float32)
        references = self.references.astype(np.float32)
        for start in range(0, len(features), 1024):
            rows = _directions(features[start : start + 1024], self.head)
            distance[start : start + 1024] = 1 - _nearest(rows @ references.T)
        return _combined(distance, logits, self.centre, self.spread)

    def to_tensors(self) -> dict[str, NDArray[Any]]:
        """The arrays to store."""
        return {"strangers.references": self.references}

    def to_config(self) -> dict[str, Any]:
        """What to store beside the arrays, as JSON can say it."""
        return {
            "centre": list(self.centre),
            "spread": list(self.spread),
            "threshold": self.threshold,
            "kept": self.kept,
            "references": len(self.references),
        }

    @classmethod
    def from_parts(cls, config: dict[str, Any], tensors: dict[str, NDArray[Any]], head: AnyHead) -> Strangers:
        """The strangers of `to_config` and `to_tensors`, for the head they were fitted with. Raises BundleError."""
        pairs = []
        for name in ("centre", "spread"):
            pair = entry(config, name, list)
            numbers = [one for one in pair if isinstance(one, int | float) and np.isfinite(one)]
            if len(pair) != 2 or len(numbers) != 2:
                raise BundleError(f"strangers: expected {name} of two finite numbers, found {pair!r}")
            pairs.append((float(pair[0]), float(pair[1])))
        if min(pairs[1]) <= 0:
            raise BundleError(f"strangers: expected spreads above 0, found {pairs[1]}")
        figures = [float(entry(config, name, (int, float))) for name in ("threshold", "kept")]
        if not np.isfinite(figures).all():
            raise BundleError(f"strangers: expected finite threshold and kept, found {figures}")
        shape = (entry(config, "references", int), len(head.columns))
        references = tensor(tensors, "strangers.references", shape, "f").astype(np.float16)
        return cls(head, references, pairs[0], pairs[1], figures[0], figures[1])


def fit_strangers(
    table: FeatureTable,
    labels: Labels,
    groups: Labels,
    head: AnyHead,
    logits: Float32,
    keep: float = 0.95,
    seed: int = 0,
    held: Labels | None = None,
) -> Strangers:
    """What is strange to a head, from its training table (N, D_full), averaged with mirror images if the head is.

    labels, groups (N,) as for the search; logits (N, K) are its OUT-OF-FOLD ones. A picture's own group never counts
    among its nearest, so the threshold keeps a share `keep` of pictures as new as those to come. held: the rows that the
    features themselves did not learn from, where they learned from others: these alone set scale and threshold.
    """
    rng = np.random.default_rng(seed)
    chosen = _stratified(labels, groups, REFERENCES, rng)
    checked = chosen if len(labels) <= REFERENCES else np.sort(rng.permutation(len(labels))[:CHECKED])
    if held is not None:
        checked = held[:CHECKED]
    references = _directions(table.take(chosen), head).astype(np.float16)
    wide = references.astype(np.float32)
    distance = np.empty(len(checked), np.float32)
    for start in range(0, len(checked), 1024):
        rows = checked[start : start + 1024]
        likeness = _directions(table.take(rows), head) @ wide.T
        likeness[groups[rows][:, None] == groups[chosen][None, :]] = -1.0
        distance[start : start + 1024] = 1 - _nearest(likeness)
    excited = -logits[checked].max(1)
    centre, spread = zip(*(_scale(part) for part in (distance, excited)), strict=True)
    scores = _combined(distance, logits[checked], centre, spread)
    threshold = float(np.quantile(scores, keep, method="higher"))
    return Strangers(head, references, centre, spread, threshold, float((scores <= threshold).mean()))


def _directions(features: Float32, head: AnyHead) -> Float32:
    """The head's view of full features (n, D_full), square-rooted, each row of length one: (n, D)."""
    return transformed(transformed(features[:, head.columns], "sqrt"), "unit")


def _nearest(likeness: Float32) -> Float32:
    """Mean of the NEAREST largest values of each row (n, R): (n,)."""
    count = min(NEAREST, likeness.shape[1])
    part = np.partition(likeness, likeness.shape[1] - count, axis=1)[:, -count:]
    return np.asarray(part.mean(1), np.float32)


def _scale(values: Float32) -> tuple[float, float]:
    """(median, distance from there to the 95 % point), the latter never 0."""
    middle, high = np.quantile(values, (0.5, 0.95))
    return float(middle), float(max(high - middle, 1e-3 * abs(middle), 1e-6))


def _combined(distance: Float32, logits: Float32, centre: tuple[float, ...], spread: tuple[float, ...]) -> Float32:
    far = (distance - centre[0]) / spread[0]
    # Bounded, so that a head that is sure by mistake cannot outvote any distance.
    dull = np.clip((-logits.max(1) - centre[1]) / spread[1], -2, 4)
    return np.asarray(far + dull, np.float32)


def _stratified(labels: Labels, groups: Labels, limit: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows (sorted), at most `limit`: as many of each class as can be, of different groups first."""
    if len(labels) <= limit:
        return np.arange(len(labels))
    order = rng.permutation(len(labels))
    _, group_of = np.unique(groups, return_inverse=True)
    # How many pictures of the same group, then of the same class, come before each in the drawn order.
    repeat = np.empty(len(labels), np.int64)
    repeat[order] = _earlier(group_of[order])
    order = order[np.argsort(repeat[order], kind="stable")]
    turn = np.empty(len(labels), np.int64)
    turn[order] = _earlier(labels[order])
    return np.sort(order[np.argsort(turn[order], kind="stable")][:limit])


def _earlier(names: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each entry, how many equal ones come before it."""
    order = np.argsort(names, kind="stable")
    first = np.searchsorted(names[order], names[order], side="left")
    out = np.empty(len(names), np.int64)
    out[order] = np.arange(len(names)) - first
    return out
