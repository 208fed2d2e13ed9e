"""What a step learns from: rows and the probabilities wanted of them, blended or pasted where asked for, and their loss."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from topwork.finetune.ground import Ground, Rows
from topwork.finetune.tricks import Tricks


def cross_entropy(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean of - sum over classes of target x log p, each class weighed; logits and target (n, K)."""
    return -(target * weight * logits.log_softmax(1)).sum(1).mean()


def class_weights(labels: Rows, classes: int, how: str) -> Tensor:
    """(K,) ones, or inverse to the classes' sizes with mean 1 over the pictures."""
    if how == "none":
        return torch.ones(classes)
    sizes = np.bincount(labels, minlength=classes)
    return torch.from_numpy(len(labels) / (max(int((sizes > 0).sum()), 1) * np.maximum(sizes, 1))).float()


def targets_of(ground: Ground, tricks: Tricks) -> Tensor:
    """(N, K) probabilities wanted of each picture."""
    hard = functional.one_hot(torch.from_numpy(ground.labels), ground.classes).float()
    return hard * (1 - tricks.label_smoothing) + tricks.label_smoothing / ground.classes


def mixed(
    ground: Ground, pictures: Rows, views: Rows, targets: Tensor, tricks: Tricks, draw: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """(rows, targets) of a batch on the device, blended or pasted where asked for."""
    rows, target = ground.data.batch(pictures, views).to(ground.device), targets[torch.from_numpy(pictures)].to(ground.device)
    if tricks.mixing == "none" or len(pictures) < 2:
        return rows, target
    share = float(draw.beta(0.4, 0.4))
    other = torch.from_numpy(draw.permutation(len(pictures))).to(ground.device)
    layout = getattr(ground.data, "layout", None)
    if tricks.mixing == "cutmix" and layout is not None:
        rows, share = _pasted(rows, rows[other], layout, share, draw)
    else:
        rows = share * rows.float() + (1 - share) * rows[other].float()
    return rows, share * target + (1 - share) * target[other]


def _pasted(
    rows: Tensor, other: Tensor, layout: tuple[int, int, int, int], share: float, draw: np.random.Generator
) -> tuple[Tensor, float]:
    """Rows with a rectangle of their maps from other rows, and the share that is their own. layout: (start, H, W, channels)."""
    begin, height, width, channels = layout
    tall, wide = round(height * math.sqrt(1 - share)), round(width * math.sqrt(1 - share))
    top, left = int(draw.integers(height - tall + 1)), int(draw.integers(width - wide + 1))
    rows = rows.clone()
    maps = rows[:, begin : begin + height * width * channels].view(len(rows), height, width, channels)
    source = other[:, begin : begin + height * width * channels].reshape(len(rows), height, width, channels)
    maps[:, top : top + tall, left : left + wide] = source[:, top : top + tall, left : left + wide]
    return rows, 1 - tall * wide / (height * width)
