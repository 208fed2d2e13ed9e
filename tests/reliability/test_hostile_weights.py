"""W1: no weight file runs code. W2: a load touches nothing but its file."""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile_hdf5 import hostile_hdf5
from hostile_weights import hostile_files
from safetensors.torch import save_file

import topwork
from topwork.zoo import load_backbone

CHILD = Path(__file__).with_name("weights_child.py")
SMALL = "timm:mobilenetv3_small_050"
ENTRIES = [
    "library, timm",  # first: what it adds to the peak of memory is its own
    "library, keras",
    "fit",
    "bundle",
]
OTHER_ENTRIES = ["audit", "embed", "look", "compare"]


@dataclass(frozen=True)
class Hostile:
    """Hostile files by what they do, and the file that they try to make."""

    files: dict[str, Path]
    marker: Path

    def for_entry(self, entry: str) -> dict[str, Path]:
        """Those that an entry point can be given: a bundle holds plain files of bearable size."""
        if entry != "bundle":
            return self.files
        return {what: path for what, path in self.files.items() if path.is_file() and 0 < path.stat().st_size < 1 << 30}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Hostile:
    folder = tmp_path_factory.mktemp("hostile")
    marker = folder / "marker"
    return Hostile({**hostile_files(folder / "files", marker), **hostile_hdf5(folder / "hdf5")}, marker)


Results = dict[str, list[dict[str, Any]]]


def given(work: Path, files: dict[str, list[Path]]) -> Results:
    """What came of giving files to entry points, in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(CHILD), str(work)],
        input=json.dumps({entry: [str(file) for file in some] for entry, some in files.items()}),
        capture_output=True,
        text=True,
        env={**os.environ, "TOPWORK_CACHE": str(work / "cache"), "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: Results = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def refused(hostile: Hostile, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Every hostile file through the entry points that every run tests."""
    return given(tmp_path_factory.mktemp("work"), {one: list(hostile.for_entry(one).values()) for one in ENTRIES})


def check(entry: str, found: list[dict[str, Any]], hostile: Hostile) -> None:
    files = hostile.for_entry(entry)
    assert len(found) == len(files)
    for what, one in zip(files, found, strict=True):
        assert one["error"] == "refused", (entry, what, one["error"], one["told"])
        named = "backbone.safetensors" if entry == "bundle" else one["file"]
        assert named in one["told"] and "Traceback" not in one["told"], (entry, what, one["told"])
        reason = one["told"].partition(named)[2].strip(": .\n")
        assert len(reason) > 8 and reason.isprintable(), (entry, what, one["told"])
        assert not [event for event, _ in one["seen"] if event != "open"], (entry, what, one["seen"])
    assert not hostile.marker.exists(), entry


def test_there_are_enough_of_them(hostile: Hostile) -> None:
    kinds = {what.partition(":")[0] for what in hostile.files}
    assert len(hostile.files) >= 200
    assert len(kinds) >= 15


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_hostile_file_is_refused_and_runs_nothing(entry: str, refused: Results, hostile: Hostile) -> None:
    """W1: each through the library for both zoos, a command, and a bundle: refused, file and reason named."""
    check(entry, refused[entry], hostile)


def test_no_hostile_file_takes_memory(refused: Results) -> None:
    """W1: terabytes that are declared, packed or hinted at are refused before room is made for them."""
    peaks = [one["peak"] for one in refused["library, timm"]]
    assert peaks == sorted(peaks)
    assert peaks[-1] - peaks[0] < 128 << 20


@pytest.mark.full
def test_every_hostile_file_through_the_other_commands(hostile: Hostile, tmp_path: Path) -> None:
    """W1, through every other command that takes a weight file."""
    found = given(tmp_path, {entry: list(hostile.for_entry(entry).values()) for entry in OTHER_ENTRIES})
    for entry, some in found.items():
        check(entry, some, hostile)


@pytest.mark.full
def test_none_takes_longer_than_two_seconds(refused: Results) -> None:
    """W1: measured, with imports done, at every entry point."""
    slowest = max((one["seconds"], entry, one["file"]) for entry, some in refused.items() for one in some)
    print(f"slowest of {sum(map(len, refused.values()))}: {slowest[0]:.2f} s, {slowest[1]}, {slowest[2]}")
    assert slowest[0] <= 2.0


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)  # a trap closes nothing
def test_the_traps_are_live(hostile: Hostile, tmp_path: Path) -> None:
    """The files would do what they try where someone unpickles them: else the tests above would prove nothing."""
    import pickle

    assert not hostile.marker.exists()
    for what in ("pickle: protocol 0", "pickle: protocol 5", "pickle: bare call", "pickle: eval"):
        with hostile.files[what].open("rb") as file:
            pickle.load(file)  # noqa: S301
        assert hostile.marker.exists(), what
        hostile.marker.unlink()
    torch.load(hostile.files["code in a torch zip: system"], weights_only=False)
    assert hostile.marker.exists()
    hostile.marker.unlink()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Good files of every format, for each entry point of the library."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    from topwork.zoo.from_keras import _application, _in_fresh_session, _network

    folder = tmp_path_factory.mktemp("good")
    state = load_backbone(SMALL, "random").network.state_dict()
    save_file(state, folder / "timm.safetensors")
    torch.save(state, folder / "timm.pth")
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, folder / "wrapped.ckpt")
    network = _in_fresh_session(lambda keras: _network(keras, _application("MobileNetV2"))).whole
    network.save_weights(folder / "keras.weights.h5")
    network.save(folder / "keras.h5")
    return {
        "library, timm": [folder / "timm.safetensors", folder / "timm.pth", folder / "wrapped.ckpt"],
        "library, keras": [folder / "keras.weights.h5", folder / "keras.h5"],
    }


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own
def test_a_load_touches_nothing_else(good: dict[str, list[Path]], tmp_path: Path) -> None:
    """W2: no class is looked up for a pickle, no process started, no socket opened, no file changed, and none but it opened.

    Python's and the packages' own files may be opened, for what is imported late.
    """
    roots = [sysconfig.get_paths()["stdlib"], *site.getsitepackages(), sys.prefix, str(Path(topwork.__file__).parent)]
    folder = next(iter(good.values()))[0].parent
    before = {file: file.read_bytes() for file in folder.iterdir()}
    found = given(tmp_path, good)
    assert {file: file.read_bytes() for file in folder.iterdir()} == before
    for entry, some in found.items():
        for one in some:
            assert one["error"] == "none", (entry, one["told"])
            for event, what in one["seen"]:
                assert event == "open", (entry, one["file"], event, what)
                assert what == one["file"] or what.startswith(tuple(roots)), (entry, one["file"], what)


def test_a_refused_file_is_told_without_loading_torch(tmp_path: Path) -> None:
    """The command line refuses a pickle before it imports what would be needed to use it."""
    (tmp_path / "photos" / "a").mkdir(parents=True)
    (tmp_path / "evil.pth").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    code = (
        "import sys; from topwork.zoo import identity; from topwork.errors import WeightsError\n"
        "try: identity('timm:resnet18', sys.argv[1])\n"
        "except WeightsError as error: print(error, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "evil.pth")], capture_output=True, text=True)
    assert "evil.pth: it is a pickle, which can run code" in done.stdout, done.stdout + done.stderr
    assert done.stdout.endswith(" False\n")
