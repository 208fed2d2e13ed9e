"""Real photos as networks see them, and how alike two tables of numbers are. Shared by the tests of the zoo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from topwork.pictures.decode import Geometry, Pixels, decode, read_bytes, to_pixels


def photo_files(photos: Path, count: int) -> list[Path]:
    """Some photos of ImageNet classes, from all over the folder."""
    folders = sorted((photos / "imagenet-one-per-class").iterdir())
    return [next(iter(folder.glob("*.jpg"))) for folder in folders[:: len(folders) // count][:count]]


def seen_pixels(files: list[Path], geometry: Geometry) -> Pixels:
    """Pixels (N, size, size, 3) of picture files."""
    return np.stack([to_pixels(decode(read_bytes(file), file.name).image, geometry) for file in files])


def least_cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """The least cosine between a row and the same row of the other table."""
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return float(((first * second).sum(1) / lengths).min())


def drawn_pixels(size: int, count: int = 2) -> Pixels:
    """Coloured noise of large blots, so that pictures differ in what a network looks for."""
    rng = np.random.default_rng(0)
    blots = rng.integers(0, 256, (count, size // 16 + 1, size // 16 + 1, 3), dtype=np.uint8)
    fine = rng.integers(-30, 31, (count, size, size, 3))
    large = blots.repeat(16, 1).repeat(16, 2)[:, :size, :size].astype(np.int64)
    return np.clip(large + fine, 0, 255).astype(np.uint8)
