"""What a picture goes through before the network sees it in each step, so that its class does not hang on single pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Transforms:
    """Random views of pictures. All 0 (and crop 1): the whole picture as it is."""

    crop: float = 0.35
    """Least side of the square that is cut out, as a share of the picture's side; the largest is 1. At the beginning."""
    last_crop: float = 0.6
    """The same at the end: first parts of the class appear everywhere, then they become one picture."""
    flip: bool = True
    """Mirror half of the views."""
    turn: float = 0.2
    """Largest rotation, in radians."""
    noise: float = 0.1
    """Deviation of noise that is added."""


PLAIN = Transforms(crop=1.0, last_crop=1.0, flip=False, turn=0.0, noise=0.0)


def view(images: Tensor, size: int, settings: Transforms, generator: torch.Generator, done: float = 0.0) -> Tensor:
    """One random view (N, 3, size, size) of each of the images (N, 3, H, W), `done` of the way; differentiable."""
    count, side = len(images), images.shape[2]
    if side > 2 * size:  # sampling points that lie far apart would miss what is between them
        images = torch.nn.functional.interpolate(images, size=2 * size, mode="bilinear", antialias=True, align_corners=False)
        side = 2 * size
    if settings == PLAIN and side == size:
        return images

    def drawn(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    least = settings.crop + (settings.last_crop - settings.crop) * done
    crop, angle = drawn(least, 1.0), drawn(-settings.turn, settings.turn)
    mirror = torch.where(drawn(0, 1) < 0.5, -1.0, 1.0) if settings.flip else torch.ones(count)
    across, down = (drawn(-1, 1) * (1 - crop) for _ in range(2))
    cosine, sine = crop * angle.cos(), crop * angle.sin()
    grid = torch.stack([mirror * cosine, -sine, across, mirror * sine, cosine, down], 1).view(count, 2, 3)
    places = torch.nn.functional.affine_grid(grid, [count, 3, size, size], align_corners=False)
    seen = torch.nn.functional.grid_sample(images, places, mode="bilinear", padding_mode="reflection", align_corners=False)
    if settings.noise:
        seen = seen + settings.noise * torch.randn(seen.shape, generator=generator)
    return seen
