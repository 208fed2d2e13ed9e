"""Maps as a person sees them: which channels stand out, a plane as colours, the main directions of a layer as colours."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from topwork.look.sight import Maps
from topwork.pictures.decode import Pixels


def strongest(maps: Maps, count: int) -> list[int]:
    """The channels of maps (C, h, w) that stand out most: whose largest value is farthest above their own mean."""
    flat = maps.reshape(len(maps), -1)
    height = flat.max(1) - flat.mean(1)
    return [int(channel) for channel in np.argsort(-height, kind="stable")[:count]]


def main_directions(maps: Maps) -> NDArray[np.uint8]:
    """Colours (h, w, 3) of the three main directions of maps (C, h, w): alike colours are alike to the network.

    Principal components over places (Pearson 1901), each stretched between its 2nd and 98th percentile.
    """
    channels, height, width = maps.shape
    places = maps.reshape(channels, -1).T  # (h w, C)
    places = places - places.mean(0)
    if len(places) > channels:  # of the square of the table, which is the smaller one then
        directions = np.linalg.eigh(places.T @ places)[1].T[::-1]
    else:
        directions = np.linalg.svd(places, full_matrices=False)[2]
    along = places @ directions[:3].T
    along = np.pad(along, ((0, 0), (0, 3 - along.shape[1])))
    along *= np.where(np.abs(along.max(0)) >= np.abs(along.min(0)), 1, -1)  # a direction has no sign of its own
    low, high = np.percentile(along, [2, 98], axis=0)
    scaled = np.clip((along - low) / np.maximum(high - low, 1e-9), 0, 1)
    return np.asarray((255 * scaled).round(), np.uint8).reshape(height, width, 3)


def coloured(plane: Maps) -> Pixels:
    """A plane (h, w) of maps as colours (h, w, 3), dark where it is least, light where it is largest."""
    from matplotlib import colormaps

    low, high = float(plane.min()), float(plane.max())
    scaled = (plane - low) / max(high - low, 1e-9)
    return np.asarray(255 * colormaps["magma"](scaled)[..., :3], np.uint8)


def squares(pixels: Pixels) -> Pixels:
    """At least 64 pixels a side, each a square still."""
    times = -(-64 // min(pixels.shape[:2]))
    return np.repeat(np.repeat(pixels, times, 0), times, 1)
