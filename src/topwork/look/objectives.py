"""What is climbed: a class, or a channel of any layer; and what pictures must pay for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from topwork.errors import InputError, UnknownName
from topwork.grafted import Grafted
from topwork.look.maps import first_tensor, last_is_channel


@dataclass(frozen=True)
class Terms:
    """What is taken off the objective, each times its weight."""

    entropy: float = 0.0
    """0: the class's logit is climbed; 1: its log-probability (cross-entropy); between, both."""
    variation: float = 0.0
    """Of the mean difference of neighbouring pixels (total variation, Rudin 1992)."""
    size: float = 0.0
    """Of the mean square of pixels less mid-grey (L2)."""
    likeness: float = 0.0
    """Of how alike the pictures of one class are, so that several differ."""


def penalties(images: Tensor, terms: Terms, groups: Tensor) -> dict[str, Tensor]:
    """The wanted terms of images (N, 3, H, W), each (N,) and times its weight; groups (N,) tells the class of each."""
    found: dict[str, Tensor] = {}
    if terms.variation:
        across, down = images.diff(dim=3), images.diff(dim=2)
        found["variation"] = terms.variation * (across.abs().mean((1, 2, 3)) + down.abs().mean((1, 2, 3)))
    if terms.size:
        found["size"] = terms.size * (images - 0.5).square().mean((1, 2, 3))
    if terms.likeness and len(set(groups.tolist())) < len(groups):
        found["likeness"] = terms.likeness * likeness(images, groups)
    return found


def likeness(images: Tensor, groups: Tensor) -> Tensor:
    """Mean squared correlation (N,) of each picture's coarse look with the others of its class."""
    coarse = nn.functional.adaptive_avg_pool2d(images, 16).flatten(1)
    coarse = nn.functional.normalize(coarse - coarse.mean(1, keepdim=True), dim=1)
    other = (groups[:, None] == groups[None, :]) & ~torch.eye(len(groups), dtype=torch.bool)
    return ((coarse @ coarse.T).square() * other).sum(1) / other.sum(1).clamp_min(1)


class Channels(nn.Module):
    """A network cut at a layer. images (N, 3, H, W) -> mean of each of its channels (N, C)."""

    def __init__(self, network: Grafted, layer: str) -> None:
        super().__init__()
        self.network, self.layer = network, layer
        names = network.backbone.layer_names()
        if layer not in names:
            raise UnknownName("layer", layer, names)
        self.kept: Any = None
        module = network.backbone.network.get_submodule(layer)

        def keep(_module: nn.Module, _given: Any, output: Any) -> Any:
            self.kept = first_tensor(output)
            # What follows may change its input in place: it gets a copy.
            return output.clone() if isinstance(output, Tensor) else None

        self.hook = module.register_forward_hook(keep)

    def forward(self, images: Tensor) -> Tensor:
        """Mean of each channel (N, C)."""
        backbone, self.kept = self.network.backbone, None
        backbone._run(backbone.network, backbone.normalised(images))
        if not isinstance(self.kept, Tensor) or len(self.kept) != len(images) or not 2 <= self.kept.ndim <= 4:
            raise InputError(
                f"{self.layer}: gives no channels of whole pictures. See topwork look --list-layers, and name another."
            )
        output = self.kept
        if output.ndim == 4:
            return output.mean((1, 2) if last_is_channel(backbone, output.shape) else (2, 3))
        return output.mean(1) if output.ndim == 3 else output

    def extra_repr(self) -> str:
        """What tells it from the same network cut elsewhere."""
        return self.layer

    def close(self) -> None:
        """Take the hook off again."""
        self.hook.remove()


def channel_numbered(text: str, count: int, layer: str) -> int:
    """The channel that a person names by its number. Raises InputError."""
    if text.isdecimal() and int(text) < count:
        return int(text)
    raise InputError(f"{text}: no such channel of {layer}. Expected a number from 0 to {count - 1}.")
