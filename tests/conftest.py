"""Shared fixtures: a cache of its own for every test, drawn pictures, and the real photos where they are."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOPWORK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def photos() -> Path:
    folder = os.environ.get("TOPWORK_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("TOPWORK_TEST_DATA does not name the folder of real photos")
    return Path(folder).resolve()


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """Two classes of six drawn pictures each: red noise and blue noise."""
    rng = np.random.default_rng(0)
    for name, channel in (("red", 0), ("blue", 2)):
        folder = tmp_path / "drawn" / name
        folder.mkdir(parents=True)
        for number in range(6):
            pixels = rng.integers(0, 80, (60, 80, 3), dtype=np.uint8)
            pixels[..., channel] += 120
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "drawn"
