"""Graphs that were written down once, in the cache folder, each with what it was made from as its key. Imports no torch."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from topwork.features.engines import openvino
from topwork.runtime import cache_folder, make_folder, publish_folder, sha256_file, versions

ROOMS = ("gradients", "sights")
"""The folders of the cache that hold graphs."""

RULES_VERSION = 4
"""Part of every graph's key: raise it when the rules change."""

GRAPH, WEIGHTS, CHECK = "graph.xml", "graph.bin", "check.json"


def kept_folder(room: str, facts: Mapping[str, str]) -> Path:
    """Where the graph that is made from `facts`, and by this topwork, is kept. Raises StorageError."""
    whole_facts = {**facts, "rules": str(RULES_VERSION), **versions("openvino", "torch", "timm", "topwork")}
    key = hashlib.sha256(json.dumps(whole_facts, sort_keys=True).encode()).hexdigest()[:24]
    return make_folder(cache_folder() / room) / key


def keep(folder: Path, model: Any, needed: int, told: Mapping[str, Any] | None = None) -> bool:
    """Write an OpenVINO model and what is told with it; False where the disk has no `needed` bytes. Raises StorageError."""
    if shutil.disk_usage(folder.parent).free < needed:
        return False
    with publish_folder(folder, needed) as new:
        openvino().save_model(model, new / GRAPH, compress_to_fp16=False)
        hashes = {name: sha256_file(new / name) for name in (GRAPH, WEIGHTS)}
        (new / CHECK).write_text(json.dumps({"files": hashes, "told": told or {}}))
    return True


def told_with(folder: Path) -> dict[str, Any] | None:
    """What was told with a kept graph; None where there is none, or a byte of it changed."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        found = json.loads((folder / CHECK).read_text(encoding="utf-8"))
        if found["files"] and all(sha256_file(folder / name) == sha for name, sha in found["files"].items()):
            return dict(found["told"])
    return None
