"""Shared fixtures: a cache of its own for every test, drawn pictures, and the real photos where they are."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from running import Cli, Done, cache_in


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOPWORK_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
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


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs a command line in this process."""
    from topwork.commands.app import run

    def runs(*words: object) -> Done:
        capsys.readouterr()
        code = run([str(word) for word in words])
        return Done(code, *capsys.readouterr())

    return runs


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache folder for many tests: an engine is converted and measured once."""
    return tmp_path_factory.mktemp("shared") / "cache"


@pytest.fixture
def warm(own_cache: None, shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lets a test use the shared cache folder instead of its own."""
    monkeypatch.setenv("TOPWORK_CACHE", str(shared_cache))
    return shared_cache


@pytest.fixture(scope="session")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four classes of twelve PNGs each that a network tells apart: bars and checks, in two colours, with noise."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:72, :96]
    folder = tmp_path_factory.mktemp("painted") / "pictures"
    for shape, pattern in (("bars", columns // 12 % 2), ("checks", (columns // 12 + rows // 12) % 2)):
        for colour, channel in (("red", 0), ("blue", 2)):
            (folder / f"{colour} {shape}").mkdir(parents=True)
            for number in range(12):
                pixels = rng.integers(0, 90, (72, 96, 3), dtype=np.uint8)
                pixels[..., channel] += (pattern * rng.integers(90, 160)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{colour} {shape}" / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="session")
def bundle(painted: Path, shared_cache: Path) -> Path:
    """A classifier of `painted`, on disk. Tests that change it take a copy."""
    from topwork.commands.app import run

    with cache_in(shared_cache):
        assert run(["fit", str(painted), "-o", str(painted.parent / "painted.topwork"), "--quiet"]) == 0
    return painted.parent / "painted.topwork"
