"""How far pictures are from what a network was trained on, layer by layer, without any of its training pictures.

A network with batch normalisation carries the mean and variance that each of its channels had on its training pictures. The
same two figures of the user's pictures stand beside them: two normal distributions for each channel, and their distance.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from topwork.errors import StorageError, TopworkError
from topwork.features import engines
from topwork.features.choose import Chosen
from topwork.pictures.decode import Pixels
from topwork.runtime import cache_folder, make_folder, publish_file, sha256_file, versions

if TYPE_CHECKING:
    from topwork.zoo.backbone import Backbone

Float64 = NDArray[np.float64]

PROFILE_VERSION = 1
"""Part of the cached file's name: raise it when the statistics are taken otherwise."""


@dataclass(frozen=True)
class NormLayer:
    """A normalisation layer and what it saw in training."""

    name: str
    mean: Float64
    """(C,)."""
    variance: Float64


@dataclass(frozen=True)
class Profiler:
    """Runs a network for its statistics: pixels in, per layer the mean and the mean square of every channel out."""

    layers: list[NormLayer]
    engine: engines.Engine

    def statistics(self, pixels: list[Pixels]) -> NDArray[np.float32]:
        """(N, 2 x channels of all layers) of pictures (size, size, 3), every core at work."""
        from concurrent.futures import ThreadPoolExecutor

        step = self.engine.batch
        parts = [np.stack(pixels[place : place + step]) for place in range(0, len(pixels), step)]
        with ThreadPoolExecutor(max(self.engine.lanes, 1)) as pool:
            return np.concatenate(list(pool.map(self.engine.infer, parts)))


@dataclass(frozen=True)
class Layer:
    """One layer and how far its activations are from those on the training pictures: 0 the same, 1 nothing in common."""

    name: str
    distance: float


def open_profiler(chosen: Chosen, device: str = "cpu") -> Profiler | None:
    """The profiler of a backbone, from the cache folder where it was made before; None without batch normalisation."""
    fast = chosen.engine.name != "torch" and engines.usable("openvino")
    facts = {"weights": chosen.spec.fingerprint, "version": PROFILE_VERSION}
    key = hashlib.sha256(json.dumps({**facts, **versions("openvino")}, sort_keys=True).encode()).hexdigest()[:24]
    folder = cache_folder() / "engines" / f"{key}-profile"
    if fast:
        known = _remembered(folder)
        if known is not None:
            return known
    from topwork.compare.statistics import Statistics, norm_layers
    from topwork.zoo import load_backbone

    backbone = load_backbone(chosen.spec.id, str(chosen.parts["backbone.safetensors"]))
    layers = norm_layers(backbone)
    if not layers:
        return None
    wrapped: Any = Statistics(backbone)
    if fast:
        try:
            return _kept(folder, layers, wrapped)
        except TopworkError:
            pass  # no place to keep it, or a layer that the converter does not know: torch does the same, slower
    return Profiler(layers, engines.TorchEngine(wrapped, "cuda" if device == "cuda" else "cpu"))


def _kept(folder: Path, layers: list[NormLayer], wrapped: Backbone) -> Profiler:
    make_folder(folder)
    engines.convert_openvino(wrapped, folder / "model.xml")
    facts = {
        "layers": [{"name": one.name, "mean": one.mean.tolist(), "variance": one.variance.tolist()} for one in layers],
        "files": {name: sha256_file(folder / name) for name in ("model.xml", "model.bin")},
    }
    publish_file(folder / "profile.json", json.dumps(facts).encode())
    return Profiler(layers, engines.OpenVinoEngine(folder / "model.xml", "f32"))


def _remembered(folder: Path) -> Profiler | None:
    try:
        facts = json.loads((folder / "profile.json").read_text(encoding="utf-8"))
        if any(sha256_file(folder / name) != sha256 for name, sha256 in facts["files"].items()):
            return None
        layers = [NormLayer(one["name"], np.array(one["mean"]), np.array(one["variance"])) for one in facts["layers"]]
        return Profiler(layers, engines.OpenVinoEngine(folder / "model.xml", "f32"))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, StorageError):
        return None


def profile(layers: list[NormLayer], statistics: NDArray[np.float32]) -> list[Layer]:
    """The distance at each layer, from statistics (N, 2 x channels), in the order in which pictures pass them."""
    found = []
    place = 0
    for layer in layers:
        width = len(layer.mean)
        means = statistics[:, place : place + width].astype(np.float64)
        squares = statistics[:, place + width : place + 2 * width].astype(np.float64)
        found.append(Layer(layer.name, layer_distance(means, squares, layer.mean, layer.variance)))
        place += 2 * width
    return found


def layer_distance(means: Float64, squares: Float64, mean: Float64, variance: Float64) -> float:
    """Mean over the channels of the squared Hellinger distance between the pictures' normal distribution and the network's.

    means, squares (N, C): mean and mean square over the places of each picture. A mean over few pictures strays from the
    true one by chance; what chance explains is taken off the squared difference.
    """
    count = len(means)
    middle = means.mean(0)
    spread = np.maximum(squares.mean(0) - middle**2, 0)
    chance = means.var(0, ddof=1) / count if count > 1 else np.zeros(len(middle))
    return float(hellinger(middle, spread + chance, mean, variance, chance).mean())


def hellinger(mean: Float64, variance: Float64, other: Float64, spread: Float64, chance: Float64 | float = 0.0) -> Float64:
    """Squared Hellinger distance (C,) of N(mean, variance) and N(other, spread); `chance`: taken off the squared difference."""
    least = 1e-3 * float(np.median(spread)) + 1e-12  # a channel that hardly moved on the training pictures tells nothing
    first, second = variance + least, spread + least
    apart = np.maximum((mean - other) ** 2 - chance, 0)
    return np.asarray(1 - np.sqrt(2 * np.sqrt(first * second) / (first + second)) * np.exp(-apart / (4 * (first + second))))
