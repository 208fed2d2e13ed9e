"""A classifier on a tiny network, so that an attack takes a moment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def bundle(painted: Path, shared_cache: Path) -> Path:
    """A classifier of `painted` on a network of 360,000 drawn weights, on disk. Tests that change it take a copy."""
    from topwork.commands.app import run

    before = os.environ.get("TOPWORK_CACHE")
    os.environ["TOPWORK_CACHE"] = str(shared_cache)
    out = painted.parent / "tiny.topwork"
    words = ["fit", str(painted), "-o", str(out), "--quiet", "-b", "timm:test_efficientnet", "--weights", "random"]
    try:
        assert run([*words, "--engine", "openvino"]) == 0
    finally:
        if before is None:
            del os.environ["TOPWORK_CACHE"]
        else:
            os.environ["TOPWORK_CACHE"] = before
    return out
