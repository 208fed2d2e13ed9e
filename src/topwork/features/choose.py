"""Which engine runs a backbone on this machine: measured once, checked against torch float32, remembered with its reason."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from topwork.errors import InputError, StorageError, TopworkError, UnknownName, WeightsError
from topwork.features import engines as e
from topwork.pictures.decode import Geometry, Pixels
from topwork.runtime import cache_folder, cores, make_folder, processor, publish_file, sha256_file, storage_error, versions
from topwork.zoo import identity, save_state
from topwork.zoo.spec import BackboneSpec

if TYPE_CHECKING:
    from topwork.zoo.backbone import Backbone

COSINE_NEEDED = 0.999
"""Least cosine, per row of features, between a chosen engine and torch float32."""


@dataclass(frozen=True)
class Chosen:
    """A ready engine, the backbone it runs, and why it was chosen."""

    engine: e.Engine
    spec: BackboneSpec
    reason: str
    parts: dict[str, Path]
    """Files a bundle copies: the engine's model (none for torch) and backbone.safetensors."""


Sample = Callable[[Geometry], list[Pixels]]
"""Gives a few real pictures at a network's size."""


def open_engine(
    name: str, weights: str = "pretrained", engine: str = "auto", device: str = "auto", sample: Sample | None = None
) -> Chosen:
    """The engine for a backbone: from the cache folder when it was chosen before, else measured now.

    sample: real pictures to measure and check with; without it, noise is used. Raises UnknownName, WeightsError,
    MissingExtra, InputError.
    """
    if engine not in e.ENGINES:
        raise UnknownName("engine", engine, e.ENGINES)
    if device not in ("auto", "cpu", "cuda"):
        raise UnknownName("device", device, ("auto", "cpu", "cuda"))
    if device == "cuda" and engine not in ("auto", "torch"):
        raise InputError(f"--device cuda: only the engine torch runs there, not {engine}. Leave --engine out.")
    if device == "cuda" and not e.cuda_available():
        raise InputError("--device cuda: torch sees no CUDA device here. Use --device cpu.")
    wanted = "torch" if device == "cuda" else engine
    try:
        folder = make_folder(cache_folder() / "engines") / _key(name, weights, wanted)
    except StorageError as error:
        raise StorageError(f"{error} TOPWORK_CACHE names the folder that topwork keeps its files in.") from error
    remembered = _remembered(folder, device)
    return remembered or _choose(folder, name, weights, wanted, device, sample)


def open_files(parts: dict[str, Path], engine: str, precision: str, spec: BackboneSpec, device: str = "cpu") -> e.Engine:
    """The engine for files that were written before. Imports torch only for the engine torch."""
    if engine == "openvino":
        return e.OpenVinoEngine(parts["model.xml"], precision)
    if engine == "onnxruntime":
        return e.OnnxRuntimeEngine(parts["model.onnx"])
    from topwork.zoo import load_backbone

    return e.TorchEngine(load_backbone(spec.id, str(parts["backbone.safetensors"])), "cuda" if device == "cuda" else "cpu")


def _key(name: str, weights: str, engine: str) -> str:
    facts = {**identity(name, weights), **versions("openvino", "onnxruntime", "topwork"), "engine": engine}
    facts |= {"processor": processor(), "cores": str(cores()), "format": "2"}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]


def _remembered(folder: Path, device: str) -> Chosen | None:
    """What was chosen before; None when there is nothing, or when any byte of it changed."""
    try:
        facts: dict[str, Any] = json.loads((folder / "choice.json").read_text())
        parts = {name: folder / name for name in facts["files"]}
        if any(sha256_file(parts[name]) != sha for name, sha in facts["files"].items()):
            return None
        spec = BackboneSpec.from_config(facts["spec"])
        return Chosen(open_files(parts, facts["engine"], facts["precision"], spec, device), spec, facts["reason"], parts)
    except (OSError, ValueError, KeyError, TopworkError, RuntimeError):
        return None


