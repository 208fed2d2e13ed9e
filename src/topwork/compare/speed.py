"""What a network costs on this machine: pictures a second, milliseconds for one picture, megabytes on disk and in memory."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from topwork.features.choose import Chosen
from topwork.features.engines import measure
from topwork.pictures.decode import Pixels
from topwork.runtime import publish_file

SECONDS = 0.2
"""That the rate is measured for."""

TURNS = 12
"""Single pictures; the shortest time is the latency, for the others had to share the machine."""


@dataclass(frozen=True)
class Speed:
    """Measured here, on the engine that the network runs on."""

    images_per_second: float
    """All cores at work, pixels to features."""
    latency_ms: float
    """Of one picture, pixels to features, nothing else running."""
    size_mb: float
    """Of the files that the engine reads."""
    memory_mb: float | None
    """That a process holds after an answer, beyond what it holds with the engine alone; None where nothing tells."""


def measure_speed(chosen: Chosen, pixels: list[Pixels]) -> Speed:
    """What a network costs, measured on a few pictures (size, size, 3)."""
    size = chosen.spec.geometry.size
    some = pixels or list(np.random.default_rng(0).integers(0, 256, (4, size, size, 3), dtype=np.uint8))
    engine = chosen.engine
    engine.infer(some[0][None])
    times = []
    for turn in range(TURNS):
        began = time.perf_counter()
        engine.infer(some[turn % len(some)][None])
        times.append(time.perf_counter() - began)
    rate = measure(engine, some, SECONDS)
    files = [file for name, file in chosen.parts.items() if engine.name == "torch" or name != "backbone.safetensors"]
    size_mb = sum(file.stat().st_size for file in files) / 1e6
    return Speed(rate, 1000 * min(times), size_mb, _memory(chosen))


_CHILD = """
import resource, sys
def held():
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
import numpy as np
from topwork.features.engines import OnnxRuntimeEngine, OpenVinoEngine, openvino
from pathlib import Path
name, file, precision, size = sys.argv[1:]
openvino().Core() if name == "openvino" else __import__("onnxruntime")
before = held()
engine = OpenVinoEngine(Path(file), precision) if name == "openvino" else OnnxRuntimeEngine(Path(file))
engine.infer(np.zeros((1, int(size), int(size), 3), np.uint8))
print(held() - before)
"""


def _memory(chosen: Chosen) -> float | None:
    """Megabytes, measured in a process of its own and remembered beside the engine's files."""
    engine = chosen.engine
    model = chosen.parts.get("model.xml") or chosen.parts.get("model.onnx")
    if engine.name == "torch" or model is None:
        return None
    kept = model.with_name(f"memory-{engine.precision}.txt")
    with contextlib.suppress(OSError, ValueError):
        return float(kept.read_text(encoding="utf-8"))
    words = [sys.executable, "-c", _CHILD, engine.name, str(model), engine.precision, str(chosen.spec.geometry.size)]
    try:
        place = str(Path(__file__).parents[2])
        paths = os.pathsep.join(one for one in (place, os.environ.get("PYTHONPATH", "")) if one)
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": paths})
        found = round(int(done.stdout.split()[-1]) / 1e6, 1)
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        return None
    with contextlib.suppress(Exception):
        publish_file(kept, str(found).encode())
    return found
