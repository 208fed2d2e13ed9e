"""The pictures of `topwork demo`: the handwritten digits that come with scikit-learn, as class folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from topwork.errors import InputError
from topwork.runtime import make_folder, storage_error

PICTURES = 1797
"""All the digits there are."""

TRAINED = 1200
"""Of these, the first so many are for training."""

ENLARGED = 8
"""Each scanned pixel becomes a square of this side, smoothed."""


def write_digits(folder: Path) -> tuple[Path, Path]:
    """Write the digits as PNGs under folder/train and folder/test; returns both. Raises InputError, StorageError."""
    from sklearn.datasets import load_digits

    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: expected a folder to work in, found a file.")
    strange = (
        [path.name for path in folder.iterdir() if path.name not in ("train", "test", "digits.topwork")]
        if folder.exists()
        else []
    )
    if strange:
        raise InputError(f"{folder}: holds other files ({strange[0]}, ...). Choose an empty or a new folder.")
    digits = load_digits()
    for number, (scan, digit) in enumerate(zip(digits.images[:PICTURES], digits.target[:PICTURES], strict=True)):
        place = make_folder(folder / ("train" if number < TRAINED else "test") / str(digit))
        pixels = 255 - np.rint(scan * (255 / 16)).astype(np.uint8)
        side = scan.shape[0] * ENLARGED
        picture = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
        try:
            picture.save(place / f"{number:04d}.png")
        except OSError as error:
            raise storage_error(place, error) from error
    return folder / "train", folder / "test"
