"""What is optimised when a picture is: its pixels, its Fourier coefficients, or only the phases of those."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from topwork.look.natural import PHOTOS, Natural, frequencies

PARAMETERS = ("pixels", "fourier", "maco")


FALL = (1.3, 1.3, 1.3)
"""Fourier coefficients count 1 / frequency to this power: less than photos' own slope, for a network looks at detail first."""


class Parameters(Protocol):
    """Pictures as functions of what is optimised."""

    leaves: list[Tensor]
    """What the optimiser changes."""

    def images(self) -> Tensor:
        """The pictures now (N, 3, H, W) in [0, 1], differentiable in `leaves`."""
        ...


def parameters(
    name: str, count: int, size: int, generator: torch.Generator, natural: Natural = PHOTOS, colour: Colour | None = None
) -> Parameters:
    """The parameters `name` (pixels, fourier, maco) of `count` pictures of size x size, at a random start."""
    if name == "pixels":
        return Plain(torch.rand(count, 3, size, size, generator=generator))
    return Spectrum(count, size, generator, natural, colour or Colour(natural), phase_only=name == "maco")


class Plain:
    """The pixels themselves, from grey noise on."""

    def __init__(self, noise: Tensor) -> None:
        self.leaves = [(0.4 + 0.2 * noise).requires_grad_(True)]

    def images(self) -> Tensor:
        """The pictures now (N, 3, H, W) in [0, 1]."""
        return clipped(self.leaves[0])


class Spectrum:
    """Fourier coefficients on decorrelated colour axes, scaled so that all frequencies learn as photos hold them (Olah 2017).

    With `phase_only` (MACO, Fel 2023) the amplitudes are those of photos, and only the phases change.
    """

    def __init__(
        self, count: int, size: int, generator: torch.Generator, natural: Natural, colour: Colour, phase_only: bool
    ) -> None:
        self.size, self.colour, self.phase_only = size, colour, phase_only
        frequency = torch.from_numpy(np.maximum(frequencies(size, size), 1 / size)).float()
        slopes = torch.tensor(natural.slopes if phase_only else FALL)
        scale = frequency[None] ** -slopes[:, None, None]  # (3, H, W // 2 + 1)
        scale[:, 0, 0] = 0  # the mean has a parameter of its own
        self.scale = scale
        shape = (count, 3, *frequency.shape)
        self.mean = torch.zeros(count, 3, 1, 1, requires_grad=True)
        if phase_only:
            phase = (2 * torch.rand(shape, generator=generator) - 1) * torch.pi
            self.leaves = [phase.requires_grad_(True), self.mean]
        else:
            start = 0.01 * torch.randn(*shape, 2, generator=generator)
            self.leaves = [start.requires_grad_(True), self.mean]

    def images(self) -> Tensor:
        """The pictures now (N, 3, H, W) in [0, 1]."""
        if self.phase_only:
            spectrum = torch.polar(self.scale.expand_as(self.leaves[0]), self.leaves[0])
        else:
            spectrum = torch.view_as_complex(self.leaves[0]) * self.scale
        planes = torch.fft.irfft2(spectrum, s=(self.size, self.size), norm="ortho")
        return self.colour(planes, self.mean)


@dataclass(frozen=True)
class Colour:
    """Planes along the colour axes become pictures whose contrast and colourfulness stay within those of photos.

    Without such bounds pictures grow ever louder: the network likes that, people do not.
    """

    natural: Natural = PHOTOS
    least: float = 0.8
    """Of the median deviation of photos along each axis."""
    most: float = 0.8
    """Of the way from the median deviation to the 95th percentile."""

    def __call__(self, planes: Tensor, mean: Tensor) -> Tensor:
        """planes (N, 3, H, W) along the axes, each of mean 0; mean (N, 3, 1, 1), 0: that of photos -> images in [0, 1]."""
        bounds = torch.tensor(self.natural.deviations)
        low, high = self.least * bounds[:, 1], bounds[:, 1] + self.most * (bounds[:, 2] - bounds[:, 1])
        spread = torch.linalg.vector_norm(planes, dim=(2, 3), keepdim=True) / planes[0, 0].numel() ** 0.5
        spread = spread.clamp_min(1e-8)
        wanted = torch.minimum(torch.maximum(spread, low.view(1, 3, 1, 1)), high.view(1, 3, 1, 1))
        axes = torch.tensor(self.natural.axes)
        # Scaled, turned into colours and shifted in one pass over the pictures.
        turn = (wanted / spread).view(-1, 1, 3) * axes.T  # (N, colours, axes)
        shift = (torch.tanh(mean) * bounds[:, 1].view(1, 3, 1, 1)).view(-1, 1, 3) @ axes + torch.tensor(self.natural.mean)
        colours = torch.baddbmm(shift.transpose(1, 2), turn, planes.flatten(2))
        return clipped(colours.view_as(planes))


def clipped(values: Tensor) -> Tensor:
    """Values in [0, 1], with the gradient of the values themselves, so that what is clipped can still come back."""
    found: Tensor = _Clipped.apply(values)
    return found


class _Clipped(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, values: Tensor) -> Tensor:
        return values.clamp(0, 1)

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        return gradient
