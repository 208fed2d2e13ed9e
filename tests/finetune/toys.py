"""A small network and its data: what tests of the loop learn with."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from topwork.finetune.ground import Ground

PICTURES, SIDE, CLASSES = 120, 6, 3


class ToyData:
    """Rows that their number and view alone decide: a class is a place in the map."""

    def __init__(self, views: int = 2) -> None:
        self.views = views
        self.layout = (0, SIDE, SIDE, 4)
        self.asked: list[NDArray[np.int64]] = []

    def ensure(self, pictures: NDArray[np.int64], views: NDArray[np.int64]) -> None:
        self.asked.append(views)

    def batch(self, pictures: NDArray[np.int64], views: NDArray[np.int64]) -> Tensor:
        rows = torch.empty(len(pictures), SIDE * SIDE * 4)
        for place, (picture, view) in enumerate(zip(pictures, views, strict=True)):
            maps = np.random.default_rng([int(picture), int(view)]).standard_normal((SIDE, SIDE, 4))
            maps[:, :, picture % CLASSES] += 0.7
            rows.numpy()[place] = maps.reshape(-1)
        return rows


class ToyNetwork(nn.Module):
    """A convolution, batch normalisation and a head."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.behind = nn.Sequential(nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3))
            self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(8, CLASSES))

    def forward(self, rows: Tensor) -> Tensor:
        maps = rows.view(-1, SIDE, SIDE, 4).permute(0, 3, 1, 2)
        logits: Tensor = self.head(self.behind(maps).mean((2, 3)))
        return logits


def toy_ground(seed: int = 0) -> Ground:
    """80 pictures to learn from, 40 that choose."""
    labels = np.arange(PICTURES) % CLASSES
    return Ground(ToyData(), labels, np.arange(80), np.arange(80, PICTURES), CLASSES, seed, "cpu", ("behind.",))
