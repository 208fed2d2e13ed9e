"""Which rate suits: the loss while the rate grows step by step (Smith 2017)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from topwork.attack.figures import write_figure
from topwork.finetune.batches import class_weights, cross_entropy
from topwork.finetune.ground import Ground
from topwork.finetune.loop import learning
from topwork.finetune.optimise import groups_of, optimiser_of
from topwork.finetune.tricks import Tricks


@dataclass(frozen=True)
class Rates:
    """The loss at each rate, and the rate that suits."""

    rates: list[float]
    losses: list[float]
    """Smoothed."""
    suggested: float


def find_rate(model: nn.Module, ground: Ground, tricks: Tricks, low: float = 1e-6, high: float = 1.0, steps: int = 40) -> Rates:
    """The loss of `steps` batches while the rate grows from `low` to `high`; stops where the loss has grown fourfold.

    The model's weights are worth nothing afterwards. Suggested is a third of the rate of the least loss: there it still falls,
    with room before it flies off; the steepest fall itself is often in the noise.
    """
    model.to(ground.device)
    named = [(name, one) for name, one in model.named_parameters() if one.requires_grad]
    optimiser = optimiser_of(groups_of(named, ground.blocks, tricks), tricks)
    weight = class_weights(ground.labels[ground.train], ground.classes, tricks.class_weights).to(ground.device)
    hard = nn.functional.one_hot(torch.from_numpy(ground.labels), ground.classes).float()
    draw = np.random.default_rng(ground.seed)
    learning(model, tricks)
    rates, losses, smooth = [], [], 0.0
    for step in range(steps):
        rate = low * (high / low) ** (step / (steps - 1))
        pictures = draw.choice(ground.train, min(tricks.batch_size, len(ground.train)), replace=False)
        plain = np.zeros(len(pictures), np.int64)
        ground.data.ensure(pictures, plain)
        for group in optimiser.param_groups:
            group["lr"] = rate * group["initial_lr"] / tricks.rate
        optimiser.zero_grad(set_to_none=True)
        logits = model(ground.data.batch(pictures, plain).to(ground.device))
        loss = cross_entropy(logits.float(), hard[torch.from_numpy(pictures)].to(ground.device), weight)
        value = loss.item()
        if not math.isfinite(value):
            break
        smooth = 0.8 * smooth + 0.2 * value
        rates.append(rate)
        losses.append(smooth / (1 - 0.8 ** (step + 1)))
        if losses[-1] > 4 * min(losses) + 0.1:
            break
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return Rates(rates, losses, rates[int(np.argmin(losses))] / 3)


def draw_rates(found: Rates, file: Path) -> None:
    """Draw the loss over the rate into `file`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.semilogx(found.rates, found.losses, color="#3e8a5e", linewidth=2)
    axes.axvline(found.suggested, color="#c8583a", linestyle="--", linewidth=1.2)
    axes.annotate(
        f"{found.suggested:.1g} suits",
        (found.suggested, max(found.losses)),
        xytext=(6, -4),
        textcoords="offset points",
        va="top",
        color="#c8583a",
    )
    axes.set_xlabel("rate")
    axes.set_ylabel("loss, smoothed")
    axes.set_title("The loss while the rate grows", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    write_figure(figure, file)
