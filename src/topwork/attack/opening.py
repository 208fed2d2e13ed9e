"""The victim that a subject makes: it is searched by the fast gradient of its frozen network, and float32 torch confirms."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from topwork.attack.losses import Loss
from topwork.attack.photos import TwoLooks
from topwork.attack.subject import Subject
from topwork.attack.victim import Network, blocks, cotangent
from topwork.frozen.gradient import FrozenGradient, frozen_gradient
from topwork.grafted import Grafted

PRECISION = "f32"
"""Of the search. In bf16 the gradient of a small change drowns in rounding, and a weak search looks like a strong network."""


def input_victim(subject: Subject) -> Network:
    """The victim that is attacked at the network's input."""
    search, classes = subject.search, len(subject.classes)
    frozen = frozen_gradient(search, search.spec.geometry.size, precision=PRECISION, note=_note(search))

    def loss_gradient(images: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
        linear, entropy = loss.linear(frozen.logits(images) if loss.needs_logits else None, classes)
        return frozen(images, linear, entropy)

    return Network(subject.graft, loss_gradient, frozen.logits, classes)


def photo_network(subject: Subject) -> Network | TwoLooks:
    """What photos are attacked through: both looks where the head was fitted on the mean of two."""
    if not subject.graft.mirrored:
        return input_victim(subject)
    backbone = subject.graft.backbone
    frozen = frozen_gradient(backbone, backbone.spec.geometry.size, precision=PRECISION, note=_note(subject.graft))
    return Looks(subject.graft, subject.search, frozen)


def _note(graft: Grafted) -> str:
    return f"{graft.spec.id} {graft.mirrored}"


@dataclass(frozen=True, eq=False)
class Looks:
    """A head on the mean of the features of two looks; the features' gradient is the frozen backbone's, the head's torch's."""

    graft: Grafted
    search: Grafted
    frozen: FrozenGradient

    @property
    def classes(self) -> int:
        """See Victim."""
        return len(self.graft.classes)

    def gradient(self, first: Tensor, second: Tensor, loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
        """See TwoLooks."""
        features = self._features(first, second).requires_grad_(True)
        with torch.enable_grad():
            logits = self._head(features)
        (slope,) = torch.autograd.grad(logits, features, cotangent(logits.detach(), loss))
        return logits.detach(), self.frozen(first, slope * 0.5)[1], self.frozen(second, slope * 0.5)[1]

    def logits(self, first: Tensor, second: Tensor) -> Tensor:
        """See TwoLooks."""
        with torch.no_grad():
            return self._head(self._features(first, second))

    def exact(self, first: Tensor, second: Tensor) -> Tensor:
        """See TwoLooks."""
        with torch.no_grad():
            parts = zip(blocks(first), blocks(second), strict=True)
            return torch.cat([self.graft(one, other) for one, other in parts])

    def _features(self, first: Tensor, second: Tensor) -> Tensor:
        return (self.frozen.logits(first) + self.frozen.logits(second)) * 0.5

    def _head(self, features: Tensor) -> Tensor:
        if self.search.head is None:
            raise ValueError("only a head is fitted on two looks")
        logits: Tensor = self.search.head(features)
        return logits
