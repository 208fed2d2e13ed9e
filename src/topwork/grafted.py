"""A whole classifier as one torch network, so that gradients reach the picture: for look, explain, ideal, attack and export.

A bundle's backbone (from its own backbone.safetensors) with its head, or a backbone with the classes it was trained on.
"""

from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from topwork.classifier import Classifier
from topwork.errors import BundleError, InputError
from topwork.heads.head import Head
from topwork.heads.neighbours import LEAST_VOTE, SHARPNESS, NeighbourHead
from topwork.zoo import load_backbone
from topwork.zoo.backbone import Backbone
from topwork.zoo.spec import BackboneSpec

LEAST_ROOT = 1e-8
"""Below this size of a feature the gradient of its square root, infinite at 0, is taken as 0."""


class Grafted(nn.Module):
    """A classifier as one network. images (N, 3, H, W) in [0, 1] -> logits (N, K), whose softmax are its probabilities.

    Where the head was fitted on the mean of two looks (`mirrored`), the second one is the mirror image of `images`, unless the
    caller passes it: `topwork.features.extract.second_look` has a margin that `images` have lost.
    """

    def __init__(self, backbone: Backbone, head: nn.Module | None, classes: tuple[str, ...], mirrored: bool = False) -> None:
        super().__init__()
        self.backbone, self.head, self.classes, self.mirrored = backbone, head, classes, mirrored
        self.eval()
        for parameter in self.parameters():
            parameter.requires_grad_(False)

    def extra_repr(self) -> str:
        """What decides the answers and is no tensor."""
        return f"{self.spec.fingerprint}, mirrored={self.mirrored}"

    @property
    def spec(self) -> BackboneSpec:
        """What is known of the backbone."""
        return self.backbone.spec

    def forward(self, images: Tensor, second: Tensor | None = None) -> Tensor:
        """Logits (N, K) of images (N, 3, H, W) in [0, 1]; `second` (N, 3, H, W): the second look, where the head wants one."""
        if self.head is None:
            answers: Tensor = self.backbone.logits(images)
            return answers
        features: Tensor = self.backbone(images)
        if self.mirrored:
            features = (features + self.backbone(images.flip(3) if second is None else second)) * 0.5
        logits: Tensor = self.head(features)
        return logits

    def probs(self, images: Tensor, second: Tensor | None = None) -> Tensor:
        """Probabilities (N, K) as the classifier gives them."""
        logits: Tensor = self(images, second)
        return logits.softmax(1)


class LinearHead(nn.Module):
    """A bundle's head in torch. features (N, D_full) -> logits (N, K), after the temperature.

    Before it they may be a thousand times as large: then a cross-entropy has no gradient left, and an attack finds nothing.
    """

    columns: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.transform = head.transform
        self.register_buffer("columns", torch.from_numpy(head.columns))
        self.first = _first_of_run(head.columns)
        self.register_buffer("weight", torch.from_numpy(head.weight / np.float32(head.temperature)))
        self.register_buffer("bias", torch.from_numpy(head.bias / np.float32(head.temperature)))

    def extra_repr(self) -> str:
        """What decides the answers and is no tensor."""
        return self.transform

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, K) of full features (N, D_full)."""
        seen = transformed(_seen(features, self.columns, self.first), self.transform)
        return nn.functional.linear(seen, self.weight, self.bias)


class VotingHead(nn.Module):
    """A head of nearest neighbours in torch. features (N, D_full) -> logits (N, K), after the temperature.

    With `every`, all references vote and not only the nearest: then each class has a gradient everywhere, which the exact
    answer has not; near a class's own pictures both say the same.
    """

    columns: Tensor
    references: Tensor
    member: Tensor

    level: bool
    """Logits are told from the nearest picture on. False: it counts as fixed in the gradient, so that each class pulls by
    itself; True: the gradient is that of the logits to the letter.
    """

    def __init__(self, head: NeighbourHead, every: bool = False) -> None:
        super().__init__()
        self.level, self.temperature = False, head.temperature
        self.transform = head.transform
        self.count = len(head.references) if every else min(head.neighbours, len(head.references))
        self.register_buffer("columns", torch.from_numpy(head.columns))
        self.first = _first_of_run(head.columns)
        self.register_buffer("references", torch.from_numpy(head.references))
        owners = torch.from_numpy(head.owners)
        self.register_buffer("member", nn.functional.one_hot(owners, head.classes).float())  # (R, K)

    def extra_repr(self) -> str:
        """What decides the answers and is no tensor."""
        return f"{self.transform}, {self.count}, {self.level}, {self.temperature}"

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, K) of full features (N, D_full)."""
        seen = transformed(transformed(_seen(features, self.columns, self.first), self.transform), "unit")
        near = seen @ self.references.T  # (N, R)
        nearest = near.amax(1, keepdim=True)
        weight = torch.exp(SHARPNESS * (near - (nearest if self.level else nearest.detach())))
        if self.count < len(self.references):  # the others have no vote, nor a gradient
            places = near.detach().topk(self.count, dim=1).indices
            weight = weight * torch.zeros_like(near).scatter(1, places, 1.0)
        votes = weight @ self.member
        return torch.log(votes + LEAST_VOTE) / self.temperature


