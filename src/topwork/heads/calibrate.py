"""Probabilities that mean what they say: one temperature for all answers, and what it did, measured honestly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from topwork.heads.metrics import expected_calibration_error, softmax

Floats = NDArray[np.floating]
Labels = NDArray[np.int64]

LEAST_PICTURES = 50
"""With fewer held-out pictures a temperature says nothing that can be checked."""

LEAST_ERRORS = 3
"""With fewer wrong answers nothing says how sure is too sure."""


@dataclass(frozen=True)
class Calibration:
    """What temperature scaling found on held-out answers."""

    temperature: float
    calibrated: bool
    reason: str
    error_before: float
    """Expected calibration error (15 bins) at temperature 1."""
    error_after: float
    """The same after scaling; each picture's temperature comes from the other half of the pictures."""


def fit_temperature(logits: Floats, labels: Labels) -> float:
    """Temperature (> 0) of least log loss for logits (N, K) (Guo 2017).

    The truth gets (N + 1) / (N + 2) of the target, the other classes share the rest (after Platt 1999): where every
    answer is right the temperature stays where the mean confidence is that share, it does not run to certainty.
    """
    scaled = np.asarray(logits, np.float64)
    scaled = scaled - scaled.max(1, keepdims=True)
    count, classes = scaled.shape
    smooth = 1 / (count + 2)
    truth = scaled[np.arange(count), labels]
    others = (scaled.sum(1) - truth) / max(classes - 1, 1)
    goal = float(((1 - smooth) * truth + smooth * others).mean())
    # The slope of the loss along 1 / T grows with 1 / T: Newton steps on log(1 / T), kept within a bracket.
    low, high = -12.0, 12.0
    place = 0.0
    for _ in range(60):
        sharp = np.exp(place)
        weight = np.exp(scaled * sharp)
        total = weight.sum(1)
        mean = np.einsum("nk,nk->n", weight, scaled) / total
        spread = np.maximum(np.einsum("nk,nk,nk->n", weight, scaled, scaled) / total - mean * mean, 0)
        slope = float(mean.mean()) - goal
        low, high = (low, place) if slope > 0 else (place, high)
        bend = float(spread.mean()) * sharp + slope
        step = place - slope / bend if bend > 1e-12 else (low + high) / 2
        step = step if low < step < high else (low + high) / 2
        if abs(step - place) < 1e-6:
            break
        place = step
    return float(np.exp(-place))


def calibrate(logits: Floats, labels: Labels, folds: Labels) -> Calibration:
    """Temperature for a head from its out-of-fold logits (N, K); `folds` (N,) say which pictures belong together."""
    errors = int((logits.argmax(1) != labels).sum())
    before = expected_calibration_error(softmax(logits), labels)
    short = None
    if len(labels) < LEAST_PICTURES:
        short = f"{len(labels)} pictures, need {LEAST_PICTURES}"
    elif errors < LEAST_ERRORS:
        short = f"{errors} wrong answers on held-out pictures, need {LEAST_ERRORS}"
    temperature = fit_temperature(logits, labels)
    if short:
        # The smoothed target keeps the temperature sane, but nobody can tell whether it is right.
        after = expected_calibration_error(softmax(logits, temperature), labels)
        return Calibration(temperature, False, f"not calibrated: {short}", before, after)
    probs = np.empty(logits.shape, np.float32)
    for part in (folds % 2 == 0, folds % 2 == 1):
        if part.any():
            other = ~part if (~part).any() else part
            probs[part] = softmax(logits[part], fit_temperature(logits[other], labels[other]))
    after = expected_calibration_error(probs, labels)
    reason = f"temperature {temperature:.3g} on {len(labels)} held-out pictures, {errors} of them answered wrong"
    return Calibration(temperature, True, reason, before, after)
