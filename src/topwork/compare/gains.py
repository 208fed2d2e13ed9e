"""Which classes gain most from more photos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from topwork.heads.metrics import Z95

Float64 = NDArray[np.float64]
Labels = NDArray[np.int64]

PRIOR_PICTURES = 10
"""Pictures that the mean of all classes counts for beside a class's own."""

LEAST_SCALE = 0.2
"""Of what half to all of the pictures brought, what twice as many bring at least."""


@dataclass(frozen=True)
class ClassGain:
    """How much of one class is right, and what twice the pictures are expected to add."""

    label: str
    pictures: int
    accuracy: float
    gain: float
    low: float
    high: float


def class_gains(right: Float64, labels: Labels, classes: list[str], sizes: Float64, expected: float) -> list[ClassGain]:
    """Classes by what twice the pictures bring them.

    A class is expected to lose the same share of its errors as all do; what it gained from half to all of its pictures says
    how it differs, as far as that rises above its noise. Scaled so that the mean is the whole curve's forecast.
    """
    count = np.maximum(np.bincount(labels, minlength=len(classes)), 1)
    now = np.bincount(labels, right[-1], len(classes)) / count
    overall = float(right[-1].mean())
    error = 1 - (now * count + overall * PRIOR_PICTURES) / (count + PRIOR_PICTURES)
    half = int(np.argmin(np.abs(np.log(sizes / sizes[-1] * 2))))
    rise = right[-1] - right[half]
    mean = float(rise.mean())
    typical = mean * error / max(float((error * count).sum() / count.sum()), 1e-9)
    gain = np.bincount(labels, rise, len(classes)) / count
    noise = (np.bincount(labels, rise**2, len(classes)) / count - gain**2 + float(rise.var()) / count) / count
    true = max(float(((gain - typical) ** 2 - noise).mean()), 0.0)
    kept = true / (true + noise + 1e-12)
    scale = float(np.clip(expected / mean, LEAST_SCALE, 1)) if mean > 1e-6 else 0.0
    middle = np.minimum((typical + kept * (gain - typical)) * scale, 1 - now)
    # The mean itself is uncertain, even where no picture changed sides: one more that does is always thinkable.
    of_mean = (float((rise**2).sum()) + 1) / len(rise) ** 2
    own = error * (1 - error) / (count + PRIOR_PICTURES) * (mean / max(1 - overall, 1e-9)) ** 2
    half_width = Z95 * np.sqrt(kept * noise + own + of_mean) * max(scale, LEAST_SCALE)
    highest = np.minimum(middle + half_width, 1 - now)
    rows = [
        ClassGain(name, int(count[k]), *(float(one[k]) for one in (now, middle, middle - half_width, highest)))
        for k, name in enumerate(classes)
    ]
    return sorted(rows, key=lambda row: -row.gain)
