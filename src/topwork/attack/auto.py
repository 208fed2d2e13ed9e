"""Attacks without settings to tune: APGD on cross-entropy and, class by class, on the logits ratio; and the ensemble in the
manner of AutoAttack (Croce and Hein 2020), with the fast minimum-norm attack in the place of FAB.

APGD starts with steps of twice epsilon, moves on with some of the last move, and halves a picture's step and goes back to its
best point when its loss has not risen often enough between two checkpoints.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from topwork.attack.attacked import Attack, Attacked, Count, over_epsilons
from topwork.attack.gradient import confirmed
from topwork.attack.losses import Aim, CrossEntropy, LogitsRatio, Loss
from topwork.attack.minimal import FMN
from topwork.attack.norms import Norm, direction, each, project, sizes
from topwork.attack.square import Square
from topwork.attack.victim import Victim

FIRST_CHECK, LEAST_CHECK, CHECK_SHRINKS = 0.22, 0.06, 0.03
"""Steps to the first checkpoint, least steps between two, and by how much that shrinks: shares of all steps."""

RISES = 0.75
"""Share of the steps between two checkpoints that have to raise the loss."""

MOVE = 0.75
"""Weight of the new step; the rest is that of the last move."""


def apgd(
    victim: Victim,
    clean: Tensor,
    loss: Loss,
    epsilon: Tensor,
    norm: Norm,
    steps: int,
    generator: torch.Generator,
    count: Count,
    rows: Tensor,
) -> tuple[Tensor, Tensor]:
    """(images, success) of clean (n, ...) within epsilon (n,)."""
    found, success = clean.clone(), torch.zeros(len(clean), dtype=torch.bool)
    images = project(clean + victim.allowed(_start(clean, epsilon, norm, generator)), clean, epsilon, norm)
    state = _State(images, torch.arange(len(clean)), epsilon)
    check, since = max(int(FIRST_CHECK * steps), 1), 0
    for number in range(steps + 1):
        some, losses = victim.at(state.active), loss.at(state.active)
        logits, gradient = some.gradient(state.images, losses)
        count.add(rows[state.active], gradients=1)
        fooled = confirmed(some, state.images, losses, logits)
        state.note(losses.values(logits), gradient)
        found[state.active] = state.images
        success[state.active[fooled]] = True
        if fooled.any():
            state.keep(~fooled)
        if not len(state.active) or number == steps:
            break
        if number:
            since += 1
            if since == check:
                state.checkpoint(check)
                check, since = max(check - max(int(CHECK_SHRINKS * steps), 1), max(int(LEAST_CHECK * steps), 1)), 0
        state.move(clean[state.active], epsilon[state.active], norm, MOVE if number else 1.0)
    return found, success


def _start(clean: Tensor, epsilon: Tensor, norm: Norm, generator: torch.Generator) -> Tensor:
    """A change of size epsilon in a random direction."""
    if norm == "linf":
        noise = torch.rand(clean.shape, generator=generator).mul_(2).sub_(1)
    else:
        noise = torch.randn(clean.shape, generator=generator)
    return noise * each(epsilon / sizes(noise, norm).clamp_min(1e-12), noise)


class _State:
    """Where the pictures that are not fooled yet stand."""

    def __init__(self, images: Tensor, active: Tensor, epsilon: Tensor) -> None:
        self.images, self.before, self.active = images, images, active
        self.step = 2 * epsilon
        count = len(active)
        self.best, self.gradient, self.best_gradient = images, torch.zeros_like(images), torch.zeros_like(images)
        self.height = torch.full((count,), -torch.inf)
        self.last_height = torch.full((count,), -torch.inf)
        self.just_halved = torch.ones(count, dtype=torch.bool)
        self.values: list[Tensor] = []

    def note(self, values: Tensor, gradient: Tensor) -> None:
        """The loss and its gradient where the pictures are."""
        better = values > self.height
        self.values.append(values)
        self.gradient = gradient
        if len(self.values) == 1:
            self.height, self.last_height = values.clone(), values.clone()
            self.best, self.best_gradient = self.images.clone(), gradient.clone()
            return
        self.height = torch.where(better, values, self.height)
        self.best = torch.where(each(better, self.best), self.images, self.best)
        self.best_gradient = torch.where(each(better, gradient), gradient, self.best_gradient)

    def keep(self, stay: Tensor) -> None:
        """Only some of the pictures go on."""
        for name in (
            "images",
            "before",
            "active",
            "step",
            "best",
            "gradient",
            "best_gradient",
            "height",
            "last_height",
            "just_halved",
        ):
            setattr(self, name, getattr(self, name)[stay])
        self.values = [one[stay] for one in self.values]

    def checkpoint(self, span: int) -> None:
        """Halve the steps of pictures whose loss rose too seldom in the last `span` steps, or whose best did not get better."""
        recent = torch.stack(self.values[-span - 1 :])
        seldom = (recent[1:] > recent[:-1]).sum(0) <= RISES * span
        stuck = ~self.just_halved & (self.last_height >= self.height)
        halve = seldom | stuck
        self.just_halved, self.last_height = halve, self.height.clone()
        self.step = torch.where(halve, self.step / 2, self.step)
        wide = each(halve, self.images)
        self.images = torch.where(wide, self.best, self.images)
        self.gradient = torch.where(wide, self.best_gradient, self.gradient)

    def move(self, clean: Tensor, epsilon: Tensor, norm: Norm, weight: float) -> None:
        """One step uphill, mixed with the last move."""
        drift = self.images - self.before
        self.before = self.images
        ahead = project(self.images + each(self.step, self.images) * direction(self.gradient, norm), clean, epsilon, norm)
        mixed = self.images + weight * (ahead - self.images) + (1 - weight) * drift
        self.images = project(mixed, clean, epsilon, norm)


@dataclass(frozen=True)
class APGD:
    """APGD on cross-entropy, or towards each of the likeliest other classes by the logits ratio (Croce and Hein 2020)."""

    norm: Norm = "linf"
    loss: Literal["ce", "dlr-targeted"] = "ce"
    steps: int = 100
    restarts: int = 1
    classes: int = 9
    """With dlr-targeted: how many of the likeliest other classes are tried."""
    seed: int = 0

    def __call__(
        self, victim: Victim, images: Tensor, labels: Tensor, epsilons: Sequence[float], targets: Tensor | None = None
    ) -> Attacked:
        """See `topwork.attack.attacked.Attack`."""
        towards = None
        if self.loss == "dlr-targeted":
            towards = targets[:, None] if targets is not None else _likeliest_others(victim.exact(images), labels, self.classes)
        rounds = self.restarts if towards is None else towards.shape[1] * self.restarts

        def loss_of(number: int) -> Loss:
            aim = Aim(labels, targets)
            return CrossEntropy(aim) if towards is None else LogitsRatio(aim, towards[:, number % towards.shape[1]])

        def run(rows: Tensor, epsilon: float, count: Count) -> tuple[Tensor, Tensor]:
            generator = torch.Generator().manual_seed(self.seed)
            found, fooled = images[rows].clone(), torch.zeros(len(rows), dtype=torch.bool)
            for number in range(rounds):
                todo = (~fooled).nonzero().flatten()
                these = rows[todo]
                reach = torch.full((len(these),), epsilon)
                found[todo], fooled[todo] = apgd(
                    victim.at(these),
                    images[these],
                    loss_of(number).at(these),
                    reach,
                    self.norm,
                    self.steps,
                    generator,
                    count,
                    these,
                )
                if fooled.all():
                    break
            return found, fooled

        return over_epsilons(images, epsilons, self.norm, run)


def _likeliest_others(logits: Tensor, labels: Tensor, most: int) -> Tensor:
    """(n, up to `most`) the likeliest classes but the label, the likeliest first."""
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return others.topk(min(most, logits.shape[1] - 1), dim=1).indices


@dataclass(frozen=True)
class Ensemble:
    """APGD on cross-entropy, APGD towards classes, the minimum-norm attack, and Square: each on what the ones before left."""

    norm: Norm = "linf"
    steps: int = 100
    square_queries: int = 1000
    seed: int = 0

    @property
    def attacks(self) -> tuple[Attack, ...]:
        """What it is made of, in order."""
        attacks: tuple[Attack, ...] = (
            APGD(self.norm, "ce", self.steps, seed=self.seed),
            APGD(self.norm, "dlr-targeted", self.steps, seed=self.seed),
            FMN(self.norm, self.steps),
        )
        return (*attacks, Square(self.square_queries, seed=self.seed)) if self.norm == "linf" else attacks

    def __call__(
        self, victim: Victim, images: Tensor, labels: Tensor, epsilons: Sequence[float], targets: Tensor | None = None
    ) -> Attacked:
        """See `topwork.attack.attacked.Attack`."""
        start = time.perf_counter()

        def run(rows: Tensor, epsilon: float, count: Count) -> tuple[Tensor, Tensor]:
            found, fooled = images[rows].clone(), torch.zeros(len(rows), dtype=torch.bool)
            for attack in self.attacks:
                todo = (~fooled).nonzero().flatten()
                if not len(todo):
                    break
                these = rows[todo]
                goals = None if targets is None else targets[these]
                one = attack(victim.at(these), images[these], labels[these], [epsilon], goals)
                found[todo], fooled[todo] = one.images[0], one.success[0]
                count.queries[these] += one.queries[0]
                count.gradients[these] += one.gradients[0]
            return found, fooled

        attacked = over_epsilons(images, epsilons, self.norm, run)
        return Attacked(
            attacked.epsilons,
            attacked.images,
            attacked.success,
            attacked.distances,
            attacked.queries,
            attacked.gradients,
            time.perf_counter() - start,
        )
