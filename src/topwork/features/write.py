"""Features as a file for other programs: NumPy's .npz, or Parquet."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from topwork.errors import InputError
from topwork.features.extract import Extraction
from topwork.runtime import publish_file
from topwork.zoo.spec import BackboneSpec


def check_out(out: Path) -> None:
    """Raise InputError, before any work is done, unless `out` can name a file of features."""
    if out.suffix not in (".npz", ".parquet"):
        raise InputError(f"{out}: expected a name that ends in .npz or .parquet.")
    if not out.parent.is_dir():
        raise InputError(f"{out}: the folder {out.parent} does not exist.")


def write_features(found: Extraction, spec: BackboneSpec, out: Path) -> None:
    """Write path, label, sha256 and features (N, D) of every usable picture to `out`, in one step."""
    # A file's name may be no text at all: then its bytes are spelled out.
    paths = [str(path).encode("utf-8", "backslashreplace").decode() for path in found.records.paths]
    labels = [row.label or "" for row in found.records]
    features = found.table.read(0, len(found.table))
    buffer = io.BytesIO()
    if out.suffix == ".npz":
        np.savez(buffer, features=features, paths=paths, labels=labels, sha256=found.sha256, fingerprint=spec.fingerprint)
    else:
        import pyarrow
        from pyarrow import parquet

        rows = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(features.ravel()), spec.width)
        table = pyarrow.table({"path": paths, "label": labels, "sha256": found.sha256, "features": rows})
        parquet.write_table(table.replace_schema_metadata({"topwork": spec.fingerprint}), buffer)
    publish_file(out, buffer.getvalue())
