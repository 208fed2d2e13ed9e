"""What there is to tell of one backbone: its architecture's facts, kept once found, and whether its weights are here."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

from topwork.errors import BundleError, StorageError, TopworkError
from topwork.runtime import cache_folder, make_folder, publish_file, sha256_file
from topwork.zoo import identity, load_backbone
from topwork.zoo.catalogue import family_of
from topwork.zoo.names import Name, Told, resolve, source
from topwork.zoo.spec import BackboneSpec


def facts(name: str) -> tuple[BackboneSpec, list[str]]:
    """(what is known of a backbone, its layers' dotted names). Its weights are not needed; the spec is that of random ones."""
    key = hashlib.sha256(json.dumps(identity(name, "random"), sort_keys=True).encode()).hexdigest()[:24]
    file = cache_folder() / "zoo" / f"facts-{key}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, BundleError):
        kept = json.loads(file.read_text(encoding="utf-8"))
        return BackboneSpec.from_config(kept["spec"]), [str(layer) for layer in kept["layers"]]
    backbone = load_backbone(name, "random")
    layers = backbone.layer_names()
    with contextlib.suppress(StorageError):  # without a cache folder it is found again the next time
        make_folder(file.parent)
        publish_file(file, json.dumps({"spec": backbone.spec.to_config(), "layers": layers}).encode())
    return backbone.spec, layers


def described(name: str) -> dict[str, Any]:
    """Everything about a backbone as JSON types: architecture, preprocessing, features, licence, weights."""
    found = resolve(name)
    spec, layers = facts(name)
    file, problem = None, None
    try:
        file = weights_here(found)
    except TopworkError as error:
        problem = str(error)
    return {
        "name": name,
        "id": found.full if found.short is not None else f"{found.source}:{spec.architecture}",
        "about": found.short.about if found.short is not None else "",
        "family": family_of(found.full),
        "licence": spec.licence,
        "parameters": spec.parameters,
        "multiply_adds": spec.multiply_adds,
        "input_size_pixels": spec.geometry.size,
        "crop": spec.geometry.crop,
        "crop_mode": spec.geometry.mode,
        "interpolation": spec.geometry.interpolation,
        "mean": list(spec.mean),
        "std": list(spec.std),
        "channels": spec.channels,
        "features": {"last": spec.dim, "answers": spec.answers, "stages": [list(stage) for stage in spec.stages]},
        "classes": spec.classes,
        "label_set": spec.label_set,
        "layers": layers,
        "weights": {
            "here": file is not None,
            "file": None if file is None else str(file),
            "bytes": None if file is None else file.stat().st_size,
            "sha256": None if file is None else sha256_file(file),
            "problem": problem,
        },
    }


def weights_here(found: Name) -> Path | None:
    """The file of a backbone's pretrained weights where it is on this machine; nothing is fetched. Raises WeightsError."""
    if found.short is not None and found.short.package is not None:
        file = found.short.package.file(found.id)
        return file if file.is_file() else None
    return source(found.source).on_disk(found.network)


def get_weights(name: str, told: Told | None = None) -> tuple[Path, bool]:
    """(the file of a backbone's pretrained weights, whether it was fetched now). Raises UnknownName, WeightsError."""
    found = resolve(name)
    here = weights_here(found)
    if here is not None:
        return here, False
    return source(found.source).fetch(found.network, told), True
