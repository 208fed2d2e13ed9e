"""Small JPEGs of pictures, for the report."""

from __future__ import annotations

import io
from pathlib import Path

from topwork.pictures.decode import Geometry, decode, read_bytes
from topwork.pictures.reasons import BadPicture

SIDE = 160


def thumbnail(path: str) -> bytes | None:
    """A JPEG of at most 160 pixels a side, or None where the picture cannot be read any more."""
    try:
        image = decode(read_bytes(Path(path)), wanted=Geometry(SIDE)).image
    except BadPicture:
        return None
    image.thumbnail((SIDE, SIDE))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=80)
    return out.getvalue()
