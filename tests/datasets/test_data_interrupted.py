"""A get that is killed, interrupted or surprised: nothing or all of it is there, and the next one goes on."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datasets.published import CATS, cache, cats_entries, pictures_of, tree, zipped
from reliability.faulty_server import Reply, Site
from running import Cli
from topwork.datasets.getting import get
from topwork.errors import InputError


def test_what_is_put_there_meanwhile_is_kept(mine: Path, tmp_path: Path) -> None:
    """The folder was free at first; at the end somebody has put something there."""

    def bar(what: str, unit: str) -> contextlib.AbstractContextManager[None]:
        if what == "checking":
            (tmp_path / "x").mkdir()
            (tmp_path / "x" / "thesis.txt").write_text("mine")
        return contextlib.nullcontext()

    with pytest.raises(InputError, match=r"found thesis\.txt"):
        get("cats-vs-dogs", tmp_path / "x", [str(mine / "cats")], bar=bar)
    assert tree(tmp_path / "x") == ["thesis.txt"] and {path.name for path in tmp_path.iterdir()} == {"mine", "x"}


def started(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "topwork", "data", "get", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heeding)


def heeding() -> None:
    """Ctrl-C counts even where the tests were started in the background, where shells ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT])
def test_interrupted_while_it_downloads(signum: int, site: Site, tmp_path: Path, cli: Cli) -> None:
    size, out = len(site.files[CATS]), tmp_path / "x"
    site.script[:] = [Reply(stall=size // 2)]
    process = started("cats-vs-dogs", "-o", out, "--from", site.url(CATS))
    while not any(path.stat().st_size == size // 2 for path in cache().rglob("*.part")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signum)
    told = process.communicate()[1]
    assert process.returncode == (130 if signum == signal.SIGINT else -signum)
    assert "Traceback" not in told and not out.exists()
    assert cli("data", "get", "cats-vs-dogs", "-o", out, "--from", site.url(CATS)).code == 0
    assert site.ranges() == ["", f"bytes={size // 2}-"] and pictures_of(out) == {"cat": 10, "dog": 10}


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_killed_while_it_unpacks(tmp_path: Path, cli: Cli) -> None:
    """At any moment there is nothing or all of it; a next call removes what a killed one left."""
    archive, out = tmp_path / "cats.zip", tmp_path / "x"
    archive.write_bytes(zipped(cats_entries(400)))
    seen = set()
    for moment in range(6):
        process = started("cats-vs-dogs", "-o", out, "--from", archive)
        while process.poll() is None and not list(tmp_path.glob(".x.*.tmp/cat/*")):
            time.sleep(0.002)
        time.sleep(moment * 0.1)
        process.kill()
        process.communicate()
        seen.add(out.exists())
        if out.exists():
            assert len(tree(out)) == 800 + 4 + 3
            shutil.rmtree(out)
    assert False in seen
    assert cli("data", "get", "cats-vs-dogs", "-o", out, "--from", archive).code == 0
    assert pictures_of(out) == {"cat": 400, "dog": 400}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cats.zip", "x"]
