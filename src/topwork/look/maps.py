"""What a network's layers see in a picture: the maps of a layer, of every stage, its first filters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from topwork.classifier import Classifier
from topwork.errors import InputError, UnknownName
from topwork.grafted import backbone_of
from topwork.look.sight import Maps
from topwork.zoo import load_backbone
from topwork.zoo.backbone import Backbone


@dataclass(frozen=True)
class Layer:
    """A layer as it shows itself on a picture."""

    name: str
    kind: str
    """The class of the module."""
    shape: tuple[int, ...]
    """(channels, height, width) of its maps, or (channels,) where it has none."""


def opened(source: str | Classifier, weights: str = "pretrained") -> Backbone:
    """The backbone of a classifier, or by its name. Raises BundleError, UnknownName or WeightsError."""
    return backbone_of(source) if isinstance(source, Classifier) else load_backbone(source, weights)


def layers(backbone: Backbone) -> list[Layer]:
    """All layers that run on a picture, in the order in which they finish."""
    found: dict[str, Layer] = {}
    names = {module: name for name, module in backbone.network.named_modules() if name}

    def note(module: Any, _given: Any, output: Any) -> None:
        value = first_tensor(output)
        if value is not None:
            name = names[module]
            found.pop(name, None)
            found[name] = Layer(name, type(module).__name__, _shape(backbone, value))

    hooks = [module.register_forward_hook(note) for module in names]
    size = backbone.spec.geometry.size
    try:
        with torch.inference_mode():
            run(backbone, torch.zeros(1, 3, size, size))
    finally:
        for hook in hooks:
            hook.remove()
    return list(found.values())


def layer_maps(backbone: Backbone, image: Tensor, names: Sequence[str]) -> dict[str, Maps]:
    """Maps (C, h, w) of each named layer for an image (1, 3, H, W) in [0, 1]; a ViT's tokens are laid out as its patches.

    Raises UnknownName, or InputError for a layer whose output has no height and width.
    """
    with watched(backbone, names) as outputs, torch.inference_mode():
        run(backbone, image)
    found = {}
    for name in names:
        if name not in outputs:
            raise InputError(f"{name}: this layer does not run on a picture. See --list-layers.")
        output = outputs[name][-1]
        maps = as_maps(backbone, output)
        if maps is None:
            shape = tuple(output.shape[1:])
            raise InputError(f"{name}: its output {shape} has no height and width left to show. Choose an earlier layer.")
        found[name] = maps[0].float().numpy()
    return found


def stage_layers(backbone: Backbone, image: Tensor) -> list[str]:
    """The stages whose outputs have a height and width, at most six, evenly spread over the depth."""
    names = [name for name, _ in backbone.spec.stages]
    with watched(backbone, names) as outputs, torch.inference_mode():
        run(backbone, image)
    seen = [name for name in names if name in outputs and as_maps(backbone, outputs[name][-1]) is not None]
    if not seen:
        raise InputError(f"{backbone.spec.id}: no stage of it has maps to show. See --list-layers, and name one with --layer.")
    places = np.unique(np.linspace(0, len(seen) - 1, min(6, len(seen))).round().astype(int))
    return [seen[place] for place in places]


def first_filters(backbone: Backbone, most: int = 32) -> list[Maps]:
    """Filters (h, w, 3) in [0, 1] of the first layer that sees colours; each stretched to its own range. Empty if none."""
    for module in backbone.network.modules():
        weight = getattr(module, "weight", None)
        kernel = getattr(module, "kernel", None)
        kernel = getattr(kernel, "value", kernel)
        if isinstance(kernel, Tensor) and kernel.ndim == 4:  # Keras: (h, w, colours, filters)
            weight = kernel.permute(3, 2, 0, 1)
        if isinstance(weight, Tensor) and weight.ndim == 4 and weight.shape[1] == 3 and min(weight.shape[2:]) > 1:
            filters = weight.detach()[:most].permute(0, 2, 3, 1).float().numpy()
            filters = filters[..., ::-1] if backbone.spec.channels == "BGR" else filters
            low, high = filters.min((1, 2, 3), keepdims=True), filters.max((1, 2, 3), keepdims=True)
            return list((filters - low) / np.maximum(high - low, 1e-9))
    return []


@contextmanager
def watched(backbone: Backbone, names: Sequence[str]) -> Iterator[dict[str, list[Tensor]]]:
    """The outputs of named layers, one for each time that the network runs. Raises UnknownName."""
    outputs: dict[str, list[Tensor]] = {}
    known = backbone.layer_names()
    hooks = []
    for name in names:
        if name not in known:
            raise UnknownName("layer", name, known)

        def keep(_module: Any, _given: Any, output: Any, name: str = name) -> Any:
            value = first_tensor(output)
            if value is not None:
                outputs.setdefault(name, []).append(value)
            # What follows may change its input in place: it gets a copy, and what is kept stays this layer's own.
            return output.clone() if isinstance(output, Tensor) else None

        hooks.append(backbone.network.get_submodule(name).register_forward_hook(keep))
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def run(backbone: Backbone, images: Tensor) -> Tensor:
    """The last features (N, D) of images: all layers run, whatever classes there are."""
    features, _ = backbone._run(backbone.network, backbone.normalised(images))
    return features


def as_maps(backbone: Backbone, output: Tensor, count: int = 1) -> Tensor | None:
    """The output of a layer for `count` square pictures as maps (N, C, h, w), from (N, C, h, w), (N, h, w, C) or tokens
    (N, T, C); None where it has none: no place is left, or they are windows or heads of attention.
    """
    if len(output) != count:
        return None
    if output.ndim == 4:
        if last_is_channel(backbone, output.shape):
            output = output.permute(0, 3, 1, 2)
        return output if output.shape[2] == output.shape[3] > 1 else None
    if output.ndim != 3:
        return None
    # Class tokens stand before the patches, from where they join on: the embedding of the patches has none yet.
    for prefix in (int(getattr(backbone.network, "num_prefix_tokens", 0)), 0):
        side = round((output.shape[1] - prefix) ** 0.5)
        if side > 1 and side * side == output.shape[1] - prefix:
            return output[:, prefix:].transpose(1, 2).reshape(len(output), -1, side, side)
    return None


def last_is_channel(backbone: Backbone, shape: Sequence[int]) -> bool:
    """Whether maps of this shape (N, ., ., .) hold their channels last: what is square tells, else the network's own way."""
    first, last = shape[2] == shape[3], shape[1] == shape[2]
    network = backbone.network
    usual = getattr(network, "output_fmt", "NCHW") == "NHWC" or bool(getattr(network, "channels_last", False))
    return last if first != last else usual


def first_tensor(output: Any) -> Tensor | None:
    """The tensor in what a module gave back."""
    if isinstance(output, (tuple, list)) and output:
        output = output[0]
    return output if isinstance(output, Tensor) else None


def _shape(backbone: Backbone, output: Tensor) -> tuple[int, ...]:
    maps = as_maps(backbone, output)
    return tuple(output.shape[1:]) if maps is None else tuple(maps.shape[1:])
