"""Reading weight files without running anything that is in them: safetensors, or torch state dicts with weights_only."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from topwork.errors import WeightsError
from topwork.runtime import sha256_file


def read_state(file: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file or a torch zip state dict. Raises WeightsError naming the file and the reason."""
    if not file.is_file():
        raise WeightsError(f"{file}: no such weight file.")
    if zipfile.is_zipfile(file):
        return read_torch_file(file)
    try:
        return load_file(file)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{file}: expected safetensors or a torch state dict (zip): {error}.") from error


def read_torch_file(file: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """The tensors of a torch state dict, read with weights_only. `sha256`: what the file's bytes must hash to."""
    if sha256 is not None:
        found = sha256_file(file)
        if found != sha256:
            raise WeightsError(
                f"{file}: the weights are not the published ones: expected SHA-256 {sha256[:16]}..., found {found[:16]}.... "
                "Install the package again."
            )
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(f"{file}: cannot be read as plain tensors: {str(error).splitlines()[0][:200]}.") from error
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise WeightsError(f"{file}: expected a dictionary of names and tensors.")
    return dict(state)
