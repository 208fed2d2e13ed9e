"""Views of a picture: what changes no answer. Each is drawn from (seed, view, picture) alone, whoever makes it and when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from topwork.pictures.decode import Geometry, Pixels, to_pixels

Draw = np.random.Generator

_BICUBIC, _BILINEAR = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR


@dataclass(frozen=True)
class Look:
    """How pictures are looked at."""

    augment: str
    """none, light or strong."""
    turns: bool
    """Whether quarter turns are among the views."""
    seed: int


def view(image: Image.Image, geometry: Geometry, look: Look, number: int, picture: int) -> Pixels:
    """View `number` of an upright RGB picture: pixels (size, size, 3). View 0 is the plain look that predict takes."""
    if number == 0 or (look.augment == "none" and not look.turns):
        return to_pixels(image, geometry)
    draw = np.random.default_rng([look.seed, number, picture])
    if look.augment == "none":
        seen = Image.fromarray(to_pixels(image, geometry))
    else:
        seen = _crop(image, geometry, draw, 0.6 if look.augment == "light" else 0.35)
        if draw.random() < 0.5:
            seen = ImageOps.mirror(seen)
        seen = _colour(seen, draw, 0.15 if look.augment == "light" else 0.3)
        if look.augment == "strong":
            for place in draw.permutation(len(_OPERATIONS))[:2]:
                seen = _OPERATIONS[place](seen, draw)
    if look.turns:
        seen = quarter_turn(seen, int(draw.integers(4)))
    return np.ascontiguousarray(np.asarray(seen))


def quarter_turn(image: Image.Image, turns: int) -> Image.Image:
    """The picture turned left by a number of quarter turns."""
    steps = (None, Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
    step = steps[turns % 4]
    return image if step is None else image.transpose(step)


def _crop(image: Image.Image, geometry: Geometry, draw: Draw, least: float) -> Image.Image:
    """A part of the picture at the network's size: `least` to all of the area the plain look sees and its margin."""
    width, height = image.size
    if geometry.mode == "squash":
        side = np.array([width, height], float) * np.sqrt(draw.uniform(least, 1.0))
    else:
        # Around the plain look's own scale: from the whole shorter side down to `least` of its area.
        side = np.full(2, min(width, height) * np.sqrt(draw.uniform(least, 1.0)))
        stretch = np.exp(draw.uniform(-0.15, 0.15))
        side = np.minimum(side * np.array([stretch, 1 / stretch]), [width, height])
    room = np.array([width, height]) - side
    # Near the middle where there is much room: that is where the plain look will look.
    reach = np.minimum(room / 2, side * 0.25)
    left, top = room / 2 + draw.uniform(-1, 1, 2) * reach
    box = float(left), float(top), float(left + side[0]), float(top + side[1])
    return image.resize((geometry.size, geometry.size), _BICUBIC, box=box)


def _colour(image: Image.Image, draw: Draw, width: float) -> Image.Image:
    for kind in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = kind(image).enhance(1 + draw.uniform(-width, width))
    return image


def _sign(draw: Draw) -> float:
    return float(draw.choice((-1.0, 1.0)))


def _shear(image: Image.Image, draw: Draw) -> Image.Image:
    amount = 0.2 * _sign(draw)
    return image.transform(image.size, Image.Transform.AFFINE, (1, amount, -amount * image.size[1] / 2, 0, 1, 0), _BILINEAR)


_OPERATIONS: tuple[Callable[[Image.Image, Draw], Image.Image], ...] = (
    lambda image, draw: image.rotate(20 * _sign(draw), _BILINEAR),
    _shear,
    lambda image, draw: ImageOps.autocontrast(image),
    lambda image, draw: ImageOps.equalize(image),
    lambda image, draw: ImageOps.posterize(image, 5),
    lambda image, draw: ImageOps.solarize(image, 192),
    lambda image, draw: ImageEnhance.Sharpness(image).enhance(1 + 0.8 * _sign(draw)),
    lambda image, draw: image.rotate(0, _BILINEAR, translate=(round(0.1 * image.size[0] * _sign(draw)), 0)),
)
"""Of RandAugment (Cubuk 2020), at a middle strength."""


def plain(geometry: Geometry) -> Geometry:
    """The geometry without its margin cut off: all of the shorter side."""
    return replace(geometry, crop=1.0)
