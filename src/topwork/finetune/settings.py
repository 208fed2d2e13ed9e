"""How a fine-tune is made: what learns, on what machine, with which tricks."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from topwork.attack.epsilon import LEVELS
from topwork.errors import InputError
from topwork.finetune.comparing import BOUNDS
from topwork.finetune.tricks import Tricks


@dataclass(frozen=True)
class FinetuneSettings:
    """How a fine-tune is made."""

    unfreeze: str = "auto"
    """What learns: head, the last K blocks (a number), all, or auto: short runs, judged on validation pictures."""
    tricks: Tricks = field(default_factory=Tricks)
    """How the learning is done."""
    validation_share: float = 0.2
    """Share of the training pictures that chooses: when to stop, and whether it helped."""
    folds: int = 5
    """Times at most that learning is judged, each time on other pictures that were held out, while it may have helped by chance
    alone: a gain that one fifth of the pictures leaves in doubt, all of them may show."""
    scratch: float = 4.0
    """Gigabytes of disk for activations while it learns, at most."""
    scratch_folder: Path | None = None
    """Where; None: in the cache folder."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the learning runs."""
    force: bool = False
    """Take the learned network even where it is not better than the probe's."""
    adversarial: bool = False
    """Learn from pictures that are attacked at every step, so that attacks on the outcome find less (Madry 2018)."""
    epsilon: float = 4 / LEVELS
    """Largest change of a value of an attacked picture, as a share of full brightness."""
    attack_steps: int = 1
    """Steps of each attack: 1 from a random start (Wong 2020), or more (projected gradient descent)."""
    seed: int = 0
    """Draws validation pictures, views, order and dropout."""

    def __post_init__(self) -> None:
        if self.unfreeze not in ("auto", "head", "all") and not re.fullmatch(r"[1-9][0-9]{0,3}", self.unfreeze):
            raise InputError(f"unfreeze: expected auto, head, all or a number of blocks, got {self.unfreeze}.")
        if not 0 < self.validation_share < 1:
            raise InputError(f"validation_share: expected a share between 0 and 1, got {self.validation_share}.")
        if self.folds not in BOUNDS:
            raise InputError(f"folds: expected 1 to {max(BOUNDS)}, got {self.folds}.")
        if not self.scratch > 0:
            raise InputError(f"scratch: expected gigabytes above 0, got {self.scratch}.")
        if self.seed < 0:
            raise InputError(f"seed: expected 0 or more, got {self.seed}.")
        if not 0 < self.epsilon <= 1:
            raise InputError(f"epsilon: expected a share of full brightness above 0, up to 1, got {self.epsilon}.")
        if self.attack_steps < 1:
            raise InputError(f"attack_steps: expected 1 or more, got {self.attack_steps}.")
        if self.tricks.lora and self.unfreeze == "head":
            raise InputError("--lora with --unfreeze head: nothing of the network learns. Give a number of blocks.")
        if self.adversarial and self.unfreeze == "head":
            raise InputError(
                "--adversarial with --unfreeze head: a head alone cannot withstand an attack on the network before it. "
                "Use --unfreeze all, or a number of blocks."
            )
