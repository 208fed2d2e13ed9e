"""A small fine-tune in a process of its own, to be killed."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.append(str(Path(__file__).parents[1] / "finetune"))

from toys import ToyNetwork, toy_ground

from topwork.finetune.checkpoints import read_state, write_state
from topwork.finetune.loop import State, learn
from topwork.finetune.tricks import Tricks

TRICKS = Tricks(epochs=8, batch_size=16, rate=0.01, patience=0, averaging="ema", mixing="mixup")


def run(folder: str) -> None:
    """Learn, with a checkpoint after each epoch, from where an earlier run stood; in the end write the weights."""
    torch.set_num_threads(2)
    place = Path(folder)
    checkpoint = place / "state"
    state = read_state(checkpoint, "this run")[0] if checkpoint.exists() else None
    model = ToyNetwork()

    def keep(now: State) -> None:
        write_state(checkpoint, now, "this run", {})

    done = learn(model, toy_ground(), TRICKS, state, keep)
    save_file(model.state_dict(), place / "best.safetensors")
    save_file(done.weights, place / "last.safetensors")


if __name__ == "__main__":
    run(sys.argv[1])
