"""Grad-CAM: where the last maps that still have a place speak for the class (Selvaraju 2017). Imports torch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from topwork.errors import InputError
from topwork.frozen.gradient import FrozenGradient
from topwork.grafted import Grafted
from topwork.look.maps import as_maps, first_tensor, watched
from topwork.look.pixels import Attribution, Slopes
from topwork.look.sight import Maps, enlarged


def slopes_of(frozen: FrozenGradient) -> Slopes:
    """A frozen gradient as it is asked with arrays."""

    def logits(images: Maps) -> Maps:
        found: Maps = frozen.logits(torch.from_numpy(images)).numpy()
        return found

    def gradient(images: Maps, linear: Maps) -> Maps:
        found: Maps = frozen(torch.from_numpy(images), torch.from_numpy(linear).expand(len(images), -1))[1].numpy()
        return found

    return Slopes(logits, gradient)


def gradcam(network: Grafted, image: Tensor, linear: Tensor, layer: str | None = None) -> Attribution:
    """Grad-CAM, scaled up to the picture; the layer is the last one with maps that the answer depends on."""
    layer = layer or answering_layer(network, image, linear)
    with watched(network.backbone, [layer]) as outputs, torch.enable_grad():
        answer = (network(image.clone().requires_grad_(True)) * linear).sum()
    if layer not in outputs:
        raise InputError(f"{layer}: this layer does not run on a picture. See topwork look --list-layers.")
    looks = [weighed(network, output, answer) for output in outputs[layer]]
    if looks[0] is None:
        shape = tuple(outputs[layer][0].shape[1:])
        raise InputError(f"{layer}: its output {shape} has no height and width. Choose another layer.")
    # A head that wants two looks has seen the mirror image, too: its map is turned back.
    coarse = looks[0] if len(looks) == 1 or looks[-1] is None else (looks[0] + looks[-1].flip(3)) / 2
    return Attribution(enlarged(coarse[0, 0].numpy(), image.shape[2:]), "gradcam", layer)


def weighed(network: Grafted, output: Tensor, answer: Tensor) -> Tensor | None:
    """Grad-CAM's own coarse map (1, 1, h, w): channels weighed by their mean gradient, summed, what is below 0 left out."""
    (gradient,) = torch.autograd.grad(answer, output, retain_graph=True)
    maps, pulls = as_maps(network.backbone, output.detach()), as_maps(network.backbone, gradient)
    if maps is None or pulls is None:
        return None
    return (pulls.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).relu()


def answering_layer(network: Grafted, image: Tensor, linear: Tensor) -> str:
    """The last layer with maps that the answer depends on in more than one place.

    In a ViT that answers by its class token, the last block's output depends there alone: what its attention reads is taken.
    """
    backbone = network.backbone
    names = {module: name for name, module in backbone.network.named_modules() if name}
    seen: dict[str, Tensor] = {}

    def keep(module: Any, _given: Any, output: Any) -> None:
        value = first_tensor(output)
        if value is not None and value.requires_grad:
            seen.pop(names[module], None)
            seen[names[module]] = value

    hooks = [module.register_forward_hook(keep) for module in names]
    try:
        with torch.enable_grad():
            answer = (network(image.clone().requires_grad_(True)) * linear).sum()
    finally:
        for hook in hooks:
            hook.remove()
    last = next((seen[name] for name, _ in reversed(backbone.spec.stages) if name in seen), None)
    tokens = last is not None and last.ndim == 3
    wanted = 3 if tokens else 4
    candidates = [name for name, value in seen.items() if value.ndim == wanted and as_maps(backbone, value) is not None]
    if not tokens and not candidates:
        candidates = [name for name, value in seen.items() if as_maps(backbone, value) is not None]
    width = last.shape[2] if last is not None and tokens else None
    for name in reversed(candidates):
        if width is not None and seen[name].shape[2] != width:
            continue
        (gradient,) = torch.autograd.grad(answer, seen[name], retain_graph=True, allow_unused=True)
        pulls = None if gradient is None else as_maps(backbone, gradient)
        if pulls is not None and int((pulls.abs().amax(1) > 0).sum()) > 1:
            return name
    raise InputError(f"{backbone.spec.id}: no layer with maps decides its answer. Name one with --layer.")
