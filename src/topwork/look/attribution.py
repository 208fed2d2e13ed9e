"""Which pixels made the answer: four methods, one kind of map.

gradcam     where the last maps that still have a place speak for the class (Selvaraju 2017)
ig          integrated gradients from grey to the picture; the map sums to the change of the answer (Sundararajan 2017)
smoothgrad  the gradient's size, averaged over noisy copies (Smilkov 2017)
occlusion   how much the answer loses when a square is covered (Zeiler 2014)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from topwork.errors import InputError, UnknownName
from topwork.frozen.gradient import FrozenGradient, frozen_gradient
from topwork.grafted import Grafted
from topwork.look.maps import as_maps, first_tensor, watched
from topwork.look.sight import Attribution, enlarged

METHODS = ("gradcam", "ig", "smoothgrad", "occlusion")

COMPLETENESS = 0.005
"""Integrated gradients take more steps until their sum is this near to the change of the answer, as a share of it."""

MOST_STEPS = 512
GREY = 0.5
"""What covers a square, and where integrated gradients start."""


def explain(
    network: Grafted, image: Tensor, linear: Tensor, method: str = "gradcam", *, layer: str | None = None, seed: int = 0
) -> Attribution:
    """The map of an image (1, 3, H, W) in [0, 1] for the answer sum(linear * logits), linear (K,).

    linear: one-hot for a class, and with -1 at another class for the difference of the two. Raises UnknownName, InputError.
    """
    if method not in METHODS:
        raise UnknownName("method", method, METHODS)
    if method == "gradcam":
        return gradcam(network, image, linear, layer)
    if layer is not None:
        raise InputError(f"--layer: only gradcam looks at a layer, not {method}. Leave it out.")
    frozen = frozen_gradient(network, image.shape[2], precision="f32")
    if method == "ig":
        return integrated(frozen, image, linear)
    return smoothed(frozen, image, linear, seed) if method == "smoothgrad" else occluded(frozen, image, linear)


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


def integrated(frozen: FrozenGradient, image: Tensor, linear: Tensor) -> Attribution:
    """Integrated gradients from grey, by Gauss and Legendre's rule, with as many steps as completeness takes."""
    start = torch.full_like(image, GREY)
    ends = frozen.logits(torch.cat([start, image])) @ linear
    change = float(ends[1] - ends[0])
    steps = 32
    while True:
        places, weights = np.polynomial.legendre.leggauss(steps)
        mean = torch.zeros_like(image)
        for place, weight in zip((places + 1) / 2, weights / 2, strict=True):
            mean += float(weight) * frozen(start + float(place) * (image - start), linear[None])[1]
        values = ((image - start) * mean)[0].sum(0)
        error = abs(float(values.sum()) - change) / max(abs(change), 1e-6)
        if error <= COMPLETENESS or steps >= MOST_STEPS:
            return Attribution(values.numpy(), "ig", None, change, error)
        steps *= 2


def smoothed(
    frozen: FrozenGradient, image: Tensor, linear: Tensor, seed: int, copies: int = 32, noise: float = 0.15
) -> Attribution:
    """SmoothGrad: mean over noisy copies, then the largest size over the channels."""
    generator = torch.Generator().manual_seed(seed)
    noisy = image + noise * torch.randn(copies, *image.shape[1:], generator=generator)
    _, gradients = frozen(noisy, linear.expand(copies, -1))
    return Attribution(gradients.mean(0).abs().amax(0).numpy(), "smoothgrad", None)


def occluded(frozen: FrozenGradient, image: Tensor, linear: Tensor, square: int = 0, step: int = 0) -> Attribution:
    """What the answer loses when a grey square covers each place; a pixel gets the mean of the squares over it."""
    size = image.shape[2]
    square = square or max(2, size // 6)
    step = step or max(1, square // 2)
    ends = [*range(0, size - square, step), size - square]
    places = [(top, left) for top in ends for left in ends]
    whole = float(frozen.logits(image) @ linear)
    total, count = torch.zeros(size, size), torch.zeros(size, size)
    for first in range(0, len(places), 16):
        some = places[first : first + 16]
        covered = image.repeat(len(some), 1, 1, 1)
        for number, (top, left) in enumerate(some):
            covered[number, :, top : top + square, left : left + square] = GREY
        for (top, left), answer in zip(some, frozen.logits(covered) @ linear, strict=True):
            total[top : top + square, left : left + square] += whole - float(answer)
            count[top : top + square, left : left + square] += 1
    return Attribution((total / count).numpy(), "occlusion", None)


Probability = Callable[[Tensor], NDArray[np.float32]]
"""Gives the probability (N,) of one class for images (N, 3, H, W)."""


def faithfulness(probability: Probability, image: Tensor, values: NDArray[np.float32], steps: int = 28) -> tuple[float, float]:
    """(deletion, insertion): mean probability while the most telling pixels are taken away, and while they come first.

    A good map has little of the first and much of the second (Petsiuk 2018). What is away is a blurred copy of the picture.
    """
    blurred = nn.functional.avg_pool2d(nn.functional.pad(image, (15,) * 4, mode="reflect"), 31, 1)
    order = np.argsort(-values.reshape(-1), kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    ranks = torch.from_numpy(rank).view(1, 1, *image.shape[2:])
    shares = torch.linspace(0, len(order), steps + 1).view(-1, 1, 1, 1)
    first = ranks < shares  # (steps + 1, 1, H, W): the pixels that came so far
    deletion = probability(torch.where(first, blurred, image))
    insertion = probability(torch.where(first, image, blurred))
    return float(deletion.mean()), float(insertion.mean())
