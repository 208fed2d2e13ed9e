"""What a run learns from: pictures, labels, who chooses, and what makes every batch harder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Rows = NDArray[np.int64]


class Data(Protocol):
    """Where batches come from."""

    views: int

    def ensure(self, pictures: Rows, views: Rows) -> None:
        """Make what is not there yet."""
        ...

    def batch(self, pictures: Rows, views: Rows) -> Tensor:
        """Rows (n, width)."""
        ...


Harden = Callable[[nn.Module, Tensor, Tensor | None, float, torch.Generator], Tensor]
"""(model, rows, labels, share, generator) -> rows changed so that the model's loss rises: against labels (n,), or, where these
are None, against what the model itself finds likeliest. share: of the full strength."""


@dataclass(frozen=True)
class Ground:
    """What a run learns from."""

    data: Data
    labels: Rows
    """(N,) of all pictures."""
    train: Rows
    validation: Rows
    """Choose the epoch whose weights are kept. None of them: the last are."""
    classes: int
    seed: int = 0
    device: str = "cpu"
    blocks: tuple[str, ...] = ()
    """Name prefixes of the blocks that learn, in order of depth."""
    start_counts: bool = True
    """Whether the start may be what is kept, where no epoch is better."""
    harden: Harden | None = None
    """Changes every batch for the worse: what learns, learns from attacked pictures, and is validated on attacked ones."""
