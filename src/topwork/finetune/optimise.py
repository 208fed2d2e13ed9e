"""Steps and their sizes: optimisers, which weights they decay, and the rate over time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from topwork.finetune.tricks import Tricks


def groups_of(named: Sequence[tuple[str, nn.Parameter]], blocks: Sequence[str], tricks: Tricks) -> list[dict[str, Any]]:
    """Parameter groups with their rate and decay: rates shrink block by block away from the head; biases and norms never decay.

    `blocks`: name prefixes of the blocks that learn, in order of depth; what is under none of them is the head.
    """
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in named:
        if not parameter.requires_grad:
            continue
        depth = next((place for place, block in enumerate(blocks) if name.startswith(block)), None)
        rate = tricks.rate * (tricks.head_rate if depth is None else tricks.layer_decay ** (len(blocks) - 1 - depth))
        decay = tricks.weight_decay if parameter.ndim > 1 else 0.0
        group = groups.setdefault((rate, decay), {"params": [], "lr": rate, "initial_lr": rate, "weight_decay": decay})
        group["params"].append(parameter)
    return list(groups.values())


def optimiser_of(groups: list[dict[str, Any]], tricks: Tricks) -> torch.optim.Optimizer:
    """The optimiser by its name."""
    kind = tricks.optimiser
    if kind in ("sgd", "momentum", "nesterov"):
        # Robbins 1951; Polyak 1964; Nesterov 1983.
        return torch.optim.SGD(groups, lr=tricks.rate, momentum=0.0 if kind == "sgd" else 0.9, nesterov=kind == "nesterov")
    if kind == "adagrad":
        return torch.optim.Adagrad(groups, lr=tricks.rate)  # Duchi 2011
    if kind == "rmsprop":
        return torch.optim.RMSprop(groups, lr=tricks.rate, alpha=0.9)  # Hinton 2012
    if kind == "adam":
        return torch.optim.Adam(groups, lr=tricks.rate)  # Kingma 2015
    return torch.optim.AdamW(groups, lr=tricks.rate, fused=True)  # Loshchilov 2019


def rate_factor(step: int, steps: int, epochs: int, tricks: Tricks) -> float:
    """What the rate is multiplied with at a step of all steps, in (0, 1]."""
    share = step / max(steps, 1)
    kind = tricks.schedule
    if kind == "constant":
        return 1.0
    if kind == "step":
        return 1.0 if share < 0.6 else 0.1 if share < 0.85 else 0.01
    if kind == "exponential":
        return float(0.98 ** math.floor(share * epochs))
    rise = 0.3 if kind == "one-cycle" else tricks.warm_up
    if rise > 0 and share < rise:
        # One-cycle begins at a 25th of its peak; a warm-up at its first step.
        low = 1 / 25 if kind == "one-cycle" else 1 / max(rise * steps, 1)
        return low + (1 - low) * (1 - math.cos(math.pi * share / rise)) / 2
    return max((1 + math.cos(math.pi * (share - rise) / (1 - rise))) / 2, 1e-4)
