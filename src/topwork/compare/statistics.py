"""A backbone that gives, instead of features, what passes its normalisation layers. Imports torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from topwork.compare.profile import NormLayer
from topwork.zoo.backbone import Backbone


class Statistics(nn.Module):
    """images (N, 3, H, W) in [0, 1] -> (N, 2 x channels): of each layer the channels' means, then their mean squares."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone
        self.spec = backbone.spec
        self.names = [layer.name for layer in norm_layers(backbone)]
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Statistics of images, the layers in the order in which pictures pass them."""
        kept: dict[str, Tensor] = {}

        def keep(name: str) -> Any:
            def seen(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
                values = inputs[0] if inputs[0].ndim == 4 else inputs[0][:, :, None, None]
                kept[name] = torch.cat([values.mean((2, 3)), values.square().mean((2, 3))], dim=1)

            return seen

        layers = dict(self.backbone.network.named_modules())
        hooks = [layers[name].register_forward_pre_hook(keep(name)) for name in self.names]
        try:
            self.backbone(images)
        finally:
            for hook in hooks:
                hook.remove()
        return torch.cat([kept[name] for name in self.names], dim=1)


def norm_layers(backbone: Backbone) -> list[NormLayer]:
    """Every batch normalisation that carries statistics, in the order in which a picture passes them."""
    found: list[NormLayer] = []

    def note(name: str, layer: Any) -> Any:
        def seen(*_: object) -> None:
            mean, variance = layer.running_mean, layer.running_var
            found.append(NormLayer(name, mean.double().cpu().numpy(), variance.double().cpu().numpy()))

        return layer.register_forward_pre_hook(seen)

    hooks = [
        note(name, layer)
        for name, layer in backbone.network.named_modules()
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.running_mean is not None
    ]
    size = backbone.spec.geometry.size
    try:
        with torch.inference_mode():
            backbone(torch.zeros(1, 3, size, size))
    finally:
        for hook in hooks:
            hook.remove()
    return list({layer.name: layer for layer in found}.values())
