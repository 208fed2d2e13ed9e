"""Distances between pictures, balls around them, steps and random starts within: the largest change (linf) or the root of
the sum of squares (l2), over all values of a picture.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Norm = Literal["linf", "l2"]

TINY = 1e-12


def each(values: Tensor, images: Tensor) -> Tensor:
    """One number per picture, (N,), in a shape that multiplies images (N, ...)."""
    return values.reshape(-1, *[1] * (images.ndim - 1))


def sizes(change: Tensor, norm: Norm) -> Tensor:
    """The size (N,) of a change (N, ...)."""
    flat = change.flatten(1)
    return flat.abs().amax(1) if norm == "linf" else flat.norm(dim=1)


def distances(images: Tensor, clean: Tensor, norm: Norm) -> Tensor:
    """(N,) from pictures to pictures."""
    return sizes(images - clean, norm)


def project(images: Tensor, clean: Tensor, epsilon: Tensor, norm: Norm) -> Tensor:
    """The nearest images within epsilon (N,) of `clean`, then within [0, 1]."""
    if norm == "linf":
        reach = each(epsilon, clean)
        return torch.minimum(torch.maximum(images, clean - reach), clean + reach).clamp_(0, 1)
    change = images - clean
    shrink = (epsilon / sizes(change, norm).clamp_min(TINY)).clamp_max(1)
    return (clean + change * each(shrink, change)).clamp_(0, 1)


def direction(gradient: Tensor, norm: Norm) -> Tensor:
    """The steepest step of size 1: the sign (linf), or the gradient over its length (l2)."""
    if norm == "linf":
        return gradient.sign()
    return gradient / each(sizes(gradient, norm).clamp_min(TINY), gradient)


def random_change(images: Tensor, epsilon: Tensor, norm: Norm, generator: torch.Generator) -> Tensor:
    """A change drawn evenly from the ball of size epsilon (N,), of the shape of images."""
    if norm == "linf":
        noise = torch.rand(images.shape, generator=generator).mul_(2).sub_(1)
        return noise.mul_(each(epsilon, noise))
    noise = torch.randn(images.shape, generator=generator)
    values = noise[0].numel()
    radius = torch.rand(len(images), generator=generator) ** (1 / values) * epsilon
    return noise.mul_(each(radius / sizes(noise, norm).clamp_min(TINY), noise))
