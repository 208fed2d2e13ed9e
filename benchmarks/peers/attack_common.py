"""What the scripts that attack share: the words of their command line, the pictures, and what they hand back."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import tell
from torch import Tensor

STEPS = 40
"""Of every attack that takes steps: each is one gradient a picture."""

STEP = 2.5 / STEPS
"""Of projected gradient descent, as a share of epsilon."""

BATCH = 32


def given() -> argparse.Namespace:
    """library, attack, epsilon, most, pictures, out."""
    parser = argparse.ArgumentParser()
    parser.add_argument("library")
    parser.add_argument("attack")
    parser.add_argument("pictures", type=Path)
    parser.add_argument("out", type=Path, help="the attacked pictures, float32 (N, 3, H, W) in [0, 1]")
    parser.add_argument("--epsilon", type=float, default=0.0)
    parser.add_argument("--most", type=int, default=None)
    return parser.parse_args()


def pictures(file: Path, most: int | None) -> tuple[Tensor, Tensor, Tensor]:
    """(images (N, 3, H, W) in [0, 1], labels (N,), targets (N,))."""
    with np.load(file) as kept:
        images = torch.from_numpy(kept["pixels"][:most]).permute(0, 3, 1, 2).float().contiguous() / 255
        return images, torch.from_numpy(kept["labels"][:most]), torch.from_numpy(kept["targets"][:most])


def run(attack: Callable[[], Tensor], out: Path, **facts: Any) -> None:
    """Time the attack, keep its pictures and tell its seconds."""
    torch.manual_seed(0)
    start = time.perf_counter()
    found = attack()
    seconds = time.perf_counter() - start
    np.save(out, found.detach().numpy())
    tell(seconds=seconds, images=len(found), **facts)
