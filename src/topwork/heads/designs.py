"""Features as a head sees them: some columns of a table, transformed and standardised, in memory while small."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from topwork.features.table import FeatureTable

Float32 = NDArray[np.float32]
Columns = NDArray[np.int64]

CACHE_BYTES = 128 * 2**20
"""Standardised features up to this size are kept in memory; beyond, they are made anew from the table block by block."""


def transformed(features: Float32, transform: str) -> Float32:
    """A copy of features (N, D) after `transform`: "none", "sqrt" (signed square root) or "unit" (rows of length one)."""
    if transform == "sqrt":
        return np.copysign(np.sqrt(np.abs(features)), features)
    if transform == "unit":
        length = np.sqrt(np.einsum("nd,nd->n", features, features))[:, None]
        return np.asarray(features / np.maximum(length, np.float32(1e-12)), np.float32)
    return features.copy()


@dataclass
class Design:
    """One view of a table as a head sees it: columns, transform, then mean 0 and deviation 1; a last column of ones."""

    table: FeatureTable
    columns: Columns
    transform: str
    mean: Float32
    scale: Float32
    """1 / standard deviation (D,), 0 where a column never changes."""
    rows: NDArray[np.int64] | None = None
    """Only these rows of the table, or all."""
    _cache: Float32 | None = field(default=None, repr=False)

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D), the column of ones not counted."""
        return len(self.table) if self.rows is None else len(self.rows), len(self.columns)

    def standardise(self, features: Float32) -> Float32:
        """Rows of the whole table (n, D_full) -> (n, D + 1)."""
        part = transformed(features[:, self.columns], self.transform)
        out = np.empty((len(part), len(self.columns) + 1), np.float32)
        np.subtract(part, self.mean, out=out[:, :-1])
        out[:, :-1] *= self.scale
        out[:, -1] = 1
        return out

    def blocks(self) -> Iterator[tuple[int, Float32]]:
        """(first row, standardised rows (n, D + 1)) from top to bottom."""
        count, width = self.shape
        if self._cache is None and count * (width + 1) * 4 <= CACHE_BYTES:
            self._cache = np.empty((count, width + 1), np.float32)
            for start, block in _raw_blocks(self.table, self.rows):
                self._cache[start : start + len(block)] = self.standardise(block)
        if self._cache is not None:
            yield 0, self._cache
            return
        for start, block in _raw_blocks(self.table, self.rows):
            yield start, self.standardise(block)


def _raw_blocks(table: FeatureTable, rows: NDArray[np.int64] | None) -> Iterator[tuple[int, Float32]]:
    if rows is None:
        yield from table.blocks()
        return
    step = max(1, 16 * 2**20 // (table.shape[1] * 4))
    for start in range(0, len(rows), step):
        yield start, table.take(rows[start : start + step])


def design(table: FeatureTable, columns: Columns, transform: str, rows: NDArray[np.int64] | None = None) -> Design:
    """The view `columns` of a table, standardised by its own mean and deviation (two passes, float64 sums)."""
    width = len(columns)
    count = max(len(table) if rows is None else len(rows), 1)
    total = np.zeros(width)
    for _, block in _raw_blocks(table, rows):
        total += transformed(block[:, columns], transform).sum(0, dtype=np.float64)
    mean = (total / count).astype(np.float32)
    square = np.zeros(width)
    for _, block in _raw_blocks(table, rows):
        part = transformed(block[:, columns], transform)
        part -= mean
        part *= part
        square += part.sum(0, dtype=np.float64)
    deviation = np.sqrt(square / count)
    # A column that hardly moves beside its own size holds rounding, not news.
    alive = deviation > 1e-5 * np.abs(mean) + 1e-9
    scale = np.divide(1.0, deviation, out=np.zeros(width), where=alive)
    return Design(table, columns, transform, mean, scale.astype(np.float32), rows)
