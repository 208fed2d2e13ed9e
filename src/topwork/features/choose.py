"""Which engine runs a backbone on this machine: measured once, checked against torch float32, remembered with its reason."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from topwork.errors import TopworkError, WeightsError
from topwork.features import engines as e
from topwork.pictures.decode import Pixels
from topwork.runtime import cache_folder, cores, make_folder, processor, publish_file, sha256_file, versions
from topwork.zoo import identity
from topwork.zoo.spec import BackboneSpec

COSINE_NEEDED = 0.999
"""Least cosine, per row of features, between a chosen engine and torch float32."""


@dataclass(frozen=True)
class Chosen:
    """A ready engine, the backbone it runs, and why it was chosen."""

    engine: e.Engine
    spec: BackboneSpec
    reason: str
    file: Path | None
    """The engine's model file, or None for torch."""


def open_engine(
    name: str, weights: str = "pretrained", engine: str = "auto", device: str = "auto", pictures: list[Pixels] | None = None
) -> Chosen:
    """The engine for a backbone: from the cache folder when it was chosen before, else measured now.

    pictures: real pixels (H, W, 3) to measure and check with; without them, noise is used.
    """
    if engine not in e.ENGINES:
        raise TopworkError(f"{engine}: no such engine. Expected one of {', '.join(e.ENGINES)}.")
    if engine == "torch" or device == "cuda":
        from topwork.zoo import load_backbone

        backbone = load_backbone(name, weights)
        if device == "cuda" and not e.cuda_available():
            raise TopworkError("--device cuda: torch sees no CUDA device here. Use --device cpu.")
        target = "cuda" if device == "cuda" else "cpu"
        return Chosen(e.TorchEngine(backbone, target), backbone.spec, "asked for", None)
    folder = make_folder(cache_folder() / "engines") / _key(name, weights, engine)
    remembered = _remembered(folder)
    return remembered or _choose(folder, name, weights, engine, pictures)


def open_file(file: Path, engine: str, precision: str, batch: int) -> e.Engine:
    """The engine for a model file that was written before. Imports no torch."""
    return e.OnnxRuntimeEngine(file) if engine == "onnxruntime" else e.OpenVinoEngine(file, precision, batch)


def _key(name: str, weights: str, engine: str) -> str:
    facts = {**identity(name, weights), **versions("openvino", "onnxruntime", "topwork"), "engine": engine}
    facts |= {"processor": processor(), "cores": str(cores())}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]


def _remembered(folder: Path) -> Chosen | None:
    """What was chosen before; None when there is nothing, or when any byte of it changed."""
    try:
        facts: dict[str, Any] = json.loads((folder / "choice.json").read_text())
        if any(sha256_file(folder / name) != sha for name, sha in facts["files"].items()):
            return None
        spec = BackboneSpec.from_config(facts["spec"])
        file = folder / facts["model"]
        return Chosen(open_file(file, facts["engine"], facts["precision"], 1), spec, facts["reason"], file)
    except (OSError, ValueError, KeyError, TopworkError, RuntimeError):
        return None


def _choose(folder: Path, name: str, weights: str, wanted: str, pictures: list[Pixels] | None) -> Chosen:
    from topwork.zoo import load_backbone

    backbone = load_backbone(name, weights)
    spec = backbone.spec
    make_folder(folder)
    size = spec.geometry.size
    some = pictures or list(np.random.default_rng(0).integers(0, 256, (8, size, size, 3), dtype=np.uint8))
    reference = np.concatenate([e.TorchEngine(backbone).infer(np.stack(some[i : i + 8])) for i in range(0, len(some), 8)])
    candidates: list[tuple[float, e.Engine, Path]] = []
    said = []
    if wanted in ("auto", "openvino"):
        e.convert_openvino(backbone, folder / "model.xml")
        for precision in e.openvino_precisions():
            candidates.append((0.0, e.OpenVinoEngine(folder / "model.xml", precision), folder / "model.xml"))
    if wanted == "onnxruntime":
        e.export_onnx(backbone, folder / "model.onnx")
        candidates.append((0.0, e.OnnxRuntimeEngine(folder / "model.onnx"), folder / "model.onnx"))
    passed = []
    for _, engine, file in candidates:
        found = np.concatenate([engine.infer(picture[None]) for picture in some])
        lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(reference, axis=1)
        cosine = float(((found * reference).sum(1) / np.maximum(lengths, 1e-12)).min())
        rate = e.measure(engine, some) if len(candidates) > 1 else 0.0
        measured = f", {rate:.0f} pictures a second" if rate else ""
        said.append(f"{engine.name} {engine.precision}: cosine with torch float32 {cosine:.5f}{measured}")
        if cosine >= COSINE_NEEDED:
            passed.append((rate, engine, file))
    if not passed:
        raise WeightsError(f"{name}: no engine gives torch's numbers ({'; '.join(said)}). Use --engine torch.")
    _, best, file = max(passed, key=lambda one: one[0])
    reason = f"{best.name} {best.precision} chosen; {'; '.join(said)}"
    files = [file] + ([file.with_suffix(".bin")] if file.suffix == ".xml" else [])
    facts = {
        "engine": best.name,
        "precision": best.precision,
        "model": file.name,
        "reason": reason,
        "spec": spec.to_config(),
        "files": {one.name: sha256_file(one) for one in files},
    }
    publish_file(folder / "choice.json", json.dumps(facts, indent=1).encode())
    return Chosen(best, spec, reason, file)
