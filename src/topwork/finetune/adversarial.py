"""Adversarial training: what learns sees every batch attacked; and how much of the accuracy an attack leaves, before and after.

The pictures are changed at the network's input and pass all of it, so nothing of the frozen part can be kept between epochs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from topwork.attack.bench import Bench, BenchSettings
from topwork.attack.epsilon import LEVELS, told
from topwork.attack.folder import attack_records
from topwork.attack.subject import subject_of
from topwork.attack.training import hardened
from topwork.classifier import Classifier
from topwork.finetune.comparing import Comparison
from topwork.finetune.ground import Harden, Rows
from topwork.finetune.settings import FinetuneSettings
from topwork.finetune.state import State
from topwork.heads.metrics import wilson
from topwork.pictures.records import Records

SHARES = (0.25, 0.5, 1.0, 2.0)
"""Of the strength that was learned with: those that before and after are measured at."""

STEPS = 20
"""Of projected gradient descent, for the measurement: an attack that the learning did not see."""

PICTURES = 100
"""Of more test pictures, so many are drawn for the measurement."""

LEAST_STEPS = 4
"""Of the attack on validation pictures: a network may learn to withstand one step and nothing else (Wong 2020)."""


def hardening(settings: FinetuneSettings, size: int) -> Harden:
    """What changes rows of pixels (n, size x size x 3) in 0 to 255 within epsilon, so that the model's loss rises.

    Without labels it goes against what the model itself finds likeliest: a change made from the label would give it away
    (label leaking, Kurakin 2017). With labels, of the pictures that choose, it is stronger than what is learned from.
    """

    def harden(model: nn.Module, rows: Tensor, labels: Tensor | None, share: float, generator: torch.Generator) -> Tensor:
        images = rows.float().view(-1, size, size, 3).permute(0, 3, 1, 2) / LEVELS
        steps = settings.attack_steps if labels is None else max(settings.attack_steps, LEAST_STEPS)
        epsilon = share * settings.epsilon
        return _rows(hardened(_FromImages(model), images, labels, epsilon, steps=steps, generator=generator))

    return harden


class _FromImages(nn.Module):
    """A model of rows of pixels as one of images (N, 3, H, W) in [0, 1]."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(_rows(images))
        return logits


def _rows(images: Tensor) -> Tensor:
    return (images * LEVELS).permute(0, 2, 3, 1).flatten(1)


@dataclass(frozen=True, eq=False)
class Robustness:
    """What projected gradient descent at the network's input leaves of two classifiers' accuracy on the same test pictures."""

    epsilon: float
    """What was learned with."""
    before: Bench
    after: Bench

    def to_config(self) -> dict[str, Any]:
        """As JSON types; the controls are those of the attack on the classifier after."""
        after = self.after.to_config()
        return {
            "epsilon": self.epsilon,
            "epsilon_255": round(self.epsilon * LEVELS, 4),
            "attack": after["attack"],
            "n": len(self.after.rows) + self.after.misread,
            "before": _curve(self.before),
            "after": _curve(self.after),
            "controls": after["controls"],
        }

    def sentence(self, test: Comparison) -> str:
        """What was gained and what it cost: under attack, and on the test pictures as they are."""
        pair = [next(one for one in _curve(bench) if one["epsilon"] == self.epsilon) for bench in (self.before, self.after)]
        attacked = " to ".join(_share(one["accuracy"], one["low"], one["high"]) for one in pair)
        return (
            f"adversarial training: attacked at {told(self.epsilon)}, {attacked} of {pair[1]['n']} test pictures are right; "
            f"as they are, {_share(test.before, test.before_low, test.before_high)} to "
            f"{_share(test.after, test.after_low, test.after_high)} of {test.n}"
        )


def _share(share: float, low: float, high: float) -> str:
    return f"{100 * share:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def _curve(bench: Bench) -> list[dict[str, Any]]:
    """Accuracy at each epsilon over all pictures, so that two classifiers are told on the same ones; Wilson 95 %."""
    points, n = [], len(bench.rows) + bench.misread
    for epsilon in (0.0, *bench.epsilons):
        right = sum(row.epsilon is None or row.epsilon > epsilon for row in bench.rows)
        low, high = wilson(right, n)
        points.append(
            {
                "epsilon": epsilon,
                "epsilon_255": round(epsilon * LEVELS, 4),
                "accuracy": right / n,
                "low": low,
                "high": high,
                "n": n,
            }
        )
    return points


def robustness(before: Classifier, after: Classifier, test: Records, settings: FinetuneSettings) -> Robustness:
    """Both classifiers attacked on the same pictures of `test`, and, of the one after, whether the attack can be believed."""
    epsilons = tuple(sorted({min(settings.epsilon * share, 1.0) for share in SHARES}))
    found = []
    for name, classifier, controls in (("before", before, False), ("after", after, True)):
        how = BenchSettings("pgd", epsilons=epsilons, steps=STEPS, most=PICTURES, controls=controls, seed=settings.seed)
        found.append(attack_records(subject_of(classifier, name), test, how))
        if found[-1].interrupted:  # half a curve would be told as a whole one; --resume comes here again
            raise KeyboardInterrupt
    return Robustness(settings.epsilon, *found)


def withstands(state: State, labels: Rows) -> tuple[bool, str]:
    """(whether the learned network withstands more than the probe, why), from attacked validation pictures with labels (n,).

    It must answer more of them right than the probe, and than one who always names the commonest class: nothing is harder to
    fool. That the accuracy on pictures as they are falls is the usual price (Tsipras 2019), and no reason against it.
    """
    first, best = state.history[0], state.best_row
    commonest = float(np.bincount(labels).max() / len(labels))
    more = best.accuracy > max(first.accuracy, commonest)
    return more, (
        f"on {len(labels)} attacked validation pictures {first.accuracy:.1%} right became {best.accuracy:.1%} "
        f"(always the commonest class: {commonest:.1%}), and the log loss {first.loss:.3f} became {best.loss:.3f}"
        f"{'' if more else '; more --epochs, more pictures or a smaller --epsilon may help'}"
    )
