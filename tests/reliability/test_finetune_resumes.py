"""C7: a killed fine-tune resumes, and ends with the weights of one that nobody killed, bit by bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import finetune_job
import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kill -9 and forking are of other systems")

FINAL = ("again.safetensors", "best.safetensors", "last.safetensors")


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.full)])
def test_a_killed_run_ends_with_the_weights_of_one_nobody_killed(kills: int, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    began = time.monotonic()
    finetune_job.run(str(whole))
    took = time.monotonic() - began
    drawn = random.Random(0)
    for kill in range(kills):
        folder = tmp_path / f"killed {kill}"
        folder.mkdir()
        process = subprocess.Popen([sys.executable, finetune_job.__file__, folder])
        while not (folder / "state").exists() and process.poll() is None:
            time.sleep(0.001)
        time.sleep(drawn.uniform(0, 0.8) * took)
        process.kill()
        process.wait()
        assert (folder / "state").exists()
        for name in FINAL:
            (folder / name).unlink(missing_ok=True)
        finetune_job.run(str(folder))
        for name in FINAL:
            assert (folder / name).read_bytes() == (whole / name).read_bytes(), (kill, name)
        assert sorted(file.name for file in folder.iterdir()) == sorted([*FINAL, "state"])  # nothing half-written is left


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
