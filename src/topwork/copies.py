"""Which pictures are copies of each other: by content, and by a perceptual hash that features confirm."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from topwork.features.extract import Extraction
from topwork.features.table import FeatureTable
from topwork.pictures.likeness import NEAR_BITS, Hashes, candidate_pairs, linked_groups, unpack

Labels = NDArray[np.int64]

SURE_BITS = 8
"""Hashes this near are confirmed by features wherever these lie, also among tiles of open sea."""

NEAR_COSINE = 0.75
"""Cosine of standardised features from which a pair that the hash proposes may be a near-copy; photos of different things stay
below 0.7."""

SURE_COSINE = 0.95
"""Features confirm from here on, however alike the pictures of a folder are."""

FALSE_PAIRS = 0.01
"""Near-copies that may be found by chance in a folder, as far as its cosines are normally distributed: where all pictures are
alike, as handwritten digits are, confirming takes more than NEAR_COSINE."""

COMMON_SHARE = 0.005
"""Where a larger share of all pictures (and more than 5) is that near, as among tiles of open sea, features confirm nothing."""

FAR_PAIRS = 1000
"""Pairs from which the cosines of chance can be told."""

_PROJECTED = 256


@dataclass(frozen=True)
class Copies:
    """Which pictures are copies of each other."""

    groups: Labels
    """(N,) equal for pictures linked by exact or near copies."""
    exact: list[list[int]]
    """Rows with the same bytes."""
    near: list[list[int]]
    """Rows linked by likeness, one entry per group that holds more than copies of the same bytes."""


def find_copies(found: Extraction, columns: NDArray[np.int64]) -> Copies:
    """Exact copies by content, near-copies by a perceptual hash that the features `columns` confirm."""
    n = len(found.sha256)
    _, first, same = np.unique(found.sha256, return_index=True, return_inverse=True)
    exact_pairs = np.stack([first[same], np.arange(n)], axis=1)
    exact_pairs = exact_pairs[exact_pairs[:, 0] != exact_pairs[:, 1]]
    hashes, mirrors = unpack([found.likeness[row] for row in first])
    pairs = candidate_pairs(hashes, mirrors)
    if len(pairs):
        bits = np.minimum(
            np.bitwise_count(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]]),
            np.bitwise_count(hashes[pairs[:, 0]] ^ mirrors[pairs[:, 1]]),
        )
        directions = _directions(found.table.subset(first), columns)
        first_one, second_one = pairs.T
        cosine = np.concatenate([
            np.einsum("pd,pd->p", directions[first_one[start : start + 8192]], directions[second_one[start : start + 8192]])
            for start in range(0, len(pairs), 8192)
        ])  # fmt: skip
        common = _common(directions, hashes, mirrors)
        rare = ~(common[first_one] & common[second_one])
        pairs = first[pairs[(cosine >= _least_cosine(cosine, bits)) & (rare | (bits <= SURE_BITS))]]
    groups = linked_groups(n, np.concatenate([exact_pairs, pairs]))
    exact = members(first[same])
    near = [rows for rows in members(groups) if len({found.sha256[row] for row in rows}) > 1]
    return Copies(groups, exact, near)


def _least_cosine(cosine: NDArray[np.float32], bits: NDArray[np.uint8]) -> float:
    """The cosine that chance gives to FALSE_PAIRS of these proposed pairs (P,), within NEAR_COSINE and SURE_COSINE.

    Chance is what pairs are like that the hash hardly proposes, and of those the half below the median: copies and bursts lie
    above it. Where there are few such pairs they tell nothing of chance.
    """
    far = cosine[bits > 2 * SURE_BITS]
    if len(far) < FAR_PAIRS:
        return NEAR_COSINE
    quarter, middle = np.percentile(far, [25, 50])
    spread = (middle - quarter) / NormalDist().inv_cdf(0.75)
    least = middle - NormalDist().inv_cdf(FALSE_PAIRS / len(cosine)) * spread
    return float(np.clip(least, NEAR_COSINE, SURE_COSINE))


def _common(directions: NDArray[np.float32], hashes: Hashes, mirrors: Hashes) -> NDArray[np.bool_]:
    """Which pictures (N,) are near by features to so many with other hashes that being near says nothing."""
    n = len(directions)
    drawn = np.random.default_rng(0).permutation(n)[:2000]
    common = np.empty(n, np.bool_)
    for start in range(0, n, 1024):
        part = hashes[start : start + 1024, None]
        near = directions[start : start + 1024] @ directions[drawn].T >= NEAR_COSINE
        # A burst of ten photos is no proof that such pictures are common: what the hash calls near is not counted.
        near &= np.minimum(np.bitwise_count(part ^ hashes[drawn]), np.bitwise_count(part ^ mirrors[drawn])) > NEAR_BITS
        common[start : start + 1024] = near.sum(1) > max(5, COMMON_SHARE * len(drawn))
    return common


def _directions(table: FeatureTable, columns: NDArray[np.int64]) -> NDArray[np.float32]:
    """(N, 256) rows of length one whose products are about the cosines of the standardised features."""
    total, square = np.zeros(len(columns)), np.zeros(len(columns))
    for _, rows in table.blocks():
        part = rows[:, columns]
        total += part.sum(0, dtype=np.float64)
        square += np.einsum("nd,nd->d", part, part, dtype=np.float64)
    mean = (total / len(table)).astype(np.float32)
    scale = (1 / (np.sqrt(np.maximum(square / len(table) - mean.astype(np.float64) ** 2, 0)) + 1e-3)).astype(np.float32)
    cast = np.random.default_rng(0).standard_normal((len(columns), _PROJECTED), np.float32)
    out = np.concatenate([((rows[:, columns] - mean) * scale) @ cast for _, rows in table.blocks()])
    return np.asarray(out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12), np.float32)


def members(names: Labels) -> list[list[int]]:
    """Rows of each name that stands more than once."""
    order = np.argsort(names, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(names[order])) + 1)
    return sorted([[int(row) for row in part] for part in parts if len(part) > 1])
