"""What more pictures will bring: a power law through measured errors, with all the curves the measurements allow."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

DRAWS = 4_000
"""Curves drawn from those that fit."""

EXPONENTS = np.geomspace(0.1, 2.0, 32)
"""Slopes tried: halving the error takes 2^(1 / exponent) times the pictures."""

TYPICAL = (0.5, 0.7)
"""Middle of the exponents before anything is measured, and their spread in natural logarithms (Hestness 2017: 0.07 to 0.5
for networks from scratch; heads on ready features learn faster)."""

FLOORS = np.linspace(0, 0.95, 20)
"""Errors that no number of pictures removes, as a share of the least error measured; each as likely as the next."""

MODEL_ERROR = 0.02
"""Share of an error by which a true learning curve strays from any power law."""


@dataclass(frozen=True, eq=False)
class PowerLaw:
    """Curves error = floor + scale x pictures^-exponent, drawn as they fit: their middle is the forecast."""

    floor: Float64
    """(R,)."""
    scale: Float64
    exponent: Float64

    def accuracy(self, pictures: float) -> tuple[float, float, float]:
        """(middle, low, high) of the accuracy with so many pictures, 95 % interval."""
        right = np.clip(1 - self.floor - self.scale * pictures**-self.exponent, 0, 1)
        low, middle, high = np.quantile(right, (0.025, 0.5, 0.975))
        return float(middle), float(low), float(high)

    def needed(self, accuracy: float) -> tuple[float, float, float]:
        """(middle, low, high) of the pictures that an accuracy takes, 95 % interval; infinite where no number does."""
        room = 1 - accuracy - self.floor
        with np.errstate(divide="ignore", over="ignore"):
            power = np.log(self.scale / np.where(room > 0, room, np.nan)) / self.exponent
            pictures = np.where(room > 0, np.exp(np.minimum(power, 700)), np.inf)
        low, middle, high = np.quantile(np.sort(pictures), (0.025, 0.5, 0.975), method="nearest")
        return float(middle), float(low), float(high)


def fit_power_law(sizes: Float64, errors: Float64, covariance: Float64, seed: int = 0) -> PowerLaw:
    """The power laws that fit errors (J,) measured with sizes (J,) pictures, the errors' covariance (J, J) given.

    For each floor and exponent of a grid the scale is a generalised least squares fit; the grid's weights are those of the
    residuals, times how likely each is before (Bayes with a normal likelihood).
    """
    sizes, errors = np.asarray(sizes, np.float64), np.asarray(errors, np.float64)
    noise = covariance + np.diag((MODEL_ERROR * errors) ** 2 + 1e-8)
    inverse = np.linalg.inv(noise)
    floors, exponents = (grid.ravel() for grid in np.meshgrid(FLOORS * errors.min(), EXPONENTS, indexing="ij"))
    shapes = (sizes / sizes[-1]) ** -exponents[:, None]  # (G, J), 1 at the last size
    weighted = shapes @ inverse
    precision = (weighted * shapes).sum(1)
    scale = (weighted * (errors - floors[:, None])).sum(1) / precision
    rest = errors - floors[:, None] - scale[:, None] * shapes
    misfit = (rest @ inverse * rest).sum(1)
    middle, spread = TYPICAL
    likely = -0.5 * misfit - 0.5 * np.log(precision) - 0.5 * (np.log(exponents / middle) / spread) ** 2
    share = np.exp(likely - likely.max())
    rng = np.random.default_rng(seed)
    drawn = rng.choice(len(share), DRAWS, p=share / share.sum())
    last = scale[drawn] + rng.standard_normal(DRAWS) / np.sqrt(precision[drawn])
    return PowerLaw(floors[drawn], np.maximum(last, 0) * sizes[-1] ** exponents[drawn], exponents[drawn])


def next_goal(accuracy: float) -> float:
    """The accuracy worth asking for next: halve the error, rounded to a figure a person would say."""
    wanted = 1 - (1 - accuracy) / 2
    goals = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.92, 0.95, 0.96, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999)
    above = [goal for goal in goals if goal > accuracy]
    return min(above, key=lambda goal: abs(math.log((1 - goal) / (1 - wanted + 1e-9)))) if above else 0.9999
