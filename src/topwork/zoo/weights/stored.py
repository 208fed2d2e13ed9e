"""What a weight file declares, before any of it is read; and the one way its numbers are read."""

from __future__ import annotations

import io
import math
import zlib
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

ITEM_SIZES = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint32": 4,
    "uint8": 1,
    "bool": 1,
}
"""Bytes of one number of each type that is read."""

BYTES_MOST = 64 << 30
"""The largest networks of timm have 18 GB."""
TENSORS_MOST = 50_000
NAME_LONGEST = 1_000
AXES_MOST = 16
TENSORS_ALONE = (
    "Save the network's tensors alone, in the program that made it: "
    "safetensors.torch.save_file(network.state_dict(), 'NAME.safetensors')"
)
LENGTH_MOST = 1 << 48
"""No length, place or step is as large."""
_PIECE = 1 << 20


class Refused(Exception):
    """Why a file is not read; `open_weights` tells it as a WeightsError with the file's name."""


@dataclass(frozen=True)
class Record:
    """Bytes of a file that have a checksum of their own."""

    offset: int
    size: int
    crc: int


@dataclass(frozen=True)
class Stored:
    """One tensor as its file declares it: where its numbers are and what they mean."""

    dtype: str
    shape: tuple[int, ...]
    offset: int
    """Of its first byte in the file."""
    strides: tuple[int, ...] | None = None
    """Steps in numbers along each axis; None where the numbers lie in order."""
    record: Record | None = None

    @property
    def count(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def extent(self) -> int:
        """How many numbers there are from its first to its last."""
        if self.strides is None or self.count == 0:
            return self.count
        return 1 + sum((length - 1) * step for length, step in zip(self.shape, self.strides, strict=True))


class Bytes:
    """A file's bytes; nothing outside them is ever asked for."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        try:
            self.size = handle.seek(0, io.SEEK_END)
        except OSError as error:  # some files of the system have no end
            raise Refused(f"it cannot be read: {error.strerror or error}") from error

    def take(self, offset: int, count: int, what: str) -> bytes:
        """`count` bytes from `offset`. Raises Refused where the file has fewer."""
        data = bytearray(self._inside(offset, count, what))
        self._fill(memoryview(data), offset, what)
        return bytes(data)

    def numbers(self, stored: Stored, what: str) -> NDArray[Any]:
        """The numbers of a tensor, in its shape. bfloat16 is widened to float32, which loses nothing."""
        kind = np.dtype({"bfloat16": "uint16", "bool": "uint8"}.get(stored.dtype, stored.dtype)).newbyteorder("<")
        try:
            flat: NDArray[Any] = np.empty(stored.extent, dtype=kind)
        except MemoryError as error:
            raise Refused(f"{what} needs {stored.extent * kind.itemsize} bytes of memory, which there are not") from error
        if flat.size:
            self._inside(stored.offset, flat.nbytes, what)
            self._fill(flat.view(np.uint8).data, stored.offset, what)
        if stored.dtype == "bfloat16":
            flat = (flat.astype(np.uint32) << np.uint32(16)).view(np.float32)
        elif stored.dtype == "bool":
            flat = flat != 0
        if stored.strides is None or flat.size == 0:
            return flat.reshape(stored.shape)
        steps = tuple(step * flat.itemsize for step in stored.strides)
        strided: NDArray[Any] = np.lib.stride_tricks.as_strided(flat, stored.shape, steps, writeable=False)
        return flat[: strided.size].reshape(stored.shape) if strided.flags.c_contiguous else strided.copy(order="C")

    def check(self, record: Record, what: str) -> None:
        """Raise Refused unless the record's bytes have its checksum."""
        found, place, end = 0, record.offset, record.offset + record.size
        while place < end:
            piece = self.take(place, min(_PIECE, end - place), what)
            found, place = zlib.crc32(piece, found), place + len(piece)
        if found != record.crc:
            raise Refused(f"the checksum of {what} is not the one the file states: it is damaged")

    def _inside(self, offset: int, count: int, what: str) -> int:
        """`count`, where there are as many bytes."""
        if offset < 0 or count < 0 or offset + count > self.size:
            raise Refused(f"it is cut off or damaged: {what} would lie outside of its {self.size} bytes")
        return count

    def _fill(self, room: memoryview, offset: int, what: str) -> None:
        try:
            self._handle.seek(offset)
            done = 0
            while done < len(room):
                got = self._handle.readinto(room[done:])  # type: ignore[attr-defined]
                if not got:
                    raise Refused(f"it ends in the middle of {what}")
                done += got
        except OSError as error:
            raise Refused(f"it cannot be read: {error.strerror or error}") from error


def check_directory(tensors: dict[str, Stored], size: int) -> None:
    """Raise Refused unless every tensor lies in the file, and all together declare no more than the file can hold."""
    if not tensors:
        raise Refused("it holds no tensors")
    if len(tensors) > TENSORS_MOST:
        raise Refused(f"it declares {len(tensors)} tensors, more than the {TENSORS_MOST} that any network has")
    if size > BYTES_MOST:
        raise Refused(f"it has {size} bytes, more than any network here")
    declared = 0
    for name, stored in tensors.items():
        told = short(name)
        if not name or len(name) > NAME_LONGEST or not name.isprintable():
            raise Refused(f"one of its tensors has no proper name: '{told}'")
        if stored.dtype not in ITEM_SIZES:
            raise Refused(f"{told} is of the type {short(stored.dtype)}, which no network here has")
        if len(stored.shape) > AXES_MOST or not all(0 <= length < LENGTH_MOST for length in stored.shape):
            raise Refused(f"{told} has an impossible shape")
        if stored.strides is not None and (len(stored.strides) != len(stored.shape) or min(stored.strides, default=0) < 0):
            raise Refused(f"{told} has impossible strides")
        if stored.count > stored.extent:
            raise Refused(f"{told} declares {stored.count} numbers where {stored.extent} are stored")
        item = ITEM_SIZES[stored.dtype]
        if stored.offset < 0 or stored.offset + stored.extent * item > size:
            raise Refused(f"{told} would lie outside of the file's {size} bytes")
        declared += stored.extent * item
    if declared > 2 * size:  # a few tensors may share their numbers
        raise Refused(f"its tensors declare {declared} bytes, and it has {size}")


def short(text: str, most: int = 80) -> str:
    """A text out of a file, fit for a message."""
    cut = text if len(text) <= most else text[: most - 3] + "..."
    return cut if cut.isprintable() else cut.encode("unicode_escape").decode()[: 2 * most]
