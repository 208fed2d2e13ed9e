"""Features like those of a pretrained network: not negative, correlated, in clusters of classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def clustered(
    pictures: int, width: int, classes: int, seed: int = 0, apart: float = 1.0, directions: int = 64
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features (N, D) and labels (N,): class centres and spread share `directions`, then ReLU, as a last layer has."""
    rng = np.random.default_rng(seed)
    labels = np.arange(pictures) % classes
    basis = rng.standard_normal((directions, width)).astype(np.float32)
    decay = (1 + np.arange(directions, dtype=np.float32)) ** -0.5
    centres = rng.standard_normal((classes, directions)).astype(np.float32) * decay * np.float32(apart)
    hidden = centres[labels] + rng.standard_normal((pictures, directions)).astype(np.float32) * decay
    noise = rng.standard_normal((pictures, width)).astype(np.float32)
    return np.maximum(hidden @ basis * np.float32(0.3) + noise * np.float32(0.3) - np.float32(0.2), 0), labels
