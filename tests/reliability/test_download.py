"""A cut download resumes, and no byte of a file that is not whole and right is ever seen under its name (promise A2)."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from faulty_server import CONTENT, SHA256, Reply, Site, whole

from topwork.download import Downloaded, download
from topwork.errors import DownloadError

pytestmark = pytest.mark.usefixtures("no_pause")


def test_a_good_server(site: Site, file: Path) -> None:
    told: list[tuple[int, int]] = []
    done = download(site.url("f.bin"), file, SHA256, len(CONTENT), lambda *counts: told.append(counts))
    whole(file, done)
    assert done.address == site.url("f.bin") and told[-1] == (len(CONTENT), len(CONTENT))
    again = download([site.url("f.bin")], file, SHA256, len(CONTENT))
    assert again == Downloaded(file, SHA256, len(CONTENT), None) and len(site.asked) == 1
    assert site.asked[0][1]["accept-encoding"] == "identity" and "range" not in site.asked[0][1]


CUTS = sorted({0, 1, 2, 511, 512, 4095, 4096, 4097, len(CONTENT) - 1, *random.Random(1).sample(range(len(CONTENT)), 51)})


@pytest.mark.parametrize("known", [True, False], ids=["hash known", "hash unknown"])
def test_sixty_cut_points(site: Site, tmp_path: Path, known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call is cut at another place and fails; the next call goes on from there."""
    monkeypatch.setattr("topwork.download.TRIES", 1)
    assert len(CUTS) >= 59
    for cut in CUTS:
        file = tmp_path / str(cut) / "f.bin"
        sha256 = SHA256 if known else None
        site.script[:] = [Reply(cut=cut, reset=cut % 2 == 1), Reply(mute=True), Reply(mute=True)]
        with pytest.raises(DownloadError, match=r"f\.bin could not be fetched"):
            download(site.url("f.bin"), file, sha256)
        assert not file.exists()
        site.script.clear()
        site.asked.clear()
        whole(file, done := download(site.url("f.bin"), file, sha256))
        assert site.ranges() == [f"bytes={done.resumed}-" if done.resumed else ""]
        assert done.resumed == cut or (cut % 2 and done.resumed < cut)  # a reset may take bytes with it


def test_a_server_that_always_cuts(site: Site, file: Path) -> None:
    site.always = Reply(cut=2500)
    whole(file, download(site.url("f.bin"), file, SHA256))
    assert len(site.asked) == 60


def test_offline(site: Site, file: Path) -> None:
    with pytest.raises(DownloadError) as raised:
        download([site.url("f.bin"), "https://other.example/f.bin"], file, SHA256, len(CONTENT), offline=True)
    for words in (str(file), site.url("f.bin"), "https://other.example/f.bin", SHA256, "150.0 kB", "put it at"):
        assert words in str(raised.value)
    assert not site.asked and not file.parent.exists()
    download(site.url("f.bin"), file)
    assert download(site.url("f.bin"), file, SHA256, offline=True).address is None
