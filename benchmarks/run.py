"""topwork and its peers side by side: same pictures, same network weights, each in its own process, in turn, several times.

python benchmarks/run.py --data DIR [--only features,fit,...] [--repeats 3] [--out benchmarks/results]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
import results
from contest import say
from parts import attack, features, finetune, fit, head, ideal, look, memory, predict, quality, strangers, zoo
from settings import Settings

PARTS: dict[str, Callable[[Settings], results.Part]] = {
    "features": features.measure,
    "fit": fit.measure,
    "predict": predict.measure,
    "head": head.measure,
    "memory": memory.measure,
    "quality": quality.measure,
    "strangers": strangers.measure,
    "look": look.measure,
    "ideal": ideal.measure,
    "finetune": finetune.measure,
    "zoo": zoo.measure,
    "attack": attack.measure,
}

WITH_PEERS = {"features", "fit", "predict", "head", "finetune", "zoo", "attack"}

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Exit code: 0 all ran, 1 a contender or a part failed (the others' results are kept), 2 usage."""
    given = _arguments()
    names = list(PARTS) if given.only is None else given.only
    peers = given.peers_python if WITH_PEERS & set(names) else None
    document: dict[str, Any] = {
        "command": _command(given),
        "repeats": given.repeats,
        "quick": given.quick,
        "machine": machine.describe(peers),
        "parts": {},
    }
    done: list[results.Part] = []
    with tempfile.TemporaryDirectory(prefix="topwork-bench-", ignore_cleanup_errors=True) as work:
        settings = Settings(given.data, Path(work), given.peers_python, given.repeats, given.quick)
        for name in names:
            say(f"{name}:")
            start = time.perf_counter()
            part = _measured(name, settings)
            done.append(part)
            document["parts"][name] = {**results.to_json(part), "seconds": time.perf_counter() - start}
            if given.out is not None:  # after each part, so that what is done is kept whatever comes
                _write(given.out, document, done)
    print(_markdown(document, done))
    return 1 if any(part.failures for part in done) else 0


def _measured(name: str, settings: Settings) -> results.Part:
    """The part's results; one that breaks down is told with its traceback and loses only itself."""
    try:
        return PARTS[name](settings)
    except Exception as error:
        text = traceback.format_exc()
        say(f"  FAILED: {text}")
        return results.Part(name, f"({name})", failures={f"{name}: {type(error).__name__}": text})


def _write(folder: Path, document: dict[str, Any], done: list[results.Part]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "latest.json").write_text(json.dumps(document, indent=1) + "\n")
    (folder / "latest.md").write_text(_markdown(document, done))


def _markdown(document: dict[str, Any], done: list[results.Part]) -> str:
    has_bf16 = bool(document["machine"]["has_bf16"])
    quick = ["**A quick run with few pictures: it shows that everything runs; its numbers mean nothing.**", ""]
    head = [
        "# Benchmark",
        "",
        *(quick if document["quick"] else []),
        machine.to_markdown(document["machine"]),
        f"Made by `{document['command']}`: every contender in its own process, in turn, rounds: {document['repeats']}. "
        "Value: the ratio of the medians; spread: smallest and largest, of ratios within one round.",
        "",
    ]
    return "\n".join([*head, *(results.to_markdown(part, has_bf16) for part in done)])


def _command(given: argparse.Namespace) -> str:
    """The command that makes the results again, without this machine's folders."""
    parts = ["python benchmarks/run.py --data DIR", f"--repeats {given.repeats}"]
    parts += [f"--only {','.join(given.only)}"] if given.only else []
    return " ".join([*parts, *(["--quick"] if given.quick else [])])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks/run.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = os.environ.get("TOPWORK_TEST_DATA")
    parser.add_argument("--data", type=Path, default=data, help="folder of the pictures (default: $TOPWORK_TEST_DATA)")
    parser.add_argument("--only", type=_names, help=f"some of {','.join(PARTS)}")
    parser.add_argument("--repeats", type=int, default=3, help="rounds of every race (default 3)")
    parser.add_argument("--out", type=Path, help="write latest.json and latest.md into this folder")
    parser.add_argument("--peers-python", type=Path, default=_venv_python(), help="interpreter that has the peers")
    parser.add_argument("--quick", action="store_true", help="few pictures, to see that everything runs")
    given = parser.parse_args()
    if given.data is None or not (given.data / "cats-vs-dogs" / "train").is_dir():
        parser.error(f"expected a folder that holds cats-vs-dogs/train, found {given.data}. Give --data DIR.")
    if given.repeats < 1:
        parser.error(f"--repeats: expected 1 or more, found {given.repeats}.")
    if WITH_PEERS & set(given.only or PARTS) and not given.peers_python.is_file():
        parser.error(f"{given.peers_python}: no such interpreter. Run `make bench`, or give --peers-python.")
    given.data = given.data.resolve()
    return given


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in PARTS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"no such part: {', '.join(unknown)}; expected some of {', '.join(PARTS)}")
    return names


def _venv_python() -> Path:
    return HERE / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


if __name__ == "__main__":
    sys.exit(main())
