"""What is wrong with a folder: broken files, copies, leaks between splits, conflicting and suspect labels, odd sizes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topwork.features.extract import Extraction
from topwork.features.table import FeatureTable
from topwork.heads.suspects import suspect_labels
from topwork.pictures.likeness import NEAR_BITS, Hashes, candidate_pairs, linked_groups, unpack

Labels = NDArray[np.int64]

SURE_BITS = 8
"""Hashes this near need no confirmation by features; different photos differ in 14 bits or more."""

NEAR_COSINE = 0.75
"""Cosine of standardised features from which a pair that the hash proposes is a near-copy; different photos stay below 0.7."""

COMMON_SHARE = 0.005
"""Where a larger share of all pictures (and more than 5) is that near, as among tiles of open sea, features confirm nothing."""

_PROJECTED = 256
SMALL_CLASS = 10
"""Pictures below which a class is called very small."""
UNEQUAL = 10.0
"""Ratio of the largest to the smallest class from which classes are called very unequal."""
SMALL_SIDE = 32
LONG_SHAPE = 4.0


@dataclass(frozen=True)
class Copies:
    """Which pictures are copies of each other."""

    groups: Labels
    """(N,) equal for pictures linked by exact or near copies."""
    exact: list[list[int]]
    """Rows with the same bytes."""
    near: list[list[int]]
    """Rows linked by likeness, one entry per group that holds more than copies of the same bytes."""


@dataclass(frozen=True)
class Audit:
    """The findings, as plain values; paths as the user gave them."""

    pictures: int
    usable: int
    broken: list[dict[str, str]] = field(default_factory=list)
    extension_mismatches: list[dict[str, str]] = field(default_factory=list)
    duplicates: list[list[str]] = field(default_factory=list)
    near_duplicates: list[list[str]] = field(default_factory=list)
    label_conflicts: list[dict[str, list[str]]] = field(default_factory=list)
    leaks: list[dict[str, str]] = field(default_factory=list)
    accuracy_with_leaks: float | None = None
    accuracy_without_leaks: float | None = None
    suspect_labels: list[dict[str, Any]] = field(default_factory=list)
    classes: list[dict[str, Any]] = field(default_factory=list)
    imbalance: float | None = None
    small_classes: list[str] = field(default_factory=list)
    odd_sizes: list[dict[str, Any]] = field(default_factory=list)

    def to_config(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


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
        confirmed = _confirmed(pairs, _directions(found.table.subset(first), columns), hashes, mirrors)
        pairs = first[pairs[(bits <= SURE_BITS) | confirmed]]
    groups = linked_groups(n, np.concatenate([exact_pairs, pairs]))
    exact = _members(first[same])
    near = [rows for rows in _members(groups) if len({found.sha256[row] for row in rows}) > 1]
    return Copies(groups, exact, near)


def _confirmed(pairs: Labels, directions: NDArray[np.float32], hashes: Hashes, mirrors: Hashes) -> NDArray[np.bool_]:
    """Which pairs (P, 2) are near by features, where being that near is rare among pictures with other hashes."""
    n = len(directions)
    drawn = np.random.default_rng(0).permutation(n)[:2000]
    common = np.empty(n, np.bool_)
    for start in range(0, n, 1024):
        part = hashes[start : start + 1024, None]
        near = directions[start : start + 1024] @ directions[drawn].T >= NEAR_COSINE
        # A burst of ten photos is no proof that such pictures are common: what the hash calls near is not counted.
        near &= np.minimum(np.bitwise_count(part ^ hashes[drawn]), np.bitwise_count(part ^ mirrors[drawn])) > NEAR_BITS
        common[start : start + 1024] = near.sum(1) > max(5, COMMON_SHARE * len(drawn))
    confirmed = np.zeros(len(pairs), np.bool_)
    for start in range(0, len(pairs), 8192):
        first, second = pairs[start : start + 8192].T
        cosine = np.einsum("pd,pd->p", directions[first], directions[second])
        confirmed[start : start + 8192] = (cosine >= NEAR_COSINE) & ~(common[first] & common[second])
    return confirmed


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


def _members(names: Labels) -> list[list[int]]:
    """Rows of each name that stands more than once."""
    order = np.argsort(names, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(names[order])) + 1)
    return sorted([[int(row) for row in part] for part in parts if len(part) > 1])


def audit_table(
    found: Extraction,
    copies: Copies,
    probs: NDArray[np.float32] | None = None,
    rows: Labels | None = None,
) -> Audit:
    """All findings of an extraction.

    probs (n, K): out-of-fold probabilities of the pictures `rows` (n,), for suspect labels; None: no suspects are told.
    """
    records = found.records
    paths = [str(path) for path in records.paths]
    labels = records.labels
    names = records.classes
    counts = np.bincount(labels[labels >= 0], minlength=len(names))
    suspects: list[dict[str, Any]] = []
    if probs is not None and rows is not None:
        suspects = [
            {
                "path": paths[rows[one.row]],
                "label": names[one.given],
                "suggested": names[one.suggested],
                "probability": round(float(probs[one.row, one.suggested]), 4),
            }
            for one in suspect_labels(probs, labels[rows])
        ]
    ratio = float(counts.max() / max(counts.min(), 1)) if len(counts) else None
    return Audit(
        pictures=len(found.usable),
        usable=len(paths),
        broken=found.broken,
        extension_mismatches=found.mismatches,
        duplicates=[[paths[row] for row in group] for group in copies.exact],
        near_duplicates=[[paths[row] for row in group] for group in copies.near],
        label_conflicts=[
            {"paths": [paths[row] for row in group], "labels": [names[labels[row]] for row in group]}
            for group in _linked(copies)
            if len({int(labels[row]) for row in group if labels[row] >= 0}) > 1
        ],
        leaks=_leaks(found, copies, paths),
        suspect_labels=suspects,
        classes=[{"label": name, "n": int(count)} for name, count in zip(names, counts, strict=True)],
        imbalance=ratio,
        small_classes=[name for name, count in zip(names, counts, strict=True) if count < SMALL_CLASS],
        odd_sizes=[
            {"path": path, "width": width, "height": height, "reason": reason}
            for path, (width, height) in zip(paths, found.sizes, strict=True)
            if (reason := _odd(width, height))
        ],
    )


def _linked(copies: Copies) -> list[list[int]]:
    return _members(copies.groups)


def _leaks(found: Extraction, copies: Copies, paths: list[str]) -> list[dict[str, str]]:
    """A test picture and a training picture of the same group, one entry per test picture."""
    splits = [row.split for row in found.records]
    leaks = []
    for group in _linked(copies):
        train = [row for row in group if splits[row] == "train"]
        for row in group:
            if splits[row] == "test" and train:
                twin = next((one for one in train if found.sha256[one] == found.sha256[row]), None)
                kind = "near" if twin is None else "exact"
                leaks.append({"train": paths[train[0] if twin is None else twin], "test": paths[row], "kind": kind})
    return leaks


def _odd(width: int, height: int) -> str | None:
    if min(width, height) < SMALL_SIDE:
        return f"smaller than {SMALL_SIDE} pixels"
    if max(width, height) > LONG_SHAPE * min(width, height):
        return f"more than {LONG_SHAPE:.0f} times as long as wide"
    return None
