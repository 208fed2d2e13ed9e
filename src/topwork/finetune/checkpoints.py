"""A run on disk between two epochs: one file, replaced in one step, from which it goes on bit by bit as it would have."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from topwork.errors import InputError
from topwork.finetune.state import Epoch, State, rows_of
from topwork.runtime import publish_file

FORMAT = 2
STAGES = ("chosen", "again")
"""What learned with validation pictures held out, and what learned again from all."""


def identity_of(facts: dict[str, Any]) -> str:
    """A hash of all that decides how a run goes."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def write_states(path: Path, states: Sequence[State], identity: str, depth: dict[str, Any]) -> None:
    """Put the states of the stages so far at `path` in one step. Raises StorageError; then what was there is still there."""
    tensors: dict[str, Tensor] = {}
    stages = [_flattened(state, f"{stage}/", tensors) for state, stage in zip(states, STAGES, strict=False)]
    facts = {"format": FORMAT, "identity": identity, "depth": depth, "stages": stages}
    # Tensors that share memory (the best weights may be the last ones) are written apart.
    apart = {name: one.clone(memory_format=torch.contiguous_format) for name, one in tensors.items()}
    publish_file(path, save(apart, {"topwork": json.dumps(facts)}))


def _flattened(state: State, stage: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The plain part of a state; its tensors go into `tensors`, with `stage` before their names."""
    for kind in ("weights", "average", "best"):
        for name, one in (getattr(state, kind) or {}).items():
            tensors[f"{stage}{kind}/{name}"] = one
    plain: dict[str, dict[str, Any]] = {}
    for number, entries in state.optimiser["state"].items():
        for key, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"{stage}optimiser/{number}/{key}"] = value
            else:
                plain.setdefault(str(number), {})[key] = value
    return {
        "averaged": state.averaged,
        "best_epoch": state.best_epoch,
        "history": rows_of(state.history),
        "groups": state.optimiser["param_groups"],
        "plain": plain,
    }


def read_states(path: Path, identity: str) -> tuple[list[State], dict[str, Any]]:
    """(the state of each stage so far, what was chosen about the depth).

    Raises InputError: no such file, damaged, or of another run.
    """
    if not path.is_file():
        raise InputError(f"{path}: nothing to resume: no such file. Run without --resume.")
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {})["topwork"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dictionary
        if facts["format"] != FORMAT:
            raise ValueError(f"it is of format {facts['format']}")
        states = [_state(plain, f"{stage}/", tensors) for plain, stage in zip(facts["stages"], STAGES, strict=False)]
        if not states:
            raise ValueError("it holds no stage")
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: cannot be resumed from: {error}. Run without --resume.") from error
    if facts["identity"] != identity:
        raise InputError(
            f"{path}: was left by a run of another bundle, other pictures or other settings. "
            "Give those again, or run without --resume to begin anew."
        )
    return states, dict(facts["depth"])


def _state(facts: dict[str, Any], stage: str, tensors: dict[str, Tensor]) -> State:
    mine = {name.removeprefix(stage): one for name, one in tensors.items() if name.startswith(stage)}
    optimiser: dict[int, dict[str, Any]] = {int(number): dict(one) for number, one in facts["plain"].items()}
    for name, one in mine.items():
        if name.startswith("optimiser/"):
            _, number, key = name.split("/", 2)
            optimiser.setdefault(int(number), {})[key] = one
    parts = {
        kind: {name.removeprefix(f"{kind}/"): one for name, one in mine.items() if name.startswith(f"{kind}/")}
        for kind in ("weights", "average", "best")
    }
    return State(
        parts["weights"],
        {"state": optimiser, "param_groups": facts["groups"]},
        parts["average"] or None,
        int(facts["averaged"]),
        parts["best"],
        int(facts["best_epoch"]),
        [Epoch(**row) for row in facts["history"]],
    )
