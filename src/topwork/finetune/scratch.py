"""What comes out of the frozen part, kept on disk while the rest learns: made once, read in any order, gone at the end.

The file has no name in its folder, so that nothing is left of it whatever happens, kill -9 included. It is read and written,
not mapped into memory: pages of a mapping count as memory held, and a full disk would end the process instead of raising.
"""

from __future__ import annotations

import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topwork.errors import StorageError
from topwork.runtime import free_bytes, in_words, make_folder, storage_error

Rows = NDArray[Any]


class Scratch:
    """A table (slots, width) on disk, of one type, written and read by row."""

    def __init__(self, folder: Path, slots: int, width: int, dtype: str = "float16") -> None:
        """Raises StorageError where the folder cannot be written or its disk has too little room."""
        self.slots, self.width, self.dtype = slots, width, np.dtype(dtype)
        self.row_bytes = width * self.dtype.itemsize
        self.folder = make_folder(folder)
        room = free_bytes(folder)
        if room is not None and room < self.size:
            raise StorageError(
                f"{folder}: {in_words(self.size)} of scratch are needed, {in_words(room)} are free. Make room, choose "
                "another folder with --scratch-folder, fewer views, or fewer blocks with --unfreeze."
            )
        try:
            self._file = tempfile.TemporaryFile(prefix="topwork-", dir=folder, buffering=0)  # noqa: SIM115 - lives as long as the table
        except OSError as error:
            raise storage_error(folder, error) from error
        weakref.finalize(self, self._file.close)
        self.written = np.zeros(slots, np.bool_)

    @property
    def size(self) -> int:
        """Bytes on disk when all slots are written."""
        return self.slots * self.row_bytes

    def write(self, slot: int, row: Rows) -> None:
        """Write one row (width,). Raises StorageError on a full or failing disk."""
        if self.dtype == np.float16:
            row = np.clip(row, -65504, 65504)
        data = memoryview(np.ascontiguousarray(row, self.dtype).view(np.uint8).data)
        try:
            self._file.seek(slot * self.row_bytes)
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            raise storage_error(self.folder, error, self.size) from error
        self.written[slot] = True

    def read_into(self, slots: NDArray[np.int64], out: Rows) -> None:
        """Fill out (n, width) with the named rows."""
        for place, slot in enumerate(slots):
            self._file.seek(int(slot) * self.row_bytes)
            data = self._file.read(self.row_bytes)
            if len(data) != self.row_bytes:
                raise StorageError(f"{self.folder}: the scratch file ends early. The disk may be failing.")
            out[place] = np.frombuffer(data, self.dtype)

    def close(self) -> None:
        """Give the room on disk back."""
        self._file.close()
