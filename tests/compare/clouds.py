"""Clouds of points that stand for features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from topwork.features.table import FeatureTable

Made = tuple[FeatureTable, NDArray[np.int64], NDArray[np.int64], dict[str, NDArray[np.int64]]]


def made(each: int, classes: int, apart: float, seed: int = 0, width: int = 24) -> Made:
    """A table of noise around class means, labels, groups of one, and two views of which the first holds the classes."""
    rng = np.random.default_rng(seed)
    means = np.random.default_rng(99).standard_normal((classes, width))
    labels = np.repeat(np.arange(classes), each)
    rows = rng.standard_normal((len(labels), 2 * width))
    rows[:, :width] += apart * means[labels]
    views = {"last": np.arange(width), "stages": np.arange(width, 2 * width)}
    return FeatureTable.of(rows.astype(np.float32)), labels, np.arange(len(labels)), views
