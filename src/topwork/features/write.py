"""Features as a file for other programs: NumPy's .npz, or Parquet."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy

from topwork.errors import InputError
from topwork.features.extract import Extraction
from topwork.runtime import publishing
from topwork.zoo.spec import BackboneSpec


def check_out(out: Path) -> None:
    """Raise InputError, before any work is done, unless `out` can name a file of features."""
    if out.suffix not in (".npz", ".parquet"):
        raise InputError(f"{out}: expected a name that ends in .npz or .parquet.")
    if not out.parent.is_dir():
        raise InputError(f"{out}: the folder {out.parent} does not exist.")


def write_features(found: Extraction, spec: BackboneSpec, out: Path) -> None:
    """Write path, label, sha256 and features (N, D) of every usable picture to `out`, in one step, block by block.

    Raises StorageError; then `out` is as it was.
    """
    # A file's name may be no text at all: then its bytes are spelled out.
    paths = [str(path).encode("utf-8", "backslashreplace").decode() for path in found.records.paths]
    labels = [row.label or "" for row in found.records]
    with publishing(out) as file:
        (_write_npz if out.suffix == ".npz" else _write_parquet)(found, spec, paths, labels, file)


def _write_npz(found: Extraction, spec: BackboneSpec, paths: list[str], labels: list[str], file: BinaryIO) -> None:
    # numpy.savez wants the whole array at once; the format is a ZIP of .npy files.
    small = {"paths": paths, "labels": labels, "sha256": found.sha256, "fingerprint": spec.fingerprint}
    with zipfile.ZipFile(file, "w") as archive:
        with archive.open("features.npy", "w", force_zip64=True) as entry:
            shape = {"descr": "<f4", "fortran_order": False, "shape": found.table.shape}
            npy.write_array_header_1_0(entry, shape)
            for _, rows in found.table.blocks():
                entry.write(np.ascontiguousarray(rows, "<f4").data)
        for name, values in small.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                npy.write_array(entry, np.asarray(values), allow_pickle=False)


def _write_parquet(found: Extraction, spec: BackboneSpec, paths: list[str], labels: list[str], file: BinaryIO) -> None:
    import pyarrow
    from pyarrow import parquet

    texts = {"path": paths, "label": labels, "sha256": found.sha256}
    width = pyarrow.list_(pyarrow.float32(), spec.width)
    fields = [*((name, pyarrow.string()) for name in texts), ("features", width)]
    schema = pyarrow.schema(fields, metadata={"topwork": spec.fingerprint})
    with parquet.ParquetWriter(file, schema) as writer:
        for start, rows in found.table.blocks():
            columns = [values[start : start + len(rows)] for values in texts.values()]
            features = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(rows.ravel()), spec.width)
            writer.write_table(pyarrow.table([*columns, features], schema=schema))
