"""What the scripts that time a forward pass share: the same pixels of photos for all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BATCH = 32


def pixels_of(folder: str, size: int = 224) -> NDArray[np.uint8]:
    """Pixels (N, size, size, 3) of every picture below a folder."""
    files = sorted(file for file in Path(folder).rglob("*") if file.suffix.lower() in (".jpg", ".jpeg", ".png"))
    return np.stack([np.asarray(Image.open(file).convert("RGB").resize((size, size))) for file in files])
