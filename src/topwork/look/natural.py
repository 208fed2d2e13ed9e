"""What photos look like in numbers: their colours, their contrast, and how much of each size of detail they hold.

The numbers were measured by `measure` on 300 photos, one of each of 300 ImageNet classes, at 224 pixels; other photos give
other ones, and `measure` gives them of any.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from topwork.pictures.decode import Pixels

LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of R, G and B in brightness (ITU-R BT.601)."""


@dataclass(frozen=True)
class Natural:
    """Statistics of photos in [0, 1]."""

    mean: tuple[float, float, float]
    """Of R, G and B."""
    axes: tuple[tuple[float, float, float], ...]
    """Rows: brightness, orange against blue, green against magenta: the main axes of colours within a photo."""
    deviations: tuple[tuple[float, float, float], ...]
    """Deviation within a photo along each axis: the 5th, 50th and 95th percentile of photos."""
    slopes: tuple[float, float, float]
    """Along each axis the amplitude of detail falls with its frequency to this power (Field 1987)."""
    saturation: tuple[float, float, float]
    """Mean saturation (HSV) of a photo: 5th, 50th and 95th percentile."""
    contrast: tuple[float, float, float]
    """Deviation of brightness within a photo: 5th, 50th and 95th percentile."""


PHOTOS = Natural(
    mean=(0.487, 0.446, 0.399),
    axes=((0.575, 0.586, 0.571), (0.737, -0.067, -0.673), (-0.356, 0.807, -0.470)),
    deviations=((0.206, 0.362, 0.556), (0.018, 0.069, 0.187), (0.008, 0.029, 0.090)),
    slopes=(1.35, 1.78, 1.54),
    saturation=(0.078, 0.298, 0.660),
    contrast=(0.121, 0.213, 0.322),
)


BANDS = 12
"""Of frequency, each as wide as the others on a logarithmic scale, in which amplitudes are measured."""


def measure(pixels: Pixels) -> Natural:
    """The statistics of pixels (N, H, W, 3) of photos, N >= 2."""
    images = pixels.astype(np.float64) / 255
    within = images - images.mean((1, 2), keepdims=True)
    _, vectors = np.linalg.eigh(np.cov(within.reshape(-1, 3).T))
    axes = vectors.T[::-1] * np.sign(vectors.T[::-1] @ np.array([[0.4], [1.0], [0.3]]))
    along = within @ axes.T  # (N, H, W, 3)
    return Natural(
        mean=_three(images.mean((0, 1, 2))),
        axes=tuple(map(_three, axes)),
        deviations=tuple(map(_three, np.percentile(along.std((1, 2)), [5, 50, 95], axis=0).T)),
        slopes=_three(np.array([_slope(along[..., axis]) for axis in range(3)])),
        saturation=_three(np.percentile(saturation(pixels), [5, 50, 95])),
        contrast=_three(np.percentile(contrast(pixels), [5, 50, 95])),
    )


def saturation(pixels: Pixels) -> NDArray[np.float64]:
    """Mean saturation (N,) of pixels (N, H, W, 3): how far the colours are from grey, as in HSV."""
    top, low = pixels.max(-1).astype(np.float64), pixels.min(-1)
    return np.asarray(((top - low) / np.maximum(top, 1)).mean((1, 2)))


def contrast(pixels: Pixels) -> NDArray[np.float64]:
    """Deviation of brightness (N,) within pixels (N, H, W, 3), in [0, 0.5]."""
    return np.asarray((pixels @ LUMA / 255).std((1, 2)))


def frequencies(height: int, width: int) -> NDArray[np.float64]:
    """Cycles per pixel of each entry (height, width // 2 + 1) of a real Fourier transform."""
    return np.asarray(np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]))


def _slope(planes: NDArray[np.float64]) -> float:
    """The power of 1 / frequency that the amplitudes of planes (N, H, W) follow best, coarse detail weighing as much as fine.

    Over all coefficients alike the finest would decide, since three quarters of them lie in the last octave.
    """
    count, height, width = planes.shape
    window = np.outer(np.hanning(height), np.hanning(width))
    spread = np.maximum(planes.std((1, 2), keepdims=True), 1e-6)
    amplitude = np.abs(np.fft.rfft2(planes / spread * window)).sum(0) / count
    frequency = frequencies(height, width)
    edges = np.geomspace(2 / min(height, width), 0.5, BANDS + 1)
    bands = [(frequency >= low) & (frequency < high) for low, high in pairwise(edges)]
    middles = np.sqrt(edges[1:] * edges[:-1])
    means = np.array([amplitude[band].mean() if band.any() else np.nan for band in bands])
    found = means > 0
    return -float(np.polyfit(np.log(middles[found]), np.log(means[found]), 1)[0])


def _three(values: NDArray[np.float64]) -> tuple[float, float, float]:
    first, second, third = (round(float(value), 4) for value in values)
    return first, second, third
