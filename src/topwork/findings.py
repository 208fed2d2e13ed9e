"""What is wrong with a folder: broken files, copies, leaks between splits, conflicting and suspect labels, odd sizes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topwork.copies import Copies, members
from topwork.features.extract import Extraction
from topwork.heads.suspects import suspect_labels

Labels = NDArray[np.int64]

SMALL_CLASS = 10
"""Pictures below which a class is called very small."""
UNEQUAL = 10.0
"""Ratio of the largest to the smallest class from which classes are called very unequal."""
SMALL_SIDE = 32
LONG_SHAPE = 4.0


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
    warnings: list[str] = field(default_factory=list)
    """What could not be looked at, and what was taken for granted."""

    def to_config(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


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
            for group in members(copies.groups)
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
        warnings=[*records.notes, *found.warnings],
    )


def _leaks(found: Extraction, copies: Copies, paths: list[str]) -> list[dict[str, str]]:
    """A test picture and a training picture of the same group, one entry per test picture."""
    splits = [row.split for row in found.records]
    leaks = []
    for group in members(copies.groups):
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
