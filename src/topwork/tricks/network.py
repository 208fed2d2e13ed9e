"""The small network that the tricks are tried on: layers from stored activations to classes, learned from scratch."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from topwork.finetune.learner import initialise


class Crown(nn.Module):
    """Fully connected layers with batch normalisation or without, then a layer to the classes. rows (N, D) -> logits (N, K)."""

    def __init__(
        self, inputs: int, width: int, layers: int, classes: int, norm: bool, start: str, dropout: float, seed: int
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        blocks: list[nn.Module] = []
        for number in range(layers):
            linear = nn.Linear(inputs if number == 0 else width, width)
            blocks.append(nn.Sequential(linear, nn.BatchNorm1d(width) if norm else nn.Identity(), nn.ReLU()))
        self.behind = nn.Sequential(*blocks)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, classes))
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    initialise(module.weight, start, generator)
                    module.bias.zero_()

    def forward(self, rows: Tensor) -> Tensor:
        """Logits (N, K)."""
        logits: Tensor = self.head(self.behind(rows))
        return logits


class Stored:
    """Stored activations (V, N, D) of N pictures in V views, as the training loop asks for them."""

    def __init__(self, rows: NDArray[np.float32]) -> None:
        self.rows = torch.from_numpy(np.ascontiguousarray(rows))
        self.views = len(rows)

    def ensure(self, pictures: NDArray[np.int64], views: NDArray[np.int64]) -> None:
        """All are there."""

    def batch(self, pictures: NDArray[np.int64], views: NDArray[np.int64]) -> Tensor:
        """Rows (n, D)."""
        return self.rows[torch.from_numpy(views), torch.from_numpy(pictures)]


def spread(start: str, norm: bool, rows: NDArray[np.float32], layers: int = 8, width: int = 128, seed: int = 0) -> list[float]:
    """Standard deviation of the activations after each of `layers` fresh layers, for rows (N, D)."""
    network = Crown(rows.shape[1], width, layers, 2, norm, start, 0.0, seed)
    network.train()  # batch normalisation by the batch itself: the network is fresh
    found = []
    inside = torch.from_numpy(np.ascontiguousarray(rows))
    with torch.no_grad():
        for block in network.behind:
            inside = block(inside)
            found.append(float(inside.std()))
    return found
