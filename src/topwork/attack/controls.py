"""What a curve must satisfy to be believed (after Carlini 2019, On Evaluating Adversarial Robustness): each a line that passes,
or a warning that says what it means.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from topwork.attack.attacked import Attack
from topwork.attack.epsilon import told_distance
from topwork.attack.gradient import PGD
from topwork.attack.losses import Aim, CrossEntropy, Lead
from topwork.attack.norms import Norm, direction, each, project, random_change, sizes
from topwork.attack.square import Square
from topwork.attack.victim import Victim

SAMPLE = 16
"""Pictures that the controls are run on."""

LARGE = {"linf": 0.5, "l2": 100.0}
"""An epsilon at which nothing can be left."""

STEPS, LENGTH = 40, 2.5
"""Of projected gradient descent: how many where none are asked for, and the length of all together as a share of epsilon."""

QUERIES, ASKED = 100, 8
"""Of the black box, for each of so many pictures."""

RISING = 0.1
"""Share of the whole rise of the loss that may come in the last quarter of the steps."""


class HasNorm(Protocol):
    """What the controls need of the bench's settings."""

    @property
    def norm(self) -> Norm:
        """Of epsilon."""
        ...

    @property
    def steps(self) -> int | None:
        """Of the attack; None: its own number."""
        ...

    @property
    def seed(self) -> int:
        """Draws the noise."""
        ...


