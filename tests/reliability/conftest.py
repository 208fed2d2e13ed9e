"""Shared by the tests of what happens when things break: quick processes, failing calls, a folder of small pictures."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from faults import Workers, toy_extract
from faulty_server import CONTENT, Site, serving
from PIL import Image

from topwork.features.extract import Extraction

PICTURES = 160


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """160 small drawn pictures in two classes: two whole batches of the store and a half."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("a", "b"):
        (folder / name).mkdir()
        for number in range(PICTURES // 2):
            Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def uninterrupted(pictures: Path) -> Extraction:
    """What an extraction gives that nothing disturbs."""
    return toy_extract(pictures, None)


@pytest.fixture(scope="session")
def workers() -> Iterator[Workers]:
    started = Workers()
    yield started
    started.close()


@pytest.fixture(scope="session")
def faulty_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """Workers whose system calls can be made to fail, see faults.c."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux and a C compiler")
    library = tmp_path_factory.mktemp("faults") / "faults.so"
    source = Path(__file__).with_name("faults.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    started = Workers(library)
    yield started
    started.close()


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads try again at once, and straight."""
    monkeypatch.setattr("topwork.download.PAUSE", 0.0)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def site() -> Iterator[Site]:
    """A server of one file, f.bin."""
    with serving({"f.bin": CONTENT}) as started:
        yield started


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where that file is to be put."""
    return tmp_path / "new" / "f.bin"
