"""What breaks things on purpose: processes that die, calls that fail, and the toy engine and bundle they happen to."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import json
import mmap
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from topwork import runtime
from topwork.bundle import Bundle, read_bundle, write_bundle
from topwork.download import download
from topwork.errors import StorageError
from topwork.features.extract import Extraction, extract, store_key
from topwork.features.store import Row, Store
from topwork.pictures.decode import Geometry
from topwork.pictures.records import list_pictures
from topwork.zoo.spec import BackboneSpec

WIDTH = 600


def toy_spec() -> BackboneSpec:
    """A backbone that is nowhere but here."""
    known: dict[str, Any] = {"geometry": Geometry(32), "mean": (0.5,) * 3, "std": (0.5,) * 3, "stages": (), "dim": WIDTH}
    fields = dataclasses.fields(BackboneSpec)
    return BackboneSpec(**{f.name: known.get(f.name, 0 if f.type == "int" else f"toy {f.name}") for f in fields})


class ToyEngine:
    """Features that are the pixels themselves, a few of them: another picture, another row."""

    name, precision, batch, lanes = "toy", "f32", 1, 2

    def infer(self, pixels: np.ndarray) -> np.ndarray:
        """(n, 600)."""
        time.sleep(0.001)
        return pixels.reshape(len(pixels), -1)[:, :WIDTH].astype(np.float32) / np.float32(255)


def toy_extract(folder: Path, store: Path | None, progress: Callable[[int, int], None] | None = None) -> Extraction:
    """The features of a folder, through the store in the file `store`."""
    records = list_pictures([folder])
    if store is None:
        return extract(records, toy_spec(), ToyEngine())
    with Store(store_key(toy_spec(), ToyEngine()), "toy", store) as kept:
        return extract(records, toy_spec(), ToyEngine(), kept, progress)


def toy_row(number: int) -> Row:
    """A row that its number alone decides."""
    rng = np.random.default_rng(number)
    return Row(rng.bytes(32).hex(), number, 1, rng.bytes(16), rng.random(WIDTH, np.float32))


def write_toy(path: Path, version: int, parts: Path) -> None:
    """A bundle each of whose files says which version it is of; `parts` is a folder for what is copied."""
    sources = {}
    for name in ("model.xml", "model.bin", "backbone.safetensors"):
        source = parts / f"{version}-{name}"
        data = f"{name} {version} ".encode() * 3000
        if not source.exists() or source.stat().st_size < len(data):  # who wrote it may have been killed
            source.write_bytes(data)
        sources[name] = source
    config = {"engine": {"name": "openvino"}, "version": version, "topwork": "0"}
    texts = {"metrics.json": json.dumps(version), "splits.json": json.dumps(version), "report.html": "x" * 5000}
    write_bundle(path, config, {"weight": np.full(500, version, np.float32)}, sources, texts)


def version_of(bundle: Bundle) -> int:
    """The one version that all of a toy bundle is of; fails when it is a mixture."""
    version = int(bundle.config["version"])
    assert (bundle.tensors["weight"] == version).all()
    return version


def whole_version(path: Path) -> int:
    """The version of a toy bundle that nobody is writing, every one of its files looked at."""
    version = version_of(read_bundle(path))
    for name in ("model.xml", "model.bin", "backbone.safetensors"):
        assert (path / name).read_bytes() == f"{name} {version} ".encode() * 3000
    assert json.loads((path / "metrics.json").read_text()) == json.loads((path / "splits.json").read_text()) == version
    return version


CALLS = ("write", "fsync", "replace", "rename", "open", "mkdir", "unlink", "rmdir")
"""What `nth_call` counts; deleting is tidying up and never fails here, but may be the last thing that a process does."""


@contextlib.contextmanager
def nth_call(nth: int, fault: int, exchange: bool = True) -> Iterator[list[str]]:
    """While this is open the nth call of os.write, os.fsync, os.rename ... raises OSError(fault), or SIGKILLs for fault 0.

    exchange: whether the system can exchange two folders. Yields the names of the calls made so far.
    """
    made: list[str] = []

    def wrap(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            if fault and (name in ("unlink", "rmdir") or (name == "open" and not args[1] & os.O_WRONLY)):
                return real(*args, **named)
            made.append(name)
            if len(made) == nth:
                if not fault:
                    os.kill(os.getpid(), signal.SIGKILL)
                raise OSError(fault, os.strerror(fault), args[0] if name != "write" else None)
            return real(*args, **named)

        return call

    kept = {name: getattr(os, name) for name in CALLS}
    kept_exchange = runtime._exchange
    try:
        for name, real in kept.items():
            setattr(os, name, wrap(name, real))
        runtime._exchange = wrap("exchange", kept_exchange) if exchange else lambda first, second: False
        yield made
    finally:
        runtime._exchange = kept_exchange
        for name, real in kept.items():
            setattr(os, name, real)


class Workers:
    """Starts processes quickly: one process has everything imported and forks the others."""

    def __init__(self, preload: Path | None = None) -> None:
        preloaded = {"LD_PRELOAD": str(preload)} if preload else {}
        self._mother = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **preloaded},
        )

    def _ask(self, *words: Any) -> int:
        assert self._mother.stdin and self._mother.stdout
        self._mother.stdin.write(json.dumps(words) + "\n")
        self._mother.stdin.flush()
        return int(self._mother.stdout.readline())

    def start(self, job: Callable[..., None], *args: Any) -> int:
        """The number of a new process that runs `job`, a function of this module."""
        return self._ask(job.__name__, *[str(arg) if isinstance(arg, Path) else arg for arg in args])

    def wait(self, process: int) -> int:
        """How the process ended: 0, or minus the signal."""
        return self._ask("wait", process)

    def run(self, job: Callable[..., None], *args: Any) -> int:
        """How a new process that runs `job` ended."""
        return self.wait(self.start(job, *args))

    def close(self) -> None:
        """End the mother process."""
        self._mother.communicate()


def extract_job(folder: str, store: str, done: str, nth: int = -1, mode: int = 0) -> None:
    """Extract; the file `done` holds the number of pictures done and, with nth (see faults.c), the number of calls."""
    with open(done, "r+b") as file, mmap.mmap(file.fileno(), 16) as shared:

        def progress(count: int, _: int) -> None:
            shared[:8] = count.to_bytes(8, "little")

        if nth >= 0:
            ctypes.CDLL(None).faults_arm(nth, mode)
        try:
            found = toy_extract(Path(folder), Path(store), progress)
        except StorageError:  # when the store is opened; the commands go on without it
            os._exit(6)
        shared[8:16] = ctypes.CDLL(None).faults_calls().to_bytes(8, "little") if nth >= 0 else bytes(8)
        if nth >= 0:
            ctypes.CDLL(None).faults_arm(-1, 0)
        if mode > 2:
            os._exit(2 if found.warnings else 3)


def share_job(store: str, seed: int, rows: int) -> None:
    """Put and get rows 0..rows in a drawn order, small batches."""
    order = random.Random(seed).sample(range(rows), rows)
    with Store("shared", "", Path(store)) as kept:
        for place, number in enumerate(order):
            found = kept.get(toy_row(number).sha256)
            if found is not None and not np.array_equal(found.features, toy_row(number).features):
                os._exit(4)
            kept.put(toy_row(number))
            if place % 7 == 0:
                kept.flush()
        if kept.warning:
            print(kept.warning, file=sys.stderr)
            os._exit(5)


def save_job(path: str, parts: str, version: int, nth: int, exchange: bool) -> None:
    """Save one bundle, perhaps to die at the nth call."""
    with nth_call(nth, 0, exchange):
        write_toy(Path(path), version, Path(parts))


def saves_job(path: str, parts: str, first: int, count: int, exchange: bool = True) -> None:
    """Save `count` bundles one after the other."""
    with nth_call(-1, 0, exchange):
        for version in range(first, first + count):
            write_toy(Path(path), version, Path(parts))


def download_job(address: str, file: str, sha256: str | None, nth: int = -1) -> None:
    """Download a file, perhaps to die at the nth call."""
    with nth_call(nth, 0):
        download(address, Path(file), sha256)


def _mother() -> None:
    for line in sys.stdin:
        name, *args = json.loads(line)
        if name == "wait":
            answer = os.waitstatus_to_exitcode(os.waitpid(args[0], 0)[1])
        elif not (answer := os.fork()):
            code = 1
            try:
                os.dup2(os.open(os.devnull, os.O_RDWR), 1)
                globals()[name](*args)
                code = 0
            except BaseException as error:
                print(f"{name}: {error!r}", file=sys.stderr)
            finally:
                os._exit(code)
        print(answer, flush=True)


if __name__ == "__main__":
    _mother()
