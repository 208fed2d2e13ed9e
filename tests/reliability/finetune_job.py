"""A small fine-tune in a process of its own, to be killed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

sys.path.append(str(Path(__file__).parents[1] / "finetune"))

from toys import ToyNetwork, toy_ground

from topwork.finetune.checkpoints import read_states, write_states
from topwork.finetune.loop import learn, learn_again
from topwork.finetune.state import State
from topwork.finetune.tricks import Tricks

TRICKS = Tricks(epochs=8, batch_size=16, rate=0.01, patience=0, averaging="ema", mixing="mixup")


def run(folder: str) -> None:
    """Learn, with a checkpoint after each epoch, from where an earlier run stood; in the end write the weights."""
    torch.set_num_threads(2)
    place = Path(folder)
    checkpoint = place / "state"
    states = read_states(checkpoint, "this run")[0] if checkpoint.exists() else []
    model: torch.nn.Module = ToyNetwork()

    def keep(*now: State) -> None:
        write_states(checkpoint, now, "this run", {})

    chosen = learn(model, toy_ground(), TRICKS, next(iter(states), None), keep)
    save_file(model.state_dict(), place / "best.safetensors")
    model = ToyNetwork()
    every, past = np.arange(120), next(iter(states[1:]), None)
    again = learn_again(model, toy_ground(), TRICKS, chosen, every, past, lambda now: keep(chosen, now))
    save_file(model.state_dict(), place / "again.safetensors")
    save_file(again.weights, place / "last.safetensors")


if __name__ == "__main__":
    run(sys.argv[1])
