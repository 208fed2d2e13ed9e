"""Published archives on a server that can go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from datasets.published import cats_entries, pets_annotations, pets_images, tarred, zipped
from reliability.faulty_server import Site, serving


@pytest.fixture(scope="session")
def archives() -> dict[str, bytes]:
    """The published archives by their names."""
    return {
        "kagglecatsanddogs_5340.zip": zipped(cats_entries()),
        "images.tar.gz": tarred(pets_images()),
        "annotations.tar.gz": tarred(pets_annotations()),
    }


@pytest.fixture
def site(archives: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A server of the archives; downloads try again at once, and straight."""
    monkeypatch.setattr("topwork.download.PAUSE", 0.0)
    for name in ("http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with serving(dict(archives)) as started:
        yield started


@pytest.fixture
def mine(archives: dict[str, bytes], tmp_path: Path) -> Path:
    """A folder of a person who has the archives, under names of her own."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, own in (("kagglecatsanddogs_5340.zip", "cats"), ("images.tar.gz", "i.tgz"), ("annotations.tar.gz", "a.tgz")):
        (folder / own).write_bytes(archives[name])
    return folder
