"""The network under attack: logits, and the gradient of a loss to what the attack changes.

What the attack changes are `points` (N, 3, H, W) in [0, 1]: the network's input itself, or photos at their own resolution
(`topwork.attack.photos`). The search runs on the fast engine; `exact` is float32 torch, and only it says who was fooled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from topwork.attack.losses import Loss

BATCH = 32
"""Pictures sent through a network at once."""


def blocks(points: Tensor) -> Iterator[Tensor]:
    """The points, as many at a time as a network is sent at once."""
    for start in range(0, len(points), BATCH):
        yield points[start : start + BATCH]


class Victim(Protocol):
    """What an attack may ask."""

    @property
    def classes(self) -> int:
        """How many there are."""
        ...

    def gradient(self, points: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
        """(logits (N, K), gradient (N, 3, H, W)) of the sum of the losses; the precision is the search's."""
        ...

    def logits(self, points: Tensor) -> Tensor:
        """Logits (N, K) in the precision of the search."""
        ...

    def exact(self, points: Tensor) -> Tensor:
        """Logits (N, K) by float32 torch."""
        ...

    def allowed(self, change: Tensor) -> Tensor:
        """A change without what lies outside the pictures."""
        ...

    def at(self, rows: Tensor) -> Victim:
        """The victim of some of the pictures; the same one where pictures do not differ for it."""
        ...


LossGradient = Callable[[Tensor, Loss], tuple[Tensor, Tensor]]
"""(logits, gradient of the sum of the losses) of images."""


@dataclass(frozen=True, eq=False)
class Network:
    """A network from images to logits, attacked at its input."""

    module: nn.Module
    loss_gradient: LossGradient
    fast_logits: Callable[[Tensor], Tensor]
    classes: int

    def gradient(self, points: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
        """See Victim."""
        return self.loss_gradient(points, loss)

    def logits(self, points: Tensor) -> Tensor:
        """See Victim."""
        return self.fast_logits(points)

    def exact(self, points: Tensor) -> Tensor:
        """See Victim."""
        with torch.no_grad():
            return torch.cat([self.module(part) for part in blocks(points)])

    def allowed(self, change: Tensor) -> Tensor:
        """See Victim."""
        return change

    def at(self, rows: Tensor) -> Network:
        """See Victim."""
        return self


@dataclass(frozen=True, eq=False)
class Watched:
    """A victim that tells how many gradients it has given."""

    victim: Victim
    told: Callable[[int], None]
    given: list[int] = field(default_factory=lambda: [0])
    """The count, shared by the victims of some of its pictures."""

    @property
    def classes(self) -> int:
        """See Victim."""
        return self.victim.classes

    def gradient(self, points: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
        """See Victim."""
        found = self.victim.gradient(points, loss)
        self.given[0] += len(points)
        self.told(self.given[0])
        return found

    def logits(self, points: Tensor) -> Tensor:
        """See Victim."""
        return self.victim.logits(points)

    def exact(self, points: Tensor) -> Tensor:
        """See Victim."""
        return self.victim.exact(points)

    def allowed(self, change: Tensor) -> Tensor:
        """See Victim."""
        return self.victim.allowed(change)

    def at(self, rows: Tensor) -> Watched:
        """See Victim."""
        return Watched(self.victim.at(rows), self.told, self.given)


def cotangent(logits: Tensor, loss: Loss) -> Tensor:
    """The gradient (n, K) of the sum of the losses to logits (n, K)."""
    linear, entropy = loss.linear(logits, logits.shape[1])
    return linear - entropy * logits.softmax(1)


def network(module: nn.Module, classes: int) -> Network:
    """A victim that torch differentiates; `module` in eval mode, its weights without gradient."""

    def loss_gradient(images: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
        gradients, answers = [], []
        for rows in blocks(torch.arange(len(images))):
            leaf = images[rows].detach().requires_grad_(True)
            with torch.enable_grad():
                logits = module(leaf)
            (gradient,) = torch.autograd.grad(logits, leaf, cotangent(logits.detach(), loss.at(rows)))
            gradients.append(gradient)
            answers.append(logits.detach())
        return torch.cat(answers), torch.cat(gradients)

    def logits_of(images: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([module(part) for part in blocks(images)])

    return Network(module, loss_gradient, logits_of, classes)
