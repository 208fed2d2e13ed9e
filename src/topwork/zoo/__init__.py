"""Pretrained networks behind one contract. Importing this loads neither torch nor any network."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

from topwork.errors import WeightsError
from topwork.runtime import sha256_file, storage_error
from topwork.zoo.catalogue import library_versions
from topwork.zoo.names import Name, resolve, source

if TYPE_CHECKING:
    from topwork.zoo.backbone import Backbone

DEFAULT_BACKBONE = "lite0"


def load_backbone(name: str = DEFAULT_BACKBONE, weights: str = "pretrained") -> Backbone:
    """The backbone `name`: a short name, timm:NAME or keras:NAME. weights: pretrained, random, or a file's path.

    Imports torch. Raises UnknownName, WeightsError or MissingExtra.
    """
    found = resolve(name)
    builder = source(found.source)
    if _packaged(found, weights):
        package = found.short.package  # type: ignore[union-attr]
        return builder.build(found.network, name, package.file(name), package.sha256, found.size)  # type: ignore[union-attr]
    file = weights if weights in ("pretrained", "random") else _readable(weights)
    return builder.build(found.network, name, file, None, found.size)


def save_state(backbone: Backbone, file: Path) -> None:
    """Write the backbone's tensors as safetensors. Raises StorageError."""
    from safetensors import SafetensorError
    from safetensors.torch import save_model

    try:
        save_model(backbone.network, str(file))
    except SafetensorError as error:
        number = errno.ENOSPC if f"os error {errno.ENOSPC}" in str(error) else errno.EIO
        raise storage_error(file, OSError(number, str(error)), 4 * backbone.spec.parameters) from error


def identity(name: str, weights: str = "pretrained") -> dict[str, str]:
    """What decides which network `load_backbone(name, weights)` gives, found without loading it."""
    found = resolve(name)
    facts = {"name": name, "architecture": found.full, "weights": weights, **library_versions(found.source)}
    if weights not in ("pretrained", "random"):
        facts["weights"] = sha256_file(_readable(weights))
    elif _packaged(found, weights):
        facts["weights"] = found.short.package.sha256  # type: ignore[union-attr]
    return facts


def _readable(weights: str) -> Path:
    """The weight file `weights`: what is refused is refused before a network is made, or a byte of it hashed."""
    from topwork.zoo.weights import open_weights

    file = Path(weights)
    if not file.exists():
        raise WeightsError(f"{weights}: no such weight file. Expected pretrained, random, or a file.")
    with open_weights(file):
        return file


def _packaged(found: Name, weights: str) -> bool:
    """Whether an installed package carries the weights that are asked for."""
    return weights == "pretrained" and found.short is not None and found.short.package is not None
