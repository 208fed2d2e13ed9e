"""How fast each engine runs a backbone on this machine: measured when asked for, then remembered."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from topwork.errors import MissingExtra, StorageError, TopworkError, WeightsError
from topwork.features import engines as e
from topwork.pictures.decode import Pixels
from topwork.runtime import cache_folder, cores, make_folder, processor, publish_file, versions
from topwork.zoo import identity, load_backbone

SECONDS = 2.0
"""How long each engine runs while it is measured."""


@dataclass(frozen=True)
class Rate:
    """How fast one engine is, from pixels to features."""

    engine: str
    precision: str
    images_per_second: float
    """0 where it cannot run this backbone."""
    problem: str = ""
    """Why it cannot."""


def bench(name: str, seconds: float | None = None) -> list[Rate]:
    """The rate of every engine that is installed, the fastest first. The weights are random: they do not change the speed.

    Raises UnknownName, WeightsError, StorageError.
    """
    backbone = load_backbone(name, "random")
    side = backbone.spec.geometry.size
    pictures = list(np.random.default_rng(0).integers(0, 256, (8, side, side, 3), dtype=np.uint8))
    seconds = SECONDS if seconds is None else seconds
    rates = [_rate(e.TorchEngine(backbone, "cuda" if e.cuda_available() else "cpu"), pictures, seconds)]
    with tempfile.TemporaryDirectory(prefix="topwork-bench-", ignore_cleanup_errors=True) as folder:
        files = Path(folder)
        for engine in ("openvino", "onnxruntime"):
            if not e.usable(engine):
                continue
            try:
                if engine == "openvino":
                    e.convert_openvino(backbone, files / "model.xml")
                    made: list[e.Engine] = [e.OpenVinoEngine(files / "model.xml", one) for one in e.openvino_precisions()]
                else:
                    e.export_onnx(backbone, files / "model.onnx")
                    made = [e.OnnxRuntimeEngine(files / "model.onnx")]
                rates += [_rate(one, pictures, seconds) for one in made]
            except (WeightsError, MissingExtra) as error:
                rates.append(Rate(engine, "f32", 0.0, str(error)))
    rates.sort(key=lambda rate: -rate.images_per_second)
    file = _file(name)
    with contextlib.suppress(StorageError):  # told all the same, only not remembered
        make_folder(file.parent)
        publish_file(file, json.dumps([asdict(rate) for rate in rates]).encode())
    return rates


def remembered(name: str) -> list[Rate]:
    """The rates that were measured here before, with the same versions on the same processor; none where there are none."""
    try:
        return [Rate(**row) for row in json.loads(_file(name).read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, TopworkError):
        return []


def _rate(engine: e.Engine, pictures: list[Pixels], seconds: float) -> Rate:
    return Rate(engine.name, engine.precision, round(e.measure(engine, pictures, seconds), 1))


def _file(name: str) -> Path:
    facts = {**identity(name, "random"), **versions("torch", "openvino", "onnxruntime")}
    facts |= {"processor": processor(), "cores": str(cores())}
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]
    return cache_folder() / "zoo" / f"bench-{key}.json"
