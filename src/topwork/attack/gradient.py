"""Attacks that follow the gradient: one step (Goodfellow 2015), many (Kurakin 2017), with momentum (Dong 2018), and projected
gradient descent from random starts (Madry 2018).

All are one loop. A picture leaves it as soon as float32 says that it is fooled, unless `stop` is False.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from topwork.attack.attacked import Attacked, Count, over_epsilons
from topwork.attack.losses import Aim, CrossEntropy, Loss
from topwork.attack.norms import Norm, direction, each, project, random_change
from topwork.attack.victim import Victim


@dataclass(frozen=True)
class Ascent:
    """The settings of the loop."""

    norm: Norm
    steps: int
    step: float
    """Size of a step, as a share of epsilon."""
    random_start: bool = False
    decay: float | None = None
    """Of the momentum; None: there is none."""
    stop: bool = True
    """Leave a picture that is fooled. Otherwise all steps are taken, and the strongest fooling picture on the way counts."""
    lead: float = 0.0
    """Logits by which the wrong answer has to lead before a picture is left."""


def ascend(
    victim: Victim, clean: Tensor, loss: Loss, epsilon: Tensor, settings: Ascent, start: Tensor, count: Count, rows: Tensor
) -> tuple[Tensor, Tensor]:
    """(images, success) of clean (n, ...) from `start`, within epsilon (n,); `rows` are their places in `count`.

    Of a picture that is never fooled, the last image.
    """
    best, success = start.clone(), torch.zeros(len(clean), dtype=torch.bool)
    height = torch.full((len(clean),), -torch.inf)
    active = torch.arange(len(clean))
    images, memory = start, torch.zeros_like(start) if settings.decay is not None else None
    for number in range(settings.steps + 1):
        some, losses = victim.at(active), loss.at(active)
        last = number == settings.steps
        if last:
            logits, gradient = some.logits(images), images
            count.add(rows[active], forwards=1)
        else:
            logits, gradient = some.gradient(images, losses)
            count.add(rows[active], gradients=1)
        fooled = confirmed(some, images, losses, logits) if settings.stop else losses.fooled(logits)
        values = losses.values(logits)
        better = ~success[active] | (fooled & (values > height[active]))
        place = active[better]
        best[place], height[place] = images[better], torch.where(fooled, values, -torch.inf)[better]
        success[active[fooled]] = True
        if last:
            break
        done = fooled & losses.fooled(logits, settings.lead)
        if settings.stop and done.any():
            stay = ~done
            active, images, gradient = active[stay], images[stay], gradient[stay]
            memory = memory[stay] if memory is not None else None
            if not len(active):
                break
        if memory is not None and settings.decay is not None:
            mean = gradient.abs().mean(dim=tuple(range(1, gradient.ndim)), keepdim=True).clamp_min(1e-12)
            memory = gradient = settings.decay * memory + gradient / mean
        reach = epsilon[active]
        images = images + each(settings.step * reach, images) * direction(gradient, settings.norm)
        images = project(images, clean[active], reach, settings.norm)
    if not settings.stop and success.any():
        rows_found = success.nonzero().flatten()
        success[rows_found] = loss.at(rows_found).fooled(victim.at(rows_found).exact(best[rows_found]))
    return best, success


def confirmed(victim: Victim, images: Tensor, loss: Loss, logits: Tensor) -> Tensor:
    """bool (n,): who is fooled, asked of float32 where the search's logits say so."""
    fooled = loss.fooled(logits)
    rows = fooled.nonzero().flatten()
    if len(rows):
        fooled[rows] = loss.at(rows).fooled(victim.at(rows).exact(images[rows]))
    return fooled


def by_gradient(
    settings: Ascent,
    restarts: int,
    seed: int,
    victim: Victim,
    images: Tensor,
    labels: Tensor,
    epsilons: Sequence[float],
    targets: Tensor | None,
) -> Attacked:
    """The loop at every epsilon, again from new random starts for what was not fooled."""
    loss = CrossEntropy(Aim(labels, targets))

    def run(rows: Tensor, epsilon: float, count: Count) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        reach = torch.full((len(images),), epsilon)
        found, fooled = images[rows].clone(), torch.zeros(len(rows), dtype=torch.bool)
        for _ in range(restarts):
            start = images
            if settings.random_start:
                noise = victim.allowed(random_change(images, reach, settings.norm, generator))
                start = (images + noise).clamp_(0, 1)
            todo = (~fooled).nonzero().flatten()
            these = rows[todo]
            attacked, done = ascend(
                victim.at(these), images[these], loss.at(these), reach[these], settings, start[these], count, these
            )
            found[todo], fooled[todo] = attacked, done
            if fooled.all():
                break
        return found, fooled

    return over_epsilons(images, epsilons, settings.norm, run)


@dataclass(frozen=True)
class FGSM:
    """The fast gradient sign method: one step of size epsilon (Goodfellow 2015)."""

    norm: Norm = "linf"
    random_start: bool = False
    seed: int = 0

    def __call__(
        self, victim: Victim, images: Tensor, labels: Tensor, epsilons: Sequence[float], targets: Tensor | None = None
    ) -> Attacked:
        """See `topwork.attack.attacked.Attack`."""
        settings = Ascent(self.norm, 1, 1.0, self.random_start)
        return by_gradient(settings, 1, self.seed, victim, images, labels, epsilons, targets)


@dataclass(frozen=True)
class Iterative:
    """The basic iterative method: many small steps from the picture itself (Kurakin 2017)."""

    norm: Norm = "linf"
    steps: int = 10
    step: float = 0.2
    """As a share of epsilon."""
    stop: bool = True

    def __call__(
        self, victim: Victim, images: Tensor, labels: Tensor, epsilons: Sequence[float], targets: Tensor | None = None
    ) -> Attacked:
        """See `topwork.attack.attacked.Attack`."""
        settings = Ascent(self.norm, self.steps, self.step, stop=self.stop)
        return by_gradient(settings, 1, 0, victim, images, labels, epsilons, targets)


@dataclass(frozen=True)
class Momentum:
    """The iterative method along a decaying sum of gradients, each divided by its mean size (Dong 2018)."""

    norm: Norm = "linf"
    steps: int = 10
    step: float = 0.1
    """As a share of epsilon."""
    decay: float = 1.0
    stop: bool = True

    def __call__(
        self, victim: Victim, images: Tensor, labels: Tensor, epsilons: Sequence[float], targets: Tensor | None = None
    ) -> Attacked:
        """See `topwork.attack.attacked.Attack`."""
        settings = Ascent(self.norm, self.steps, self.step, decay=self.decay, stop=self.stop)
        return by_gradient(settings, 1, 0, victim, images, labels, epsilons, targets)


@dataclass(frozen=True)
class PGD:
    """Projected gradient descent from random starts (Madry 2018)."""

    norm: Norm = "linf"
    steps: int = 40
    step: float = 0.0625
    """As a share of epsilon: 2.5 epsilon over 40 steps."""
    restarts: int = 1
    random_start: bool = True
    stop: bool = True
    lead: float = 0.0
    """Logits by which the wrong answer has to lead before a picture is left."""
    seed: int = 0

    def __call__(
        self, victim: Victim, images: Tensor, labels: Tensor, epsilons: Sequence[float], targets: Tensor | None = None
    ) -> Attacked:
        """See `topwork.attack.attacked.Attack`."""
        settings = Ascent(self.norm, self.steps, self.step, self.random_start, stop=self.stop, lead=self.lead)
        return by_gradient(settings, self.restarts, self.seed, victim, images, labels, epsilons, targets)
