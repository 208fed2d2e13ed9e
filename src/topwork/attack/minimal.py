"""Attacks that look for the smallest change: DeepFool (Moosavi-Dezfooli 2016), decoupled direction and norm (Rony 2019), and
the fast minimum-norm attack (Pintor 2021).

Each ends on the line between the picture and what it found: halving tells how much of the change is enough, and float32 torch
confirms it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from topwork.attack.attacked import Attacked, Count, by_distance
from topwork.attack.losses import Aim, Lead, Loss, one_hot
from topwork.attack.norms import TINY, Norm, each, project, sizes
from topwork.attack.victim import Victim
from topwork.errors import InputError

HALVINGS = 7
"""Times that the part of the change between nothing and all is halved, at the end."""

FURTHER = (1.0, 1.002, 1.01, 1.03, 1.1, 1.3)
"""How much further along its line a change is taken where float32 does not confirm it."""


@dataclass(eq=False)
class Best:
    """The nearest fooling picture so far."""

    images: Tensor
    distance: Tensor
    """(n,), infinite where there is none yet."""

    @classmethod
    def none(cls, clean: Tensor) -> Best:
        """Nothing found yet."""
        return cls(clean.clone(), torch.full((len(clean),), torch.inf))

    def note(self, images: Tensor, fooled: Tensor, distance: Tensor) -> None:
        """Keep what is nearer."""
        self.note_rows(torch.arange(len(images)), images, fooled, distance)

    def note_rows(self, rows: Tensor, images: Tensor, fooled: Tensor, distance: Tensor) -> None:
        """Keep what is nearer of some of the pictures."""
        nearer = fooled & (distance < self.distance[rows])
        self.images[rows[nearer]], self.distance[rows[nearer]] = images[nearer], distance[nearer]


def settled(victim: Victim, clean: Tensor, best: Best, loss: Loss, count: Count) -> tuple[Tensor, Tensor]:
    """(images, success): each change shortened as far as it still fools, and confirmed by float32 torch."""
    found, success = best.images.clone(), torch.zeros(len(clean), dtype=torch.bool)
    rows = best.distance.isfinite().nonzero().flatten()
    if not len(rows):
        return found, success
    some, losses, start, change = victim.at(rows), loss.at(rows), clean[rows], best.images[rows] - clean[rows]
    low, high = torch.zeros(len(rows)), torch.ones(len(rows))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        fooled = losses.fooled(some.logits(start + each(middle, change) * change))
        count.add(rows, forwards=1)
        low, high = torch.where(fooled, low, middle), torch.where(fooled, middle, high)
    todo = torch.arange(len(rows))
    for further in FURTHER:
        images = (start[todo] + each(further * high[todo], change) * change[todo]).clamp_(0, 1)
        fooled = losses.at(todo).fooled(some.at(todo).exact(images))
        count.add(rows[todo], forwards=1)
        found[rows[todo]] = images
        success[rows[todo[fooled]]] = True
        todo = todo[~fooled]
        if not len(todo):
            break
    return found, success


@dataclass(frozen=True)
class FMN:
    """The fast minimum-norm attack: a ball that shrinks where the picture fools and grows where it does not (Pintor 2021)."""

    norm: Norm = "l2"
    steps: int = 100
    rate: float = 1.0
    """Length of the first step; it falls to a hundredth along half a cosine."""
    change: float = 0.05
    """Share by which the ball first shrinks or grows; it falls to 0.001."""

    def __call__(
        self, victim: Victim, images: Tensor, labels: Tensor, epsilons: Sequence[float], targets: Tensor | None = None
    ) -> Attacked:
        """See `topwork.attack.attacked.Attack`."""
        start = time.perf_counter()
        loss, count, rows = Lead(Aim(labels, targets)), Count.none(len(images)), torch.arange(len(images))
        best, current = Best.none(images), images.clone()
        reach = torch.full((len(images),), torch.inf)
        for step in range(self.steps):
            falling = (1 + math.cos(math.pi * step / self.steps)) / 2
            rate = self.rate / 100 + (self.rate - self.rate / 100) * falling
            share = 0.001 + (self.change - 0.001) * falling
            logits, gradient = victim.gradient(current, loss)
            count.add(rows, gradients=1)
            fooled, distance = loss.fooled(logits), sizes(current - images, self.norm)
            best.note(current, fooled, distance)
            ever = best.distance.isfinite()
            # Until the border was crossed once, the ball reaches a little beyond where the slope says that it is.
            away = loss.values(logits).abs() / self._dual(gradient).clamp_min(TINY)
            grown = torch.where(ever, reach, distance + away) * (1 + share)
            reach = torch.where(fooled, torch.minimum(reach * (1 - share), best.distance), grown)
            length = gradient.flatten(1).norm(dim=1).clamp_min(TINY)
            current = project(current + each(rate / length, gradient) * gradient, images, reach, self.norm)
        logits = victim.logits(current)
        count.add(rows, forwards=1)
        best.note(current, loss.fooled(logits), sizes(current - images, self.norm))
        found, success = settled(victim, images, best, loss, count)
        return by_distance(images, epsilons, self.norm, found, success, count, time.perf_counter() - start)

    def _dual(self, gradient: Tensor) -> Tensor:
        flat = gradient.flatten(1)
        return flat.abs().sum(1) if self.norm == "linf" else flat.norm(dim=1)


@dataclass(frozen=True)
class DDN:
    """Decoupled direction and norm: steps of their own length, then out or in to the current norm; l2 (Rony 2019)."""

    steps: int = 100
    start: float = 1.0
    """The first norm."""
    change: float = 0.05
    """Share by which the norm shrinks or grows at each step."""

    @property
    def norm(self) -> Norm:
        """The root of the sum of squares."""
        return "l2"

    def __call__(
        self, victim: Victim, images: Tensor, labels: Tensor, epsilons: Sequence[float], targets: Tensor | None = None
    ) -> Attacked:
        """See `topwork.attack.attacked.Attack`."""
        begun = time.perf_counter()
        loss, count, rows = Lead(Aim(labels, targets)), Count.none(len(images)), torch.arange(len(images))
        best, delta = Best.none(images), torch.zeros_like(images)
        reach = torch.full((len(images),), self.start)
        for step in range(self.steps):
            rate = 0.01 + 0.99 * (1 + math.cos(math.pi * step / self.steps)) / 2
            logits, gradient = victim.gradient(images + delta, loss)
            count.add(rows, gradients=1)
            fooled = loss.fooled(logits)
            best.note(images + delta, fooled, sizes(delta, "l2"))
            reach = reach * torch.where(fooled, 1 - self.change, 1 + self.change)
            delta = delta + each(rate / sizes(gradient, "l2").clamp_min(TINY), gradient) * gradient
            delta = delta * each(reach / sizes(delta, "l2").clamp_min(TINY), delta)
            delta = (images + delta).clamp_(0, 1) - images
        logits = victim.logits(images + delta)
        count.add(rows, forwards=1)
        best.note(images + delta, loss.fooled(logits), sizes(delta, "l2"))
        found, success = settled(victim, images, best, loss, count)
        return by_distance(images, epsilons, "l2", found, success, count, time.perf_counter() - begun)


@dataclass(frozen=True)
class DeepFool:
    """Steps to the nearest border, each border taken for a plane (Moosavi-Dezfooli 2016)."""

    norm: Norm = "l2"
    steps: int = 50
    candidates: int = 10
    """Of the likeliest classes, so many borders are looked at."""
    overshoot: float = 0.02

    def __call__(
        self, victim: Victim, images: Tensor, labels: Tensor, epsilons: Sequence[float], targets: Tensor | None = None
    ) -> Attacked:
        """See `topwork.attack.attacked.Attack`."""
        if targets is not None:
            raise InputError("DeepFool goes to the nearest class: it takes no target. Leave it out, or take another attack.")
        start = time.perf_counter()
        count, loss = Count.none(len(images)), Lead(Aim(labels))
        best, moved = Best.none(images), torch.zeros_like(images)
        first = victim.logits(images)
        count.add(torch.arange(len(images)), forwards=1)
        others = first.scatter(1, labels[:, None], -torch.inf).topk(min(self.candidates, victim.classes) - 1, dim=1).indices
        active, current = torch.arange(len(images)), images
        for _ in range(self.steps):
            some, steps = victim.at(active), []
            for place in range(others.shape[1]):
                border = _Border(labels[active], others[active, place])
                logits, gradient = some.gradient(current, border)
                count.add(active, gradients=1)
                if place == 0:
                    fooled = loss.at(active).fooled(logits)
                steps.append(self._step(border.values(logits), gradient))
            nearest = torch.stack([far for far, _ in steps]).argmin(0)
            step = torch.stack([one for _, one in steps])[nearest, torch.arange(len(active))]
            best.note_rows(active, current, fooled, sizes(current - images[active], self.norm))
            stay = ~fooled
            active, step = active[stay], step[stay]
            if not len(active):
                break
            moved[active] += step
            current = (images[active] + (1 + self.overshoot) * moved[active]).clamp_(0, 1)
        if len(active):
            fooled = loss.at(active).fooled(victim.at(active).logits(current))
            count.add(active, forwards=1)
            best.note_rows(active, current, fooled, sizes(current - images[active], self.norm))
        found, success = settled(victim, images, best, loss, count)
        return by_distance(images, epsilons, self.norm, found, success, count, time.perf_counter() - start)

    def _step(self, values: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """(distance (n,) to the border, step (n, ...) over it)."""
        flat = gradient.flatten(1)
        slope = (flat.abs().sum(1) if self.norm == "linf" else flat.norm(dim=1)) + 1e-8
        far = values.abs() / slope
        way = gradient.sign() if self.norm == "linf" else gradient / each(slope, gradient)
        return far, each(far + 1e-4, way) * way


@dataclass(frozen=True, eq=False)
class _Border:
    """The lead of one other class over the label: it is 0 on the border between the two."""

    labels: Tensor
    others: Tensor
    needs_logits = False

    def values(self, logits: Tensor) -> Tensor:
        return (logits.gather(1, self.others[:, None]) - logits.gather(1, self.labels[:, None]))[:, 0]

    def linear(self, logits: Tensor | None, classes: int) -> tuple[Tensor, float]:
        return one_hot(self.others, classes) - one_hot(self.labels, classes), 0.0

    def fooled(self, logits: Tensor, lead: float = 0.0) -> Tensor:
        return self.values(logits) > lead

    def at(self, rows: Tensor) -> _Border:
        return _Border(self.labels[rows], self.others[rows])
