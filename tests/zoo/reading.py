"""What tests of weight files share: all tensors of a file, read as a network would have them read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from topwork.zoo.weights import open_weights


def read_weights(file: Path, sha256: str | None = None) -> dict[str, NDArray[Any]]:
    """All tensors of a weight file by name, in its order. Raises WeightsError."""
    with open_weights(file, sha256) as opened:
        return {name: opened.read(name) for name in opened.tensors}
