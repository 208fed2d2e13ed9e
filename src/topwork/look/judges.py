"""Do networks that took no part agree? Pictures shown to them as any picture is: 8-bit, decoded, resized to what each wants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from topwork.classifier import Classifier
from topwork.features.extract import second_look
from topwork.grafted import Grafted, grafted
from topwork.look.seeing import classifier_at
from topwork.pictures.decode import Pixels, to_pixels
from topwork.zoo import load_backbone

AT_ONCE = 8
"""Pictures a judge looks at in one go."""


@dataclass(frozen=True)
class Verdict:
    """What one judge says of one picture."""

    label: str
    """The judge's own answer."""
    probability: float | None
    """That the judge gives the class that was asked for, in [0, 1]; None where it knows no class of that name."""
    agrees: bool | None
    """None where it cannot."""
    unsaved: float | None
    """The same probability before the picture was rounded to 8 bits."""


def open_network(name: str, weights: str = "pretrained", every_vote: bool = False) -> Grafted:
    """The network of a bundle (its path) or of a backbone (its name) with its original classes.

    Raises BundleError, UnknownName, WeightsError or InputError.
    """
    return network_of(classifier_at(name) or name, weights, every_vote)


def network_of(source: str | Classifier, weights: str = "pretrained", every_vote: bool = False) -> Grafted:
    """As `open_network`, of a classifier or of a backbone by its name. every_vote: see `topwork.grafted.VotingHead`."""
    return grafted(source if isinstance(source, Classifier) else load_backbone(source, weights), every_vote)


def judged(network: Grafted, pixels: Pixels, images: NDArray[np.float32], wanted: Sequence[str]) -> list[Verdict]:
    """The verdict of a network on each picture: pixels (N, H, W, 3) as saved, images (N, 3, H, W) before, and its class."""
    probs = probabilities(network, list(pixels))
    before = _float_probabilities(network, images)
    verdicts = []
    for row, earlier, name in zip(probs, before, wanted, strict=True):
        place = network.classes.index(name) if name in network.classes else None
        label = network.classes[int(row.argmax())]
        if place is None:
            verdicts.append(Verdict(label, None, None, None))
        else:
            verdicts.append(Verdict(label, float(row[place]), label == name, float(earlier[place])))
    return verdicts


def probabilities(network: Grafted, pixels: Sequence[Pixels]) -> NDArray[np.float32]:
    """Probabilities (N, K) of pictures (H, W, 3) of any size."""
    geometry = network.spec.geometry
    found = []
    with torch.inference_mode():
        for place in range(0, len(pixels), AT_ONCE):
            some = [Image.fromarray(one) for one in pixels[place : place + AT_ONCE]]
            first = _images([to_pixels(one, geometry) for one in some])
            second = _images([second_look(one, geometry) for one in some]) if network.mirrored else None
            found.append(network.probs(first, second).numpy())
    return np.concatenate(found)


def _images(pixels: Sequence[Pixels]) -> Tensor:
    return torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255


def _float_probabilities(network: Grafted, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities (N, K) of images (N, 3, H, W) in [0, 1], cut and resized as pictures are but never rounded."""
    geometry = network.spec.geometry
    side = images.shape[2]
    margin = round(side * (1 - geometry.crop) / 2)
    kept = torch.from_numpy(images)[:, :, margin : side - margin, margin : side - margin]
    mode = "bilinear" if geometry.interpolation == "bilinear" else "bicubic"
    found = []
    with torch.inference_mode():
        for part in torch.split(kept, AT_ONCE):
            seen = nn.functional.interpolate(part, size=geometry.size, mode=mode, antialias=True, align_corners=False)
            found.append(network.probs(seen.clamp(0, 1)).numpy())
    return np.concatenate(found)
