"""Downloads that are killed at any moment, and several processes that want one file."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest
from faults import Workers, download_job
from faulty_server import CONTENT, SHA256, Reply, Site, whole

from topwork.download import download

pytestmark = [
    pytest.mark.usefixtures("no_pause"),
    pytest.mark.skipif(os.name == "nt", reason="needs fork"),
]


def test_killed_while_it_waits_for_bytes(site: Site, tmp_path: Path, workers: Workers) -> None:
    """kill -9 at 50 places: nothing is seen under the file's name, and what had come is used."""
    for place in random.Random(2).sample(range(1, len(CONTENT)), 50):
        file = tmp_path / str(place) / "f.bin"
        part = file.with_name("f.bin.part")
        site.script[:] = [Reply(stall=place)]
        process = workers.start(download_job, site.url("f.bin"), file, SHA256)
        while not (part.exists() and part.stat().st_size == place):
            time.sleep(0.002)
        os.kill(process, signal.SIGKILL)
        assert workers.wait(process) == -signal.SIGKILL and not file.exists()
        site.asked.clear()
        whole(file, done := download(site.url("f.bin"), file, SHA256))
        assert done.resumed == place and site.ranges() == [f"bytes={place}-"]


@pytest.mark.parametrize("known", [True, False], ids=["hash known", "hash unknown"])
def test_killed_at_every_call_to_the_disk(site: Site, tmp_path: Path, workers: Workers, known: bool) -> None:
    for nth in range(1, 100):
        file = tmp_path / str(nth) / "f.bin"
        site.script[:] = [Reply(cut=40_000)]
        ended = workers.run(download_job, site.url("f.bin"), file, SHA256 if known else None, nth)
        if ended == 0:
            assert nth > 10
            return
        assert ended == -signal.SIGKILL
        assert not file.exists() or file.read_bytes() == CONTENT
        site.script.clear()
        whole(file, download(site.url("f.bin"), file, SHA256 if known else None))
    raise AssertionError("never came to an end")


def test_many_want_one_file(site: Site, file: Path, workers: Workers) -> None:
    """One fetches, is killed, another goes on; the rest wait and find it there."""
    site.script[:] = [Reply(stall=60_000)]
    first = workers.start(download_job, site.url("f.bin"), file, SHA256)
    part = file.with_name("f.bin.part")
    while not (part.exists() and part.stat().st_size == 60_000):
        time.sleep(0.002)
    others = [workers.start(download_job, site.url("f.bin"), file, SHA256) for _ in range(8)]
    time.sleep(0.3)
    assert len(site.asked) == 1
    os.kill(first, signal.SIGKILL)
    assert workers.wait(first) == -signal.SIGKILL
    assert [workers.wait(other) for other in others] == [0] * 8
    assert site.ranges() == ["", "bytes=60000-"]
    whole(file, download(site.url("f.bin"), file, SHA256))
