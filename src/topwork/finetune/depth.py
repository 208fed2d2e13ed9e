"""How deep to learn: a few depths, each tried as it would really learn but for fewer epochs, judged on validation pictures.

Short runs flatter shallow cuts, for few weights settle sooner. On satellite tiles four and eight blocks stand alike after four
epochs (validation loss .125 and .128 on two fifths of the pictures that were held out in turn) and apart after twelve (.124 and
.102). So a deeper cut is taken unless it is clearly worse.
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
from topwork.finetune.ground import Ground
from topwork.finetune.learner import Learner
from topwork.finetune.loop import answers, learn
from topwork.finetune.lora import adapt
from topwork.finetune.tricks import Tricks
from topwork.heads.calibrate import fit_temperature
from topwork.heads.metrics import softmax
from topwork.zoo.backbone import Backbone

Rows = NDArray[np.int64]

PICTURES = 2000
"""Training pictures of a trial at most."""
EPOCHS = 4
"""Of a trial, at most."""
WORSE = 1.0
"""Standard errors by which the validation loss of a deeper cut must be larger than the best so far, to be left."""


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
    rise: float
    """Mean rise of the loss against the best of the shallower cuts; 0 for the first."""
    rise_error: float
    """Its standard error: both answered the same pictures."""
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
    """A short run of each number of blocks in `candidates` until one is clearly worse; `cuts` are the blocks, the last first.

    `ground.data` holds rows of all cuts.
    """
    data = ground.data
    assert isinstance(data, Activations)  # noqa: S101 - made by the caller
    draw = np.random.default_rng(ground.seed)
    train = np.sort(draw.permutation(ground.train)[:PICTURES])
    short = replace(tricks, epochs=min(EPOCHS, tricks.epochs), patience=0, interpolation="none")
    found: list[Depth] = []
    least: NDArray[np.float32] | None = None
    for blocks in candidates(len(cuts)):
        began = time.perf_counter()
        cut = cuts[blocks - 1]
        part = behind(backbone, frozen, cut, tricks.precision, tricks.batch_norm == "frozen")
        here = replace(data, parts=frozen.prefix.columns(cut), layout=layout_of(part))
        names = tuple(f"behind.network.{name}." for name in part.names)
        if tricks.lora:
            adapt(part, tricks.lora, ground.seed)
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
        losses = _losses(model, ground, here)
        rise = np.zeros(2) if least is None else losses - least
        error = float(rise.std(ddof=1) / np.sqrt(len(rise)))
        tried = Depth(
            blocks,
            cut,
            state.history[0].loss,
            best.loss,
            float(rise.mean()),
            error,
            best.accuracy,
            rate,
            time.perf_counter() - began,
        )
        found.append(tried)
        if _worse(tried):
            break
        if least is None or losses.mean() < least.mean():
            least = losses
    return found


def _losses(model: nn.Module, ground: Ground, data: Activations) -> NDArray[np.float32]:
    """Log loss (n,) of each validation picture, at the temperature that suits them best."""
    logits = answers(model, replace(ground, data=data), ground.validation).numpy()
    labels = ground.labels[ground.validation]
    probs = softmax(logits, fit_temperature(logits, labels))
    return -np.log(np.maximum(probs[np.arange(len(labels)), labels], 1e-12))


def _worse(depth: Depth) -> bool:
    return depth.rise > WORSE * depth.rise_error


def chosen_depth(tried: Sequence[Depth]) -> tuple[Depth, str]:
    """(the depth to take, why): the deepest that is not clearly worse than the best before it.

    Seconds are told and do not choose: they change from run to run.
    """
    best = [depth for depth in tried if not _worse(depth)][-1]
    told = "; ".join(f"{depth.blocks}: {depth.loss:.3f}, {depth.images_per_second:.0f} pictures a second" for depth in tried)
    return best, (
        f"the last {best.blocks} blocks learn, from {best.cut} on: in short runs the validation loss went "
        f"from {best.start_loss:.3f} to {best.loss:.3f} (blocks: loss, speed: {told}); "
        "a deeper cut is taken unless it is worse by more than a standard error, for it gains more from the epochs to come"
    )


def price(depth: Depth, tricks: Tricks, pictures: int) -> float:
    """Seconds that a whole run may take, from what the trial measured."""
    return pictures * tricks.epochs / max(depth.images_per_second, 1e-9)
