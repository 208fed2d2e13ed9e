"""C7: a killed fine-tune resumes, and ends with the weights of one that nobody killed, bit by bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from multiprocessing import get_context
from multiprocessing.context import ForkServerContext
from pathlib import Path

import finetune_job
import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 and forking are of other systems")

FINAL = ("best.safetensors", "last.safetensors")


@pytest.fixture(scope="module")
def forks() -> ForkServerContext:
    """Starts processes that have everything imported."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["finetune_job"])
    return context


@pytest.mark.parametrize("kills", [6, pytest.param(20, marks=pytest.mark.full)])
def test_a_killed_run_ends_with_the_weights_of_one_nobody_killed(kills: int, forks: ForkServerContext, tmp_path: Path) -> None:
    def start(name: str) -> tuple[Path, object]:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        process = forks.Process(target=finetune_job.run, args=(str(folder),))
        process.start()
        return folder, process

    began = time.monotonic()
    whole, process = start("whole")
    process.join()
    took = time.monotonic() - began
    assert process.exitcode == 0
    drawn, killed, resumed = random.Random(0), 0, 0
    for kill in range(kills):
        folder, process = start(f"killed {kill}")
        time.sleep(drawn.uniform(0.02, 1.0) * took)
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
        resumed += process.exitcode == -signal.SIGKILL and (folder / "state").exists()
        for name in FINAL:
            (folder / name).unlink(missing_ok=True)
        _, process = start(f"killed {kill}")
        process.join()
        assert process.exitcode == 0
        for name in FINAL:
            assert (folder / name).read_bytes() == (whole / name).read_bytes(), (kill, name)
        assert sorted(file.name for file in folder.iterdir()) == sorted([*FINAL, "state"])  # nothing half-written is left
    assert killed >= kills // 2 and resumed >= kills // 4


def finetune(bundle: Path, painted: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "topwork", "finetune", bundle, painted, "-o", out, "--unfreeze", "1", "--epochs", "4"]
    words += ["--force", "--json", "--patience", "0", *more]
    return subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("kills", [1, pytest.param(5, marks=pytest.mark.full)])
def test_the_command_goes_on_after_kill_9(kills: int, bundle: Path, painted: Path, tmp_path: Path) -> None:
    whole = finetune(bundle, painted, tmp_path / "whole.topwork")
    text, errors = whole.communicate()
    assert whole.returncode == 0, errors
    expected = json.loads(text)
    for kill in range(kills):
        out = tmp_path / f"{kill}.topwork"
        unfinished = out.with_name(f"{out.name}.unfinished")
        run = finetune(bundle, painted, out)
        until = time.monotonic() + 300
        while not unfinished.exists() and run.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.3 * kill)
        os.kill(run.pid, signal.SIGKILL)
        run.communicate()
        assert run.returncode == -signal.SIGKILL and unfinished.exists() and not out.exists()
        again = finetune(bundle, painted, out, "--resume")
        text, errors = again.communicate()
        assert again.returncode == 0, errors
        found = json.loads(text)
        assert not unfinished.exists()
        # The same weights give the same losses to the last digit, and the same bundle.
        assert [row["loss"] for row in found["history"]] == [row["loss"] for row in expected["history"]]
        assert found["sha256"] == expected["sha256"]
        weights = [folder / "backbone.safetensors" for folder in (out, tmp_path / "whole.topwork")]
        assert weights[0].read_bytes() == weights[1].read_bytes()
