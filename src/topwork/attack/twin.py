"""The differentiable twin of the way from a file's pixels to a network's input: crop, resize, round, exactly as Pillow does it.

Pillow resizes 8-bit pictures row by row, rounds, then column by column, and rounds again, or the other way round. Both passes
are linear, so each is a matrix, read off Pillow's own filter; between and after them values are rounded to 8 bits. The gradient
passes through the rounding as if it were not there, and not at all where a value was cut at 0 or 255 (Bengio 2013).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from topwork.pictures.decode import FILTERS, Geometry, kept_box

COLUMNS = 32
"""The columns of a resizing matrix that are multiplied at once: each needs only the pixels near it."""

ROWS = 512
"""The rows of the unit matrix that Pillow resizes at once, to read its filter off."""


@dataclass(frozen=True, eq=False)
class Resizing:
    """One pass of a resize: a matrix (length, size) of which each block of columns needs only the rows first to last."""

    blocks: tuple[tuple[int, int, int, int, Tensor], ...]
    """(first row, last row, first column, last column, part of the matrix)."""
    size: int

    def __call__(self, values: Tensor) -> Tensor:
        """(..., length) -> (..., size)."""
        return torch.cat([values[..., first:last] @ part for first, last, _, _, part in self.blocks], dim=-1)

    def back(self, gradient: Tensor, length: int) -> Tensor:
        """The gradient (..., length) to the values from the one to the result (..., size)."""
        found = gradient.new_zeros(*gradient.shape[:-1], length)
        for first, last, left, right, part in self.blocks:
            found[..., first:last] += gradient[..., left:right] @ part.T
        return found


def resizing(length: int, size: int, low: float, high: float, interpolation: str) -> Resizing:
    """What Pillow's resize of the stretch `low` to `high` of `length` values to `size` does to them."""
    chosen = FILTERS[interpolation]
    matrix = np.empty((length, size), np.float32)
    for start in range(0, length, ROWS):
        rows = min(ROWS, length - start)
        unit = np.eye(rows, length, k=start, dtype=np.float32)
        matrix[start : start + rows] = np.asarray(Image.fromarray(unit).resize((size, rows), chosen, box=(low, 0, high, rows)))
    return Resizing(tuple(_blocks(matrix)), size)


def _blocks(matrix: NDArray[np.float32]) -> list[tuple[int, int, int, int, Tensor]]:
    found = []
    for left in range(0, matrix.shape[1], COLUMNS):
        part = matrix[:, left : left + COLUMNS]
        used = np.flatnonzero(part.any(1))
        first, last = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
        tensor = torch.from_numpy(np.ascontiguousarray(part[first:last]))
        found.append((first, last, left, left + part.shape[1], tensor))
    return found


@dataclass(frozen=True, eq=False)
class Twin:
    """One look of a network at photos of one size."""

    first: Resizing
    second: Resizing
    down_first: bool
    """Whether `first` is the pass over columns of pixels; Pillow takes the passes in either order."""
    mirrored: bool

    def see(self, photo: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(image (3, size, size), what `back` needs) of a photo (3, H, W) of 8-bit values in [0, 1]."""
        values = self._turned(photo * 255)
        once = self.first(values)
        middle = once.add(0.5).floor_().clamp_(0, 255)  # halves upwards, as Pillow does
        twice = self.second(middle.transpose(1, 2))
        image = self._turned(twice.add(0.5).floor_().clamp_(0, 255).transpose(1, 2) / 255)
        kept = ((once >= 0) & (once <= 255), (twice >= 0) & (twice <= 255))
        return image.flip(2) if self.mirrored else image.contiguous(), kept

    def back(self, gradient: Tensor, kept: tuple[Tensor, Tensor], height: int, width: int) -> Tensor:
        """The gradient (3, H, W) to the photo from the one to the image (3, size, size)."""
        gradient = gradient.flip(2) if self.mirrored else gradient
        across, down = (height, width) if self.down_first else (width, height)
        twice = self._turned(gradient).transpose(1, 2) * kept[1]
        once = self.second.back(twice, down).transpose(1, 2) * kept[0]
        return self._turned(self.first.back(once, across))

    def _turned(self, values: Tensor) -> Tensor:
        return values.transpose(1, 2) if self.down_first else values


def twin(width: int, height: int, geometry: Geometry, second: bool = False) -> Twin:
    """The way of photos of width x height; `second`: of the second look that some heads want."""
    geometry = replace(geometry, crop=1.0) if second else geometry
    left, top, right, bottom = kept_box(width, height, geometry)
    across = resizing(width, geometry.size, left, right, geometry.interpolation)
    down = resizing(height, geometry.size, top, bottom, geometry.interpolation)
    if _across_first(width, height, geometry):
        return Twin(across, down, False, second)
    return Twin(down, across, True, second)


def _across_first(width: int, height: int, geometry: Geometry) -> bool:
    """The order in which Pillow takes the two passes of this resize, asked of Pillow itself."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8))
    left, top, right, bottom = kept_box(width, height, geometry)
    size, chosen = geometry.size, FILTERS[geometry.interpolation]
    whole = noise.resize((size, size), chosen, box=(left, top, right, bottom))
    across = noise.resize((size, height), chosen, box=(left, 0, right, height))
    both = across.resize((size, size), chosen, box=(0, top, size, bottom))
    return bool(np.array_equal(np.asarray(both), np.asarray(whole)))
