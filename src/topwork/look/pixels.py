"""Which pixels made the answer, told by gradients to the picture or by covering it; and whether a map tells the truth.

ig          integrated gradients from grey to the picture; the map sums to the change of the answer (Sundararajan 2017)
smoothgrad  the gradient's size, averaged over noisy copies (Smilkov 2017)
occlusion   how much the answer loses when a square is covered (Zeiler 2014)

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from topwork.errors import UnknownName

Numbers = NDArray[np.float32]

COMPLETENESS = 0.005
"""Integrated gradients take more steps until their sum is this near to the change of the answer, as a share of it."""

SURE = 0.1
"""And until the errors of all parts of the way, which may cancel each other, are no more than this together."""

FIRST_STEPS, MOST_STEPS = 16, 512
GREY = 0.5
"""What covers a square, and where integrated gradients start."""

AT_ONCE = 16
"""Pictures sent through a network in one go."""


@dataclass(frozen=True)
class Attribution:
    """How much each pixel speaks for an answer."""

    values: Numbers
    """(H, W); below 0 it speaks against (ig and occlusion)."""
    method: str
    layer: str | None = None
    """Of gradcam: the layer whose maps were weighed."""
    change: float | None = None
    """Of ig: the answer less that for grey."""
    error: float | None = None
    """Of ig: how far the sum of the map is from `change`, as a share of it."""


@dataclass(frozen=True)
class Slopes:
    """What is asked of a network."""

    logits: Callable[[Numbers], Numbers]
    """(N, K) of images (N, 3, H, W) in [0, 1]."""
    gradient: Callable[[Numbers, Numbers], Numbers]
    """(N, 3, H, W) of sum(linear * logits) to images, linear (K,)."""


def attributed(network: Slopes, image: Numbers, linear: Numbers, method: str, seed: int = 0) -> Attribution:
    """The map of an image (3, H, W) for the answer sum(linear * logits), linear (K,). Raises UnknownName."""
    if method == "ig":
        return integrated(network, image, linear)
    if method == "smoothgrad":
        return smoothed(network, image, linear, seed)
    if method == "occlusion":
        return occluded(network, image, linear)
    raise UnknownName("method", method, ("ig", "smoothgrad", "occlusion"))


def integrated(network: Slopes, image: Numbers, linear: Numbers) -> Attribution:
    """Integrated gradients from grey, with as many steps as completeness takes.

    The way is cut into parts, and the gradient in the middle of each stands for it. What a part adds to the answer is known
    from the answers at its ends, so the parts that err most are the ones that are cut again.
    """
    way = image - np.float32(GREY)

    def answers(shares: list[float]) -> list[float]:
        found = network.logits(np.stack([GREY + np.float32(share) * way for share in shares])) @ linear
        return [float(one) for one in found]

    edges = [float(one) for one in np.linspace(0, 1, FIRST_STEPS + 1)]
    known = dict(zip(edges, answers(edges), strict=True))
    change = known[1.0] - known[0.0]
    allowed = max(abs(change), 1e-6)
    parts: dict[tuple[float, float], tuple[Numbers, float]] = {}
    todo = list(pairwise(edges))
    steps = 0
    while True:
        for first in range(0, len(todo), AT_ONCE):
            some = todo[first : first + AT_ONCE]
            middles = np.stack([GREY + np.float32((low + high) / 2) * way for low, high in some])
            for (low, high), slope in zip(some, network.gradient(middles, linear), strict=True):
                added = np.float32(high - low) * slope
                parts[low, high] = added, float((added * way).sum()) - (known[high] - known[low])
        steps += len(todo)
        errors = {part: error for part, (_, error) in parts.items()}
        error, all_errors = abs(sum(errors.values())) / allowed, sum(map(abs, errors.values())) / allowed
        if (error <= COMPLETENESS and all_errors <= SURE) or steps >= MOST_STEPS:
            values = (sum(added for added, _ in parts.values()) * way).sum(0)
            return Attribution(values.astype(np.float32), "ig", None, change, error)
        worst = sorted(errors, key=lambda part: -abs(errors[part]))[: max(4, len(errors) // 3)]
        middle = [(low + high) / 2 for low, high in worst]
        known.update(zip(middle, answers(middle), strict=True))
        todo = []
        for (low, high), between in zip(worst, middle, strict=True):
            del parts[low, high]
            todo += [(low, between), (between, high)]


def smoothed(
    network: Slopes, image: Numbers, linear: Numbers, seed: int = 0, copies: int = 32, noise: float = 0.15
) -> Attribution:
    """SmoothGrad: mean over noisy copies, then the largest size over the channels."""
    drawn = np.random.default_rng(seed).standard_normal((copies, *image.shape), np.float32)
    gradients = network.gradient(image + np.float32(noise) * drawn, linear)
    return Attribution(np.abs(gradients.mean(0)).max(0), "smoothgrad")


def occluded(network: Slopes, image: Numbers, linear: Numbers, square: int = 0, step: int = 0) -> Attribution:
    """What the answer loses when a grey square covers each place; a pixel gets the mean of the squares over it."""
    size = image.shape[1]
    square = square or max(2, size // 6)
    step = step or max(1, square // 2)
    ends = [*range(0, size - square, step), size - square]
    places = [(top, left) for top in ends for left in ends]
    whole = float((network.logits(image[None]) @ linear)[0])
    total, count = np.zeros((size, size), np.float32), np.zeros((size, size), np.float32)
    for first in range(0, len(places), AT_ONCE):
        some = places[first : first + AT_ONCE]
        covered = np.repeat(image[None], len(some), 0)
        for number, (top, left) in enumerate(some):
            covered[number, :, top : top + square, left : left + square] = GREY
        for (top, left), answer in zip(some, network.logits(covered) @ linear, strict=True):
            total[top : top + square, left : left + square] += whole - float(answer)
            count[top : top + square, left : left + square] += 1
    return Attribution(total / count, "occlusion")


Probability = Callable[[Numbers], Numbers]
"""Gives the probability (N,) of one class for images (N, 3, H, W)."""


def faithfulness(probability: Probability, image: Numbers, values: Numbers, steps: int = 28) -> tuple[float, float]:
    """(deletion, insertion): mean probability while the most telling pixels of an image (3, H, W) are taken away, and while
    they come first.

    A good map (H, W) has little of the first and much of the second (Petsiuk 2018). What is away is a blurred copy.
    """
    blurred = box_mean(image, 31, "reflect")
    order = np.argsort(-values.reshape(-1), kind="stable")
    rank = np.argsort(order).reshape(values.shape)
    shares = np.linspace(0, len(order), steps + 1)
    taken, shown = (
        [
            probability(np.stack([np.where(rank < share, new, old) for share in shares[place : place + AT_ONCE]]))
            for place in range(0, len(shares), AT_ONCE)
        ]
        for new, old in ((blurred, image), (image, blurred))
    )
    return float(np.concatenate(taken).mean()), float(np.concatenate(shown).mean())


def box_mean(values: Numbers, side: int, margin: str) -> Numbers:
    """The mean of the square of `side` pixels, an odd number, around each pixel of values (..., H, W).

    margin: reflect goes on with the mirror image; empty takes the mean of what is there.
    """
    found = values
    for axis in (-2, -1):
        width = [(0, 0)] * found.ndim
        width[axis] = (side // 2, side // 2)
        padded = np.pad(found, width, "reflect") if margin == "reflect" else np.pad(found, width, constant_values=np.nan)
        found = np.nanmean(sliding_window_view(padded, side, axis), -1)
    return found.astype(np.float32)
