"""A classifier on a tiny network, so that an attack takes a moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from running import cache_in


@pytest.fixture(scope="session")
def bundle(painted: Path, shared_cache: Path) -> Path:
    """A classifier of `painted` on a network of 360,000 drawn weights, on disk. Tests that change it take a copy."""
    from topwork.commands.app import run

    out = painted.parent / "tiny.topwork"
    words = ["fit", str(painted), "-o", str(out), "--quiet", "-b", "timm:test_efficientnet", "--weights", "random"]
    with cache_in(shared_cache):
        assert run([*words, "--engine", "openvino"]) == 0
    return out
