"""Whether fine-tuning helped: decided on validation pictures that neither network learned from, told on the test pictures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import comb
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from topwork.heads.metrics import Z95, wilson

Labels = NDArray[np.int64]
Probs = NDArray[np.float32]


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p of McNemar's exact test (1947): pictures that only one of two classifiers answers right are coin throws."""
    n = only_first + only_second
    if n == 0:
        return 1.0
    tail = sum(comb(n, k) for k in range(min(only_first, only_second) + 1))
    return float(min(1.0, 2 * tail / 2**n))


@dataclass(frozen=True)
class Comparison:
    """Two classifiers on the same pictures."""

    n: int
    before: float
    """Accuracy of the probe."""
    before_low: float
    """Wilson 95 %."""
    before_high: float
    after: float
    """Accuracy of the fine-tuned network."""
    after_low: float
    after_high: float
    gained: int
    """Pictures that only the fine-tuned network answers right."""
    lost: int
    """Pictures that only the probe answers right."""
    p: float
    """McNemar's exact test."""
    loss_before: float
    """Mean log loss of the probe, in nats a picture."""
    loss_after: float
    loss_gain_error: float
    """Standard error of the mean difference of the two log losses."""

    def to_config(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


CHANCE = 0.05
"""A difference that chance alone would make more often than this is not called one."""


def compare(before: Probs, after: Probs, labels: Labels) -> Comparison:
    """The comparison of probs (N, K) before and after, for labels (N,)."""
    n = len(labels)
    right = before.argmax(1) == labels, after.argmax(1) == labels
    losses = [-np.log(np.maximum(probs[np.arange(n), labels].astype(np.float64), 1e-12)) for probs in (before, after)]
    difference = losses[0] - losses[1]
    gained, lost = int((right[1] & ~right[0]).sum()), int((right[0] & ~right[1]).sum())
    ends = [wilson(int(one.sum()), n) for one in right]
    return Comparison(
        n,
        float(right[0].mean()) if n else 0.0,
        *ends[0],
        float(right[1].mean()) if n else 0.0,
        *ends[1],
        gained,
        lost,
        mcnemar(gained, lost),
        float(losses[0].mean()) if n else 0.0,
        float(losses[1].mean()) if n else 0.0,
        float(difference.std(ddof=1) / np.sqrt(n)) if n > 1 else 0.0,
    )


BOUNDS = {1: Z95, 2: 2.178, 3: 2.289, 4: 2.361, 5: 2.413}
"""Looks at growing data -> standard errors that a gain must exceed at one of them, so that chance alone gets there in one of
twenty all the same (Pocock 1977)."""


def decided(validation: Comparison, looks: int = 1) -> tuple[Literal["yes", "no", "doubt"], str]:
    """(whether to take the fine-tuned network, why), from validation pictures alone; `looks`: as often as this may be asked.

    It must answer no fewer of them right, and its log loss must be lower by more than chance makes it: the log loss tells two
    networks apart on far fewer pictures than their accuracies do. One standard error would not be enough: depth, epoch and
    weights were chosen on the first of these pictures, which flatters what was chosen. doubt: better, but it may be chance.
    """
    gain, bound = validation.loss_before - validation.loss_after, BOUNDS[looks]
    told = (
        f"on {validation.n} validation pictures {validation.before:.1%} right became {validation.after:.1%}, and the log loss "
        f"{validation.loss_before:.3f} became {validation.loss_after:.3f} (standard error of the difference "
        f"{validation.loss_gain_error:.3f}; a gain of {bound:.1f} of them is asked for)"
    )
    if validation.after < validation.before or gain <= 0:
        return "no", told
    return "yes" if gain > bound * validation.loss_gain_error else "doubt", told


def sentence(test: Comparison, helped: bool) -> str:
    """What the test pictures say: `fine-tuning did not help: 90.2 % to 90.5 %, p = 0.81`.

    helped: by the validation pictures, which decide; where the test pictures do not show it, the sentence says that too.
    """
    verdict = "fine-tuning did not help"
    if helped and test.p >= CHANCE:
        verdict = "fine-tuning helped on validation pictures, the test cannot tell"
    elif helped:
        better = test.after > test.before
        verdict = "fine-tuning helped" if better else "fine-tuning helped on validation pictures, but harmed on the test"
    return (
        f"{verdict}: {100 * test.before:.1f} % ({100 * test.before_low:.1f} to {100 * test.before_high:.1f}) to "
        f"{100 * test.after:.1f} % ({100 * test.after_low:.1f} to {100 * test.after_high:.1f}), {test.n} test pictures, "
        f"{test.gained} gained, {test.lost} lost, McNemar's exact p = {test.p:.2g}"
    )
