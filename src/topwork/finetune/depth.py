"""How deep to learn: a short measured trial of a few depths, judged on validation pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from topwork.finetune.activations import Activations
from topwork.finetune.frozen import Frozen, behind
from topwork.finetune.learner import Learner
from topwork.finetune.loop import Ground, learn
from topwork.finetune.tricks import Tricks
from topwork.zoo.backbone import Backbone

Rows = NDArray[np.int64]

PICTURES = 480
"""Training pictures of a trial at most."""
EPOCHS = 2
"""Of a trial."""
WORTH = 0.03
"""Share of the validation loss that a deeper cut must take away more, to be worth its price."""


@dataclass(frozen=True)
class Depth:
    """One depth and how a short trial of it went."""

    blocks: int
    """Blocks that learn, counted from the head."""
    cut: str
    """The first of them."""
    start_loss: float
    """Validation loss of the probe."""
    loss: float
    """Best validation loss of the trial."""
    accuracy: float
    images_per_second: float
    """Training pictures a second."""
    seconds: float
    """Of the whole trial."""

    def to_config(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


def candidates(count: int) -> list[int]:
    """Numbers of blocks worth a trial, of `count` there are: the last one, a quarter, half of them."""
    return sorted({1, max(1, round(count / 4)), max(1, round(count / 2))})


def try_depths(
    backbone: Backbone,
    frozen: Frozen,
    cuts: Sequence[str],
    ground: Ground,
    tricks: Tricks,
    head: Callable[[], nn.Module],
) -> list[Depth]:
    """A short trial of each number of blocks in `candidates`; `cuts` are the blocks, the last first.

    `ground.data` holds rows of all cuts; only plain views are used, so that the trial costs one pass over few pictures.
    """
    data = ground.data
    assert isinstance(data, Activations)  # noqa: S101 - made by the caller
    draw = np.random.default_rng(ground.seed)
    train = np.sort(draw.permutation(ground.train)[:PICTURES])
    for pictures in (train, ground.validation):
        data.ensure(pictures, np.zeros(len(pictures), np.int64))
    short = replace(tricks, epochs=EPOCHS, patience=0, averaging="none", mixing="none", warm_up=0.1)
    found = []
    for blocks in candidates(len(cuts)):
        began = time.perf_counter()
        cut = cuts[blocks - 1]
        part = behind(backbone, frozen, cut)
        here = replace(data, parts=frozen.prefix.columns(cut))
        names = tuple(f"behind.network.{name}." for name in part.names)
        state = learn(Learner(part, head()), replace(ground, data=here, train=train, blocks=names), short)
        if state.interrupted:
            raise KeyboardInterrupt
        best = state.best_row
        seconds = sum(row.seconds for row in state.history[1:])
        rate = len(train) * state.epochs / max(seconds, 1e-9)
        found.append(Depth(blocks, cut, state.history[0].loss, best.loss, best.accuracy, rate, time.perf_counter() - began))
    return found


def chosen_depth(tried: Sequence[Depth]) -> tuple[Depth, str]:
    """(the depth to take, why): the shallowest, unless a deeper one lowers the validation loss by clearly more.

    Seconds are told and do not choose: they change from run to run.
    """
    best = tried[0]
    for depth in tried[1:]:
        if depth.loss < best.loss * (1 - WORTH):
            best = depth
    told = "; ".join(f"{depth.blocks}: {depth.loss:.3f}, {depth.images_per_second:.0f} pictures a second" for depth in tried)
    return best, (
        f"the last {best.blocks} blocks learn, from {best.cut} on: in a short trial the validation loss went "
        f"from {best.start_loss:.3f} to {best.loss:.3f} (blocks: loss, speed: {told}); "
        f"a deeper cut must take {WORTH:.0%} more away"
    )


def price(depth: Depth, data: Activations, tricks: Tricks, pictures: int) -> float:
    """Seconds that a whole run may take, from what the trial measured."""
    view_rate = data.made / max(data.seconds, 1e-9)
    return pictures * tricks.views / view_rate + pictures * tricks.epochs / max(depth.images_per_second, 1e-9)