@dataclass(frozen=True, eq=False)
class Sample:
    """Pictures at the network's input, right to begin with."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Control:
    """One control."""

    name: str
    passed: bool
    measured: str
    meaning: str
    """What it means when it does not pass."""


def run_controls(
    victim: Victim,
    sample: Sample,
    attack: Attack,
    epsilons: Sequence[float],
    curve: Sequence[dict[str, Any]],
    settings: HasNorm,
) -> list[Control]:
    """All five, on what float32 torch reads rightly of a sample, at the network's input, untargeted, with the steps asked for;
    none where that is nothing.
    """
    right = (victim.exact(sample.images).argmax(1) == sample.labels).nonzero().flatten()
    if not len(right):
        return []
    victim, sample = victim.at(right), Sample(sample.images[right], sample.labels[right])
    norm, steps = settings.norm, settings.steps or STEPS
    middle = next((one["epsilon"] for one in curve if one["share"] < 0.5), max(epsilons))
    strong = PGD(norm, steps, LENGTH / steps, seed=settings.seed)(victim, sample.images, sample.labels, [middle])
    fooled = strong.success[0]
    return [
        _noise(victim, sample, attack, epsilons, settings),
        _more_steps(victim, sample, middle, fooled, norm, steps, settings.seed),
        _large(victim, sample, attack, norm),
        _black_box(victim, sample, middle, fooled, norm, settings.seed),
        _rising(victim, sample, middle, fooled, norm, steps),
    ]


def _noise(victim: Victim, sample: Sample, attack: Attack, epsilons: Sequence[float], settings: HasNorm) -> Control:
    generator = torch.Generator().manual_seed(settings.seed)
    told, alone = [], 0
    for epsilon in epsilons:
        reach = torch.full((len(sample.labels),), epsilon)
        noise = random_change(sample.images, reach, settings.norm, generator)
        noise = noise * each(reach / sizes(noise, settings.norm).clamp_min(1e-12), noise)
        if settings.norm == "linf":
            noise = noise.sign() * epsilon
        answers = victim.exact((sample.images + noise).clamp_(0, 1)).argmax(1)
        rows = (answers != sample.labels).nonzero().flatten()
        if len(rows):
            one = attack(victim.at(rows), sample.images[rows], sample.labels[rows], [epsilon])
            alone += int((~one.success[0]).sum())
        told.append(f"{100 * (1 - len(rows) / len(answers)):.0f} %")
    sizes_told = ", ".join(told_distance(epsilon, settings.norm) for epsilon in epsilons)
    return Control(
        "noise of the same size does less",
        alone == 0,
        f"of {len(sample.labels)} pictures {', '.join(told)} are left at {sizes_told}; fooled by noise alone: {alone}",
        "chance finds what the attack does not: the attack is too weak, or its gradient says nothing.",
    )


def _more_steps(victim: Victim, sample: Sample, epsilon: float, fooled: Tensor, norm: Norm, steps: int, seed: int) -> Control:
    less = max(steps // 4, 1)
    few = PGD(norm, less, LENGTH / less, seed=seed)(victim, sample.images, sample.labels, [epsilon])
    left, left_few = int((~fooled).sum()), int((~few.success[0]).sum())
    return Control(
        "more steps are never weaker",
        left <= left_few,
        f"at {told_distance(epsilon, norm)}, {less} steps leave {left_few} and {steps} leave {left} of {len(sample.labels)}",
        "steps lead astray: the gradient is masked, or the step is too large.",
    )


def _large(victim: Victim, sample: Sample, attack: Attack, norm: Norm) -> Control:
    found = attack(victim, sample.images, sample.labels, [LARGE[norm]])
    left = int((~found.success[0]).sum())
    return Control(
        "a large epsilon leaves nothing",
        left == 0,
        f"at {told_distance(LARGE[norm], norm)}, {left} of {len(sample.labels)} are left",
        "a grey picture is within this epsilon of any other, so the attack fails where it cannot: the gradient is masked.",
    )


def _black_box(victim: Victim, sample: Sample, epsilon: float, fooled: Tensor, norm: Norm, seed: int) -> Control:
    name, meaning = (
        "a black box is not stronger",
        "a search without gradients finds what the gradient does not show: the gradient is masked.",
    )
    if norm != "linf":
        return Control(name, True, "not run: the black box measures changes in linf", meaning)
    fooled = fooled[:ASKED]
    black = Square(QUERIES, seed=seed)(victim, sample.images[:ASKED], sample.labels[:ASKED], [epsilon])
    alone = int((black.success[0] & ~fooled).sum())
    return Control(
        name,
        alone == 0,
        f"at {told_distance(epsilon, norm)}, {QUERIES} queries fool {int(black.success[0].sum())} of {len(fooled)}, "
        f"gradients {int(fooled.sum())}; by the black box alone {alone}",
        meaning,
    )


def _rising(victim: Victim, sample: Sample, epsilon: float, fooled: Tensor, norm: Norm, steps: int) -> Control:
    where = f"{len(fooled)} pictures at {told_distance(epsilon, norm)}"
    name, meaning = (
        "the loss has stopped rising",
        "more steps would find more: what is left is an upper bound. Give more --steps.",
    )
    rows = (~fooled).nonzero().flatten()
    if not len(rows):
        return Control(name, True, f"all of {where} are fooled before the end", meaning)
    trace = loss_trace(victim.at(rows), sample.images[rows], sample.labels[rows], epsilon, norm, steps)
    height = trace.cummax(0).values.mean(1)
    whole, late = float(height[-1] - height[0]), float(height[-1] - height[3 * steps // 4])
    share = late / whole if whole > 0 else 0.0
    return Control(
        name,
        share <= RISING,
        f"of {where}, {len(rows)} are left; the last quarter of the steps brings {100 * share:.0f} % of the rise",
        meaning,
    )


def loss_trace(victim: Victim, images: Tensor, labels: Tensor, epsilon: float, norm: Norm, steps: int) -> Tensor:
    """(steps + 1, n): by how much another class leads, step by step of projected gradient descent."""
    loss, lead = CrossEntropy(Aim(labels)), Lead(Aim(labels))
    current, reach, found = images, torch.full((len(images),), epsilon), []
    for _ in range(steps):
        logits, gradient = victim.gradient(current, loss)
        found.append(lead.values(logits))
        current = project(current + each(reach * LENGTH / steps, gradient) * direction(gradient, norm), images, reach, norm)
    return torch.stack([*found, lead.values(victim.logits(current))])
