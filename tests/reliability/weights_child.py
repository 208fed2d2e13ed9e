"""Gives weight files, one after the other, to entry points, and tells as JSON what came of each.

A process of its own: a crash would end it, and what it opens, starts and unpickles is written down. Run as
`python weights_child.py WORK < JSON`; WORK is an empty folder to work in, the JSON the files for each entry point.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

SMALL = "timm:mobilenetv3_small_050"
FORBIDDEN = ("pickle.", "subprocess.", "os.system", "os.exec", "os.spawn", "os.posix_spawn", "os.fork", "socket.")

seen: list[tuple[str, str]] = []
watching = False


def watch(event: str, values: tuple[object, ...]) -> None:
    """Write down what a load does, while one runs."""
    if watching and (event == "open" or event.startswith(FORBIDDEN)):
        path = os.fsdecode(values[0]) if event == "open" and isinstance(values[0], (str, bytes)) else repr(values)[:200]
        seen.append((event, path))


def draw(folder: Path) -> Path:
    """Two classes of six drawn pictures."""
    rng = np.random.default_rng(0)
    for name, channel in (("red", 0), ("blue", 2)):
        (folder / name).mkdir(parents=True)
        for number in range(6):
            pixels = rng.integers(0, 80, (60, 80, 3), dtype=np.uint8)
            pixels[..., channel] += 120
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


Entry = Callable[[Path], None]


def library(name: str) -> Callable[[Path], Entry]:
    """topwork.load_backbone(name, weights=FILE)."""

    def make(work: Path) -> Entry:
        from topwork.zoo import load_backbone

        load_backbone(name, "random")  # imports what there is to import
        return lambda file: void(load_backbone(name, str(file)))

    return make


def command(*words: str) -> Callable[[Path], Entry]:
    """A command with --weights FILE; PICTURES, ONE and OUT in its words stand for a folder, a picture and what is made."""

    def make(work: Path) -> Entry:
        from topwork.commands.app import run
        from topwork.errors import TopworkError

        pictures = draw(work / "pictures")
        places = {"PICTURES": str(pictures), "ONE": str(pictures / "red" / "0.png"), "OUT": str(work / "out")}

        def entry(file: Path) -> None:
            filled = [places.get(word, word.replace("FILE", str(file)).replace("OUT", places["OUT"])) for word in words]
            told = io.StringIO()
            with contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
                code = run(filled)
            if code == 1:
                raise TopworkError(told.getvalue())
            raise SystemError(f"exit code {code}: {told.getvalue()[-500:]}")

        return entry

    return make


def bundle(work: Path) -> Entry:
    """A bundle of the engine torch whose author put FILE in the place of its backbone, with hashes that agree."""
    from topwork import Classifier
    from topwork.bundle import _checksum
    from topwork.commands.app import run

    pictures = draw(work / "pictures")
    made = work / "made.topwork"
    with contextlib.redirect_stdout(io.StringIO()):
        assert run(["fit", str(pictures), "-o", str(made), "-b", SMALL, "--weights", "random", "--engine", "torch", "-q"]) == 0
    Classifier.load(made)

    def entry(file: Path) -> None:
        data = file.read_bytes()
        (made / "backbone.safetensors").write_bytes(data)
        config = json.loads((made / "config.json").read_text())
        config["decides"]["backbone.safetensors"] = hashlib.sha256(data).hexdigest()
        config["sizes"]["backbone.safetensors"] = len(data)
        body = {key: value for key, value in config.items() if key not in ("sha256", "tells")}
        (made / "config.json").write_text(json.dumps({**config, "sha256": _checksum(body)}))
        Classifier.load(made)

    return entry


def void(value: object) -> None:
    """Nothing, whatever it is given."""


ENTRIES: dict[str, Callable[[Path], Entry]] = {
    "library, timm": library(SMALL),
    "library, keras": library("keras:MobileNetV2"),
    "fit": command("fit", "PICTURES", "-o", "OUT.topwork", "-b", SMALL, "--weights", "FILE", "-q"),
    "audit": command("audit", "PICTURES", "-b", SMALL, "--weights", "FILE", "-q"),
    "embed": command("embed", "PICTURES", "-o", "OUT.parquet", "-b", SMALL, "--weights", "FILE", "-q"),
    "look": command("look", SMALL, "ONE", "-o", "OUT.png", "--weights", "FILE"),
    "compare": command("compare", "PICTURES", "--backbones", f"{SMALL}=FILE", "-q"),
    "bundle": bundle,
}


def main(work: Path) -> None:
    """Print [{file, error, told, seconds, peak, seen}] for the files of each entry point."""
    sys.addaudithook(watch)
    found = {}
    for place, (name, files) in enumerate(json.load(sys.stdin).items()):
        own = work / str(place)
        own.mkdir()
        entry = ENTRIES[name](own)
        tried(entry, Path(files[0]))  # imports what there is to import
        found[name] = [tried(entry, Path(file)) for file in files]
    print(json.dumps(found))


def tried(entry: Entry, file: Path) -> dict[str, object]:
    """What came of giving `file` to an entry point."""
    global watching
    from topwork.errors import TopworkError
    from topwork.process import peak_memory

    error, told = "none", ""
    seen.clear()
    watching, began = True, time.perf_counter()
    try:
        entry(file)
    except TopworkError as refused:
        error, told = "refused", str(refused)
    except Exception as other:
        error, told = f"unexpected {type(other).__name__}", str(other)
    seconds, watching = time.perf_counter() - began, False
    come_of = {"file": str(file), "error": error, "told": told, "seconds": seconds, "peak": peak_memory()}
    return {**come_of, "seen": list(dict.fromkeys(seen))}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
