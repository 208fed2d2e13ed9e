"""Features of many pictures, read in blocks: in memory while small, in a scratch file beyond."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from topwork.runtime import storage_error

Float32 = NDArray[np.float32]

MEMORY_LIMIT = 32 * 2**20
"""Bytes a table keeps in memory; what goes beyond lives in an unnamed temporary file."""

BLOCK_BYTES = 16 * 2**20
"""Bytes of one block that `blocks` yields."""


class FeatureTable:
    """A growing float32 table (N, D), written once row block by row block, then read in blocks.

    Memory stays flat however large N grows, so whoever fits on it must work block by block too.
    """

    def __init__(self, width: int) -> None:
        self._file: IO[Any] | None = None
        self._width = width
        self._rows = 0
        self._parts: list[Float32] = []
        self._lock = Lock()  # the file has one place, and threads share the table

    @classmethod
    def of(cls, features: Float32) -> FeatureTable:
        """A table that holds the rows of `features` (N, D)."""
        table = cls(features.shape[1])
        table.append(features)
        return table

    @property
    def shape(self) -> tuple[int, int]:
        """(N, D)."""
        return self._rows, self._width

    def __len__(self) -> int:
        return self._rows

    def append(self, rows: Float32) -> None:
        """Add rows (n, D) at the end."""
        rows = np.ascontiguousarray(rows, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != self._width:
            raise ValueError(f"expected rows (n, {self._width}), got {rows.shape}")
        self._rows += len(rows)
        if self._file is None and self._rows * self._width * 4 <= MEMORY_LIMIT:
            self._parts.append(rows)
            return
        if self._file is None:
            # Unbuffered: a full disk is told here, not by whoever reads next.
            self._file = tempfile.TemporaryFile(prefix="topwork-", buffering=0)  # noqa: SIM115 - lives as long as the table
            for part in self._parts:
                self._write(self._file, part)
            self._parts = []
        self._write(self._file, rows)

    def _write(self, file: IO[Any], rows: Float32) -> None:
        """Add rows (n, D) at the end of the scratch file. Raises StorageError."""
        left = rows.reshape(-1).view(np.uint8).data
        with self._lock:
            try:
                file.seek(0, 2)
                while left:
                    left = left[file.write(left) :]
            except OSError as error:
                raise storage_error(Path(tempfile.gettempdir()), error) from error

    def read(self, start: int, stop: int) -> Float32:
        """Rows start..stop as a new or shared array (n, D); do not write into it."""
        start, stop = max(start, 0), min(stop, self._rows)
        if self._file is None:
            return self._whole()[start:stop]
        out = np.empty((max(stop - start, 0), self._width), np.float32)
        left = out.reshape(-1).view(np.uint8).data
        with self._lock:
            self._file.seek(start * self._width * 4)
            while left and (got := self._file.readinto(left)):  # type: ignore[attr-defined]
                left = left[got:]
        if left:
            raise OSError(f"scratch file: {len(left)} of {out.nbytes} bytes are missing")
        return out

    def take(self, rows: NDArray[np.integer]) -> Float32:
        """The named rows (n, D), in the order asked for."""
        if self._file is None:
            chosen: Float32 = self._whole()[rows]
            return chosen
        out = np.empty((len(rows), self._width), np.float32)
        for place, row in enumerate(rows):
            out[place] = self.read(int(row), int(row) + 1)[0]
        return out

    def blocks(self) -> Iterator[tuple[int, Float32]]:
        """(first row, rows) from top to bottom."""
        step: int = max(1, BLOCK_BYTES // (self._width * 4))
        for start in range(0, self._rows, step):
            yield start, self.read(start, start + step)

    def __del__(self) -> None:
        if self._file is not None:
            self._file.close()

    def subset(self, rows: NDArray[np.integer]) -> FeatureTable:
        """A new table with the named rows, in the order asked for."""
        out = FeatureTable(self._width)
        step: int = max(1, BLOCK_BYTES // (self._width * 4))
        for start in range(0, len(rows), step):
            out.append(self.take(rows[start : start + step]))
        return out

    def _whole(self) -> Float32:
        if len(self._parts) != 1:
            self._parts = [np.concatenate(self._parts) if self._parts else np.empty((0, self._width), np.float32)]
        return self._parts[0]


def stacked(*tables: FeatureTable) -> FeatureTable:
    """A new table with the rows of all tables, one after the other."""
    out = FeatureTable(tables[0].shape[1])
    for table in tables:
        for _, rows in table.blocks():
            out.append(rows)
    return out
