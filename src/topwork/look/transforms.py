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


class Views:
    """Random views of pictures, a new one of each in every step."""

    def __init__(self, size: int, settings: Transforms, generator: torch.Generator) -> None:
        self.size, self.settings, self.generator = size, settings, generator
        self._noise = torch.empty(0)

    def __call__(self, images: Tensor, done: float = 0.0) -> Tensor:
        """One view (N, 3, size, size) of each of the images (N, 3, H, W), `done` of the way; differentiable."""
        settings, size = self.settings, self.size
        count, side = len(images), images.shape[2]
        if side > 2 * size:  # sampling points that lie far apart would miss what is between them
            side = 2 * size
            images = torch.nn.functional.interpolate(images, size=side, mode="bilinear", antialias=True, align_corners=False)
        if settings == PLAIN and side == size:
            return images
        least = settings.crop + (settings.last_crop - settings.crop) * done
        crop, angle = self._drawn(count, least, 1.0), self._drawn(count, -settings.turn, settings.turn)
        mirror = torch.where(self._drawn(count, 0, 1) < 0.5, -1.0, 1.0) if settings.flip else torch.ones(count)
        across, down = (self._drawn(count, -1, 1) * (1 - crop) for _ in range(2))
        cosine, sine = crop * angle.cos(), crop * angle.sin()
        grid = torch.stack([mirror * cosine, -sine, across, mirror * sine, cosine, down], 1).view(count, 2, 3)
        places = torch.nn.functional.affine_grid(grid, [count, 3, size, size], align_corners=False)
        seen = torch.nn.functional.grid_sample(images, places, mode="bilinear", padding_mode="reflection", align_corners=False)
        return seen + self._some_noise(seen) if settings.noise else seen

    def _drawn(self, count: int, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=self.generator)

    def _some_noise(self, like: Tensor) -> Tensor:
        """Drawn once, then read from another place in every step: drawing it anew took as long as some networks."""
        count = like.numel()
        if len(self._noise) < 2 * count:
            self._noise = self.settings.noise * torch.randn(2 * count, generator=self.generator)
        start = int(torch.randint(count + 1, (), generator=self.generator))
        return self._noise[start : start + count].view_as(like)
