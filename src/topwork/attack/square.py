"""Square: random search that needs only answers, no gradient (Andriushchenko 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from topwork.attack.attacked import Attacked, Count, over_epsilons
from topwork.attack.gradient import confirmed
from topwork.attack.losses import Aim, Lead, Loss
from topwork.attack.norms import Norm
from topwork.attack.victim import Victim

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Of 10,000 queries: where the squares' area is halved."""


@dataclass(frozen=True)
class Square:
    """Squares of plus or minus epsilon, kept where they lower the right answer's lead; linf."""

    queries: int = 5000
    area: float = 0.8
    """Of the first squares, as a share of the picture."""
    seed: int = 0

    @property
    def norm(self) -> Norm:
        """The largest change."""
        return "linf"

    def __call__(
        self, victim: Victim, images: Tensor, labels: Tensor, epsilons: Sequence[float], targets: Tensor | None = None
    ) -> Attacked:
        """See `topwork.attack.attacked.Attack`."""
        loss = Lead(Aim(labels, targets))

        def run(rows: Tensor, epsilon: float, count: Count) -> tuple[Tensor, Tensor]:
            generator = torch.Generator().manual_seed(self.seed)
            return self._search(victim.at(rows), images[rows], loss.at(rows), epsilon, generator, count, rows)

        return over_epsilons(images, epsilons, "linf", run)

    def _search(
        self, victim: Victim, clean: Tensor, loss: Loss, epsilon: float, generator: torch.Generator, count: Count, rows: Tensor
    ) -> tuple[Tensor, Tensor]:
        number, channels, _, width = clean.shape
        found, success = clean.clone(), torch.zeros(number, dtype=torch.bool)
        active = torch.arange(number)
        inside = victim.allowed(torch.ones_like(clean))[:, 0]  # photos of several sizes lie in one tensor
        extents = torch.stack([inside[:, :, 0].sum(1), inside[:, 0].sum(1)], 1).long()
        stripes = _signs((number, channels, 1, width), generator)
        best = (clean + victim.allowed((epsilon * stripes).expand_as(clean))).clamp_(0, 1)
        reached = torch.full((number,), -torch.inf)
        images = best
        for query in range(self.queries):
            some, losses = victim.at(active), loss.at(active)
            logits = some.logits(images)
            count.add(rows[active], forwards=1)
            values = losses.values(logits)
            better = values > reached
            best[better], reached = images[better], torch.maximum(values, reached)
            fooled = confirmed(some, images, losses, logits)
            found[active] = best
            found[active[fooled]] = images[fooled]
            success[active[fooled]] = True
            stay = ~fooled
            active, best, reached = active[stay], best[stay], reached[stay]
            if not len(active):
                break
            corners = torch.rand(number, 2, generator=generator)[active]
            signs = _signs((number, channels, 1, 1), generator)[active]
            images = best.clone()
            for place, (down, across) in enumerate(corners.tolist()):
                high, broad = extents[active[place]].tolist()
                side = max(1, round((self.share(query) * high * broad) ** 0.5))
                tall, wide = min(side, high), min(side, broad)
                top, left = int(down * (high - tall + 1)), int(across * (broad - wide + 1))
                window = (slice(None), slice(top, top + tall), slice(left, left + wide))
                images[place][window] = (clean[active[place]][window] + epsilon * signs[place]).clamp_(0, 1)
        return found, success

    def share(self, query: int) -> float:
        """The squares' area at a query, as a share of the picture."""
        place = query * 10_000 / self.queries
        halved = sum(place > halving for halving in HALVINGS)
        return self.area / float(1 << halved)


def _signs(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randint(0, 2, shape, generator=generator).float() * 2 - 1
