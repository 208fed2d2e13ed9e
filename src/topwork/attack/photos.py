"""Photos at their own resolution as what an attack changes: their 8-bit values go through the twin into the network.

Photos of several sizes share a batch: each lies in the upper left corner of its place, the rest is 0 and has no gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from topwork.attack.losses import Loss
from topwork.attack.twin import Twin, twin
from topwork.attack.victim import Network
from topwork.pictures.decode import Geometry, Pixels


class TwoLooks(Protocol):
    """A network that wants two looks at a picture, attacked through both."""

    @property
    def classes(self) -> int:
        """How many there are."""
        ...

    def gradient(self, first: Tensor, second: Tensor, loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
        """(logits, gradient to the first look, gradient to the second look)."""
        ...

    def logits(self, first: Tensor, second: Tensor) -> Tensor:
        """Logits (n, K) in the precision of the search."""
        ...

    def exact(self, first: Tensor, second: Tensor) -> Tensor:
        """Logits (n, K) by float32 torch."""
        ...


@dataclass(frozen=True, eq=False)
class Photos:
    """The victim whose points are photos (N, 3, H, W), each seen through the twins of its size."""

    network: Network | TwoLooks
    sizes: tuple[tuple[int, int], ...]
    """(height, width) of each photo."""
    twins: dict[tuple[int, int], tuple[Twin, ...]]
    """By (height, width): the twin of the first look, and of the second where the network wants it."""

    @property
    def classes(self) -> int:
        """See Victim."""
        return self.network.classes

    def gradient(self, points: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
        """See Victim."""
        looks, kept = self._looks(points)
        logits, *gradients = self.network.gradient(*looks, loss)  # type: ignore[arg-type,call-arg]
        found = torch.zeros_like(points)
        for place, (height, width) in enumerate(self.sizes):
            for one, gradient, values in zip(self.twins[height, width], gradients, kept[place], strict=True):
                found[place, :, :height, :width] += one.back(gradient[place], values, height, width)
        return logits, found

    def logits(self, points: Tensor) -> Tensor:
        """See Victim."""
        return self.network.logits(*self._looks(points)[0])

    def exact(self, points: Tensor) -> Tensor:
        """See Victim."""
        return self.network.exact(*self._looks(points)[0])

    def allowed(self, change: Tensor) -> Tensor:
        """See Victim."""
        kept = torch.zeros_like(change)
        for place, (height, width) in enumerate(self.sizes):
            kept[place, :, :height, :width] = change[place, :, :height, :width]
        return kept

    def at(self, rows: Tensor) -> Photos:
        """See Victim."""
        return Photos(self.network, tuple(self.sizes[row] for row in rows.tolist()), self.twins)

    def _looks(self, points: Tensor) -> tuple[list[Tensor], list[list[tuple[Tensor, Tensor]]]]:
        """(each look (N, 3, size, size), what the way back needs for each photo and look)."""
        images: list[list[Tensor]] = []
        kept: list[list[tuple[Tensor, Tensor]]] = []
        for place, (height, width) in enumerate(self.sizes):
            photo = eight_bit(points[place, :, :height, :width])
            seen = [one.see(photo) for one in self.twins[height, width]]
            images.append([image for image, _ in seen])
            kept.append([values for _, values in seen])
        return [torch.stack(look) for look in zip(*images, strict=True)], kept


def photos_victim(network: Network | TwoLooks, pixels: Sequence[Pixels], geometry: Geometry) -> tuple[Photos, Tensor]:
    """(the victim, points (N, 3, H, W)) of pixels (h, w, 3), each of its own size."""
    sizes = tuple((one.shape[0], one.shape[1]) for one in pixels)
    looks = (False,) if isinstance(network, Network) else (False, True)
    twins = {size: tuple(twin(size[1], size[0], geometry, second) for second in looks) for size in sorted(set(sizes))}
    points = torch.zeros(len(pixels), 3, max(height for height, _ in sizes), max(width for _, width in sizes))
    for place, one in enumerate(pixels):
        points[place, :, : one.shape[0], : one.shape[1]] = torch.from_numpy(one.astype(np.float32)).permute(2, 0, 1) / 255
    return Photos(network, sizes, twins), points


def photo_pixels(points: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Pixels]:
    """The 8-bit pixels (h, w, 3) that points (N, 3, H, W) stand for."""
    found = []
    for point, (height, width) in zip(points, sizes, strict=True):
        values = (eight_bit(point[:, :height, :width]) * 255).permute(1, 2, 0)
        found.append(np.ascontiguousarray(values.round().numpy().astype(np.uint8)))
    return found


def eight_bit(photo: Tensor) -> Tensor:
    """The nearest values that a file of 8 bits can hold."""
    return (photo * 255).round() / 255