def _choose(folder: Path, name: str, weights: str, wanted: str, device: str, sample: Sample | None) -> Chosen:
    from topwork.zoo import load_backbone

    backbone = load_backbone(name, weights)
    spec = backbone.spec
    make_folder(folder)
    needed = 3 * 4 * spec.parameters  # the backbone and two engines' files
    if shutil.disk_usage(folder).free < needed:
        raise storage_error(folder, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), needed)
    save_state(backbone, folder / "backbone.safetensors")
    size = spec.geometry.size
    some = sample(spec.geometry) if sample is not None else []
    some = some or list(np.random.default_rng(0).integers(0, 256, (8, size, size, 3), dtype=np.uint8))
    torch_engine = e.TorchEngine(backbone, "cuda" if device == "cuda" else "cpu")
    torch_engine.infer(np.stack(some[:1]))  # the first call prepares, it is not timed
    began = time.perf_counter()
    reference = _features(torch_engine, some)
    torch_rate = len(some) / (time.perf_counter() - began)
    candidates: list[tuple[e.Engine, list[str]]] = [(torch_engine, [])] if wanted in ("auto", "torch") else []
    said: list[str] = []
    for one, make in (("openvino", _openvino), ("onnxruntime", _onnxruntime)):
        if wanted == one or (wanted == "auto" and e.usable(one)):
            try:
                candidates += make(backbone, folder)
            except WeightsError as error:
                if wanted == one:
                    raise
                said.append(str(error))
    passed: list[tuple[float, e.Engine, list[str]]] = []
    for engine, files in candidates:
        itself = engine is torch_engine
        cosine, same = (1.0, True) if itself else agreement(_features(engine, some), reference)
        rate = 0.0 if len(candidates) == 1 else torch_rate if itself else e.measure(engine, some)
        speed = f"{rate:.0f} pictures a second" if rate else "the one asked for"
        said.append(f"{engine.name} {engine.precision}: {speed}, cosine with torch float32 {cosine:.5f}")
        if cosine >= COSINE_NEEDED and same:
            passed.append((rate, engine, files))
    if not passed:
        raise WeightsError(f"{name}: no engine gives torch's numbers ({'; '.join(said)}). Use --engine torch.")
    _, best, files = max(passed, key=lambda one: one[0])
    reason = f"{best.name} {best.precision}, measured here on {len(some)} pictures: {'; '.join(said)}"
    names = [*files, "backbone.safetensors"]
    facts = {
        "engine": best.name,
        "precision": best.precision,
        "reason": reason,
        "spec": spec.to_config(),
        "files": {one: sha256_file(folder / one) for one in names},
        "measured": time.strftime("%Y-%m-%d"),
    }
    publish_file(folder / "choice.json", json.dumps(facts, indent=1).encode())
    return Chosen(best, spec, reason, {one: folder / one for one in names})


def _openvino(backbone: Backbone, folder: Path) -> list[tuple[e.Engine, list[str]]]:
    """OpenVINO's engines for a backbone, in each precision that this processor has, and their files."""
    e.convert_openvino(backbone, folder / "model.xml")
    files = ["model.xml", "model.bin"]
    return [(e.OpenVinoEngine(folder / "model.xml", precision), files) for precision in e.openvino_precisions()]


def _onnxruntime(backbone: Backbone, folder: Path) -> list[tuple[e.Engine, list[str]]]:
    e.export_onnx(backbone, folder / "model.onnx")
    return [(e.OnnxRuntimeEngine(folder / "model.onnx"), ["model.onnx"])]


def _features(engine: e.Engine, pictures: list[Pixels]) -> e.Float32:
    step = engine.batch
    return np.concatenate([engine.infer(np.stack(pictures[i : i + step])) for i in range(0, len(pictures), step)])


def agreement(found: e.Float32, reference: e.Float32) -> tuple[float, bool]:
    """(least cosine of a row, whether each row is nearest to its own row of the reference, as far as those differ)."""
    found = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
    reference = reference / np.maximum(np.linalg.norm(reference, axis=1, keepdims=True), 1e-12)
    table = found @ reference.T
    own = np.diag(table)
    return float(own.min()), bool((own >= table.max(1) - 1e-4).all())
