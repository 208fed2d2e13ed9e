"""What a run is between two epochs: its weights, its best and averaged ones, its history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from topwork.errors import StorageError


@dataclass(frozen=True)
class Epoch:
    """What one epoch did; epoch 0 is the start."""

    epoch: int
    train_loss: float | None
    train_accuracy: float | None
    loss: float
    """On the validation pictures, nats; attacked ones where the ground hardens."""
    accuracy: float
    """On the same."""
    rate: float
    """At the end of the epoch."""
    seconds: float
    """Of learning and validation."""
    views_seconds: float
    """Of making views that were not there yet."""


@dataclass
class State:
    """All that a run is, between two epochs."""

    weights: dict[str, Tensor]
    optimiser: dict[str, Any]
    average: dict[str, Tensor] | None
    """Running average of the weights, where there is one."""
    averaged: int
    """Weights that are in the average."""
    best: dict[str, Tensor]
    best_epoch: int
    history: list[Epoch] = field(default_factory=list)
    interrupted: bool = False
    """Whether the keyboard ended it."""
    fault: StorageError | None = None
    """The disk's fault that ended it after its first epoch."""
    share: float = 1.0
    """How far from the first weights (0) to the best (1) those lie that are kept."""

    @property
    def epochs(self) -> int:
        """Epochs that are done."""
        return len(self.history) - 1

    @property
    def whole(self) -> bool:
        """Whether it ended by itself."""
        return not self.interrupted and self.fault is None

    @property
    def best_row(self) -> Epoch:
        """The epoch whose weights are kept."""
        return next(row for row in self.history if row.epoch == self.best_epoch)


def statistics(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Running means and variances of batch normalisation, by name."""
    return [(name, one) for name, one in model.named_buffers() if name.rpartition(".")[2] in ("running_mean", "running_var")]


def on_device(device: torch.device, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights where the run is."""
    return {name: one.to(device) for name, one in weights.items()}


def average_in(state: State, named: Sequence[tuple[str, Tensor]], kept: float) -> None:
    """The average becomes `kept` of itself and the rest of the weights as they are."""
    with torch.no_grad():
        if state.average is None:
            state.average = {name: one.detach().clone() for name, one in named}
        else:
            for name, one in named:
                state.average[name].mul_(kept).add_(one.detach(), alpha=1 - kept)
    state.averaged += 1


def copied(model: nn.Module) -> dict[str, Tensor]:
    """All that learning changes: weights that learn, and statistics."""
    learned = {name for name, one in model.named_parameters() if one.requires_grad}
    learned |= {name for name, _ in statistics(model)}
    return {name: one.detach().clone() for name, one in model.state_dict().items() if name in learned}


def load(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Put back what `copied` gave."""
    model.load_state_dict(weights, strict=False)


def rows_of(history: Sequence[Epoch]) -> list[dict[str, Any]]:
    """As JSON types."""
    return [asdict(row) for row in history]
