"""What an attack hands back, and the order in which it goes through its epsilons."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from topwork.attack.epsilon import ROUNDING
from topwork.attack.norms import Norm, distances, each, project
from topwork.attack.victim import Victim


@dataclass(frozen=True, eq=False)
class Attacked:
    """K epsilons, N pictures. An attacked picture that is a success at one epsilon is one at every larger epsilon."""

    epsilons: tuple[float, ...]
    images: list[Tensor]
    """K times (N, 3, H, W) in [0, 1]: where there is no success, the last try."""
    success: Tensor
    """bool (K, N): the network in float32 is fooled by a picture within epsilon."""
    distances: Tensor
    """float (K, N), in the attack's norm, from the pictures before."""
    queries: Tensor
    """int (K, N): pictures sent through the network, forward or with a gradient, for this epsilon."""
    gradients: Tensor
    """int (K, N): of these, those with a gradient."""
    seconds: float

    @property
    def left(self) -> Tensor:
        """(K,) share of the pictures that are still answered as before."""
        return 1 - self.success.float().mean(1)


class Attack(Protocol):
    """Settings that can be called."""

    @property
    def norm(self) -> Norm:
        """What epsilon limits."""
        ...

    def __call__(
        self,
        victim: Victim,
        images: Tensor,
        labels: Tensor,
        epsilons: Sequence[float],
        targets: Tensor | None = None,
    ) -> Attacked:
        """Attack images (N, 3, H, W), answered as labels (N,); with targets (N,), until they are answered as those."""
        ...


@dataclass(eq=False)
class Count:
    """How often each picture went through the network."""

    queries: Tensor
    gradients: Tensor

    @classmethod
    def none(cls, count: int) -> Count:
        """Not at all, for `count` pictures."""
        return cls(torch.zeros(count, dtype=torch.long), torch.zeros(count, dtype=torch.long))

    def add(self, rows: Tensor, gradients: int = 0, forwards: int = 0) -> None:
        """Some more for the pictures `rows`."""
        self.queries[rows] += gradients + forwards
        self.gradients[rows] += gradients


Found = tuple[Tensor, Tensor]
"""(images (n, 3, H, W), success (n,))."""

Run = Callable[[Tensor, float, Count], Found]
"""Attacks the pictures `rows` (n,) at one epsilon, counting in a Count of all pictures."""


def over_epsilons(images: Tensor, epsilons: Sequence[float], norm: Norm, run: Run) -> Attacked:
    """Every epsilon, the smallest first; a picture fooled at a smaller one is done, since it lies within the larger too."""
    if not epsilons or min(epsilons) < 0:
        raise ValueError(f"expected one epsilon or more, none below 0, got {list(epsilons)}")
    start = time.perf_counter()
    count = len(images)
    found: dict[float, tuple[Tensor, Tensor, Count]] = {}
    current, success = images.clone(), torch.zeros(count, dtype=torch.bool)
    for epsilon in sorted(set(epsilons)):
        counted = Count.none(count)
        rows = (~success).nonzero().flatten()
        if len(rows):
            attacked, fooled = run(rows, float(epsilon), counted)
            current, success = current.clone(), success.clone()
            current[rows], success[rows] = attacked, fooled
        found[epsilon] = current, success, counted
    ordered = [found[epsilon] for epsilon in epsilons]
    return Attacked(
        tuple(epsilons),
        [one for one, _, _ in ordered],
        torch.stack([one for _, one, _ in ordered]),
        torch.stack([distances(one, images, norm) for one, _, _ in ordered]),
        torch.stack([one.queries for _, _, one in ordered]),
        torch.stack([one.gradients for _, _, one in ordered]),
        time.perf_counter() - start,
    )


def by_distance(
    images: Tensor, epsilons: Sequence[float], norm: Norm, best: Tensor, fooled: Tensor, counted: Count, seconds: float
) -> Attacked:
    """What a minimal attack found, as an answer for each epsilon: a success where its distance is within epsilon, and where it
    is not, as much of the change as epsilon allows.
    """
    far = distances(best, images, norm)
    none = torch.zeros_like(counted.queries)
    success = [fooled & (far <= epsilon + ROUNDING) for epsilon in epsilons]
    found = []
    for epsilon, done in zip(epsilons, success, strict=True):
        within = project(best, images, torch.full_like(far, epsilon), norm)
        found.append(torch.where(each(done, best), best, within))
    return Attacked(
        tuple(epsilons),
        found,
        torch.stack(success),
        torch.stack([distances(one, images, norm) for one in found]),
        torch.stack([counted.queries if place == 0 else none for place, _ in enumerate(epsilons)]),
        torch.stack([counted.gradients if place == 0 else none for place, _ in enumerate(epsilons)]),
        seconds,
    )
