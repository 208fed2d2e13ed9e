"""What an attack drives up, written on logits: cross-entropy, the lead of another class, and the difference of logits ratio.

A loss gives its value per picture, and its gradient to the logits in the form that a frozen network differentiates in one
pass: sum(linear * logits) - entropy * logsumexp(logits).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

SMALL = 1e-12


class Loss(Protocol):
    """One loss for n pictures."""

    @property
    def needs_logits(self) -> bool:
        """Whether the gradient to the logits depends on them by more than their softmax."""
        ...

    def values(self, logits: Tensor) -> Tensor:
        """(n,) for logits (n, K)."""
        ...

    def linear(self, logits: Tensor | None, classes: int) -> tuple[Tensor, float]:
        """(linear (n, K), entropy): see the module. `logits` may be None where `needs_logits` is False."""
        ...

    def fooled(self, logits: Tensor, lead: float = 0.0) -> Tensor:
        """bool (n,): whether what the attack wants leads by more than `lead`."""
        ...

    def at(self, rows: Tensor) -> Loss:
        """The same loss for some of the pictures."""
        ...


@dataclass(frozen=True, eq=False)
class Aim:
    """What is wanted of n pictures: to be anything but `labels` (n,), or to be `targets` (n,)."""

    labels: Tensor
    targets: Tensor | None = None

    def fooled(self, logits: Tensor, lead: float = 0.0) -> Tensor:
        """bool (n,): whether what is wanted leads by more than `lead`."""
        if self.targets is None:
            return -lead_of(logits, self.labels) > lead
        return lead_of(logits, self.targets) > lead

    def at(self, rows: Tensor) -> Aim:
        """For some of the pictures."""
        return Aim(self.labels[rows], None if self.targets is None else self.targets[rows])


def lead_of(logits: Tensor, labels: Tensor) -> Tensor:
    """(n,) by how much each picture's class leads the best other one; below 0 where it does not lead."""
    own = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return own - others.amax(1)


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """float32 (n, K)."""
    return functional.one_hot(labels, classes).float()


@dataclass(frozen=True, eq=False)
class CrossEntropy:
    """Of the label, driven up; of the target, driven down."""

    aim: Aim
    needs_logits = False

    def values(self, logits: Tensor) -> Tensor:
        """(n,)"""
        if self.aim.targets is None:
            return functional.cross_entropy(logits, self.aim.labels, reduction="none")
        return -functional.cross_entropy(logits, self.aim.targets, reduction="none")

    def linear(self, logits: Tensor | None, classes: int) -> tuple[Tensor, float]:
        """-z_y + logsumexp(z), or z_t - logsumexp(z)."""
        if self.aim.targets is None:
            return -one_hot(self.aim.labels, classes), -1.0
        return one_hot(self.aim.targets, classes), 1.0

    def fooled(self, logits: Tensor, lead: float = 0.0) -> Tensor:
        """bool (n,)"""
        return self.aim.fooled(logits, lead)

    def at(self, rows: Tensor) -> CrossEntropy:
        """For some of the pictures."""
        return CrossEntropy(self.aim.at(rows))


@dataclass(frozen=True, eq=False)
class Lead:
    """The lead of the best other class over the label, or of the target over the best other class (Carlini 2017)."""

    aim: Aim
    needs_logits = True

    def values(self, logits: Tensor) -> Tensor:
        """(n,)"""
        targets = self.aim.targets
        return -lead_of(logits, self.aim.labels) if targets is None else lead_of(logits, targets)

    def linear(self, logits: Tensor | None, classes: int) -> tuple[Tensor, float]:
        """+1 for the one, -1 for the other."""
        if logits is None:
            raise ValueError("the best other class is known from the logits only")
        wanted = self.aim.labels if self.aim.targets is None else self.aim.targets
        other = logits.scatter(1, wanted[:, None], -torch.inf).argmax(1)
        difference = one_hot(wanted, classes) - one_hot(other, classes)
        return -difference if self.aim.targets is None else difference, 0.0

    def fooled(self, logits: Tensor, lead: float = 0.0) -> Tensor:
        """bool (n,)"""
        return self.aim.fooled(logits, lead)

    def at(self, rows: Tensor) -> Lead:
        """For some of the pictures."""
        return Lead(self.aim.at(rows))


@dataclass(frozen=True, eq=False)
class LogitsRatio:
    """The difference of logits ratio towards one class, `towards` (n,): it does not change when all logits grow (Croce 2020).

    -(z_y - z_t) / (z_1 - (z_3 + z_4) / 2), where z_1 >= z_2 >= ... ; with fewer than four classes, the last of them stand in.
    What counts as fooled is `aim`: with no target of its own, any other class will do.
    """

    aim: Aim
    towards: Tensor
    needs_logits = True

    def values(self, logits: Tensor) -> Tensor:
        """(n,)"""
        top, scale, _ = self._parts(logits)
        return -top / scale

    def linear(self, logits: Tensor | None, classes: int) -> tuple[Tensor, float]:
        """The gradient to the logits, by the quotient rule; for two classes the denominator would cancel all of it."""
        if logits is None:
            raise ValueError("the ratio's gradient is known from the logits only")
        top, scale, places = self._parts(logits)
        difference = one_hot(self.aim.labels, classes) - one_hot(self.towards, classes)
        if places is None:
            return -difference, 0.0
        first, third, fourth = (one_hot(place, classes) for place in places)
        slope = first - (third + fourth) / 2
        return -(difference * scale[:, None] - top[:, None] * slope) / (scale**2)[:, None], 0.0

    def fooled(self, logits: Tensor, lead: float = 0.0) -> Tensor:
        """bool (n,)"""
        return self.aim.fooled(logits, lead)

    def at(self, rows: Tensor) -> LogitsRatio:
        """For some of the pictures."""
        return LogitsRatio(self.aim.at(rows), self.towards[rows])

    def _parts(self, logits: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor] | None]:
        """(difference, denominator, places of z_1, z_3, z_4)."""
        top = (logits.gather(1, self.aim.labels[:, None]) - logits.gather(1, self.towards[:, None]))[:, 0]
        classes = logits.shape[1]
        if classes < 3:
            return top, torch.ones_like(top), None
        values, order = logits.topk(min(4, classes), dim=1)
        third, fourth = values[:, 2], values[:, -1]
        return top, values[:, 0] - (third + fourth) / 2 + SMALL, (order[:, 0], order[:, 2], order[:, -1])