def grafted(source: Classifier | Backbone, every_vote: bool = False) -> Grafted:
    """The network of a classifier or, with its original classes, of a backbone; frozen, in eval mode.

    every_vote: see VotingHead. Raises BundleError where the backbone's file is not the one that the classifier was fitted
    with, and InputError for a backbone without a classifier of its own.
    """
    if isinstance(source, Backbone):
        if not source.spec.classes:
            raise InputError(
                f"{source.spec.id}: this backbone has no classes of its own. Fit a classifier on it and give its bundle."
            )
        return Grafted(source, None, original_classes(source.spec.class_names))
    head = source.head
    module: nn.Module = VotingHead(head, every_vote) if isinstance(head, NeighbourHead) else LinearHead(head)
    return Grafted(backbone_of(source), module, source.classes, head.mirrored)


def backbone_of(classifier: Classifier) -> Backbone:
    """The backbone that a classifier was fitted on, from its own file, or by name where it has none.

    Raises BundleError when the file holds other weights, WeightsError when it cannot be read.
    """
    file = classifier.parts.get("backbone.safetensors")
    backbone = load_backbone(classifier.spec.id, classifier.weights if file is None else str(file))
    wanted, found = classifier.spec, backbone.spec
    parts = ("weights_sha256", "mean", "std", "stages", "dim", "answers", "geometry")
    other = [part for part in parts if getattr(wanted, part) != getattr(found, part)]
    if other:
        raise BundleError(
            f"{file or wanted.id}: not the backbone that this classifier was fitted with ({', '.join(other)} differ). "
            "Take a fresh copy of the bundle, or fit again."
        )
    return backbone


def _first_of_run(columns: NDArray[np.int64]) -> int | None:
    """The first column, where they follow each other without a gap: then a slice does, which is simpler than an index."""
    run = len(columns) > 0 and np.array_equal(columns, np.arange(columns[0], columns[0] + len(columns)))
    return int(columns[0]) if run else None


def _seen(features: Tensor, columns: Tensor, first: int | None) -> Tensor:
    return features[:, columns] if first is None else features[:, first : first + len(columns)]


def transformed(features: Tensor, transform: str) -> Tensor:
    """features (N, D) after the head's transform, as `topwork.heads.designs.transformed` does it, with a finite gradient."""
    if transform == "sqrt":
        return features.sign() * features.abs().clamp_min(LEAST_ROOT).sqrt()
    if transform == "unit":
        return nn.functional.normalize(features, dim=1)
    return features


@cache
def original_classes(names: tuple[str, ...]) -> tuple[str, ...]:
    """A short name for each class a backbone was trained on, from its words: zebra, Egyptian cat. No two are the same."""
    words = [name.split(", ") for name in names]
    often = Counter(some[0] for some in words)
    plain = [some[0] if often[some[0]] == 1 else some[-1] for some in words]
    again = Counter(plain)
    # "crane" is a bird and a machine, and neither has a second name.
    return tuple(name if again[name] == 1 else f"{name} {place}" for place, name in enumerate(plain))
