"""How deep to learn: a few depths, each tried as it would really learn but for fewer epochs, judged on validation pictures.

Shorter trials mislead: on satellite tiles, two epochs on half of the pictures without views make every depth worse than the
probe, and the deepest worst; four on views of all pictures give a validation loss of .085, .078 and .074 for 1, 4 and 8 blocks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from topwork.finetune.activations import Activations
from topwork.finetune.frozen import Frozen, behind, layout_of
from topwork.finetune.learner import Learner
from topwork.finetune.loop import Ground, learn
from topwork.finetune.tricks import Tricks
from topwork.zoo.backbone import Backbone

Rows = NDArray[np.int64]

PICTURES = 2000
"""Training pictures of a trial at most."""
EPOCHS = 4
"""Of a trial, at most."""
WORTH = 0.03
"""Share of the validation loss that a deeper cut must take away more, to be worth its price."""


@dataclass(frozen=True)
class Depth:
    """One depth and how a short run of it went."""

    blocks: int
    """Blocks that learn, counted from the head."""
    cut: str
    """The first of them."""
    start_loss: float
    """Validation loss of the probe."""
    loss: float
    """Best validation loss of the short run."""
    accuracy: float
    images_per_second: float
    """Training pictures a second."""
    seconds: float
    """Of the short run, views that it made included."""

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
    """A short run of each number of blocks in `candidates`, as long as more blocks help; `cuts` are the blocks, the last first.

    `ground.data` holds rows of all cuts.
    """
    data = ground.data
    assert isinstance(data, Activations)  # noqa: S101 - made by the caller
    draw = np.random.default_rng(ground.seed)
    train = np.sort(draw.permutation(ground.train)[:PICTURES])
    short = replace(tricks, epochs=min(EPOCHS, tricks.epochs), patience=0, interpolation="none")
    found: list[Depth] = []
    for blocks in candidates(len(cuts)):
        began = time.perf_counter()
        cut = cuts[blocks - 1]
        part = behind(backbone, frozen, cut)
        here = replace(data, parts=frozen.prefix.columns(cut), layout=layout_of(part))
        names = tuple(f"behind.network.{name}." for name in part.names)
        model = Learner(part, head())
        state = learn(model, replace(ground, data=here, train=train, blocks=names, start_counts=False), short)
        if state.interrupted:
            raise KeyboardInterrupt
        if state.fault is not None:
            raise state.fault
        data.made, data.seconds = here.made, here.seconds
        best = state.best_row
        seconds = sum(row.seconds for row in state.history[1:])
        rate = len(train) * state.epochs / max(seconds, 1e-9)
        tried = Depth(blocks, cut, state.history[0].loss, best.loss, best.accuracy, rate, time.perf_counter() - began)
        found.append(tried)
        if len(found) > 1 and not _worth(tried, found[-2]):
            break
    return found


def _worth(deeper: Depth, depth: Depth) -> bool:
    return deeper.loss < depth.loss * (1 - WORTH)


def chosen_depth(tried: Sequence[Depth]) -> tuple[Depth, str]:
    """(the depth to take, why): the deepest of which each lowers the validation loss by clearly more than the one before.

    Seconds are told and do not choose: they change from run to run.
    """
    best = tried[0]
    for depth in tried[1:]:
        if _worth(depth, best):
            best = depth
    told = "; ".join(f"{depth.blocks}: {depth.loss:.3f}, {depth.images_per_second:.0f} pictures a second" for depth in tried)
    return best, (
        f"the last {best.blocks} blocks learn, from {best.cut} on: in short runs the validation loss went "
        f"from {best.start_loss:.3f} to {best.loss:.3f} (blocks: loss, speed: {told}); "
        f"a deeper cut must take {WORTH:.0%} more away"
    )


def price(depth: Depth, tricks: Tricks, pictures: int) -> float:
    """Seconds that a whole run may take, from what the trial measured."""
    return pictures * tricks.epochs / max(depth.images_per_second, 1e-9)
