"""What all commands share: flags that mean the same everywhere, the progress bar, printing, exit codes."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

EXIT_ERROR, EXIT_USAGE, EXIT_PARTIAL, EXIT_GATE, EXIT_INTERRUPTED = 1, 2, 3, 4, 130

Out = Annotated[Path, Parameter(name=["-o", "--out"])]
Backbone = Annotated[str, Parameter(name=["-b", "--backbone"])]
EngineName = Literal["auto", "torch", "openvino", "onnxruntime"]
Device = Literal["auto", "cpu", "cuda"]
Json = Annotated[bool, Parameter(name="--json", negative="")]
Quiet = Annotated[bool, Parameter(name=["-q", "--quiet"], negative="")]

QUIET_FOR = 1.0
"""Seconds of work before a progress bar shows."""


@contextlib.contextmanager
def progress_bar(what: str, quiet: bool = False) -> Iterator[Callable[[int, int], None] | None]:
    """A bar with rate and remaining time on stderr; none when quiet, or when stderr is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    start = time.monotonic()
    shown: list[Any] = []

    def told(done: int, total: int) -> None:
        passed = time.monotonic() - start
        if not shown and passed < QUIET_FOR:
            return
        if not shown:
            bar.start()
            shown.append(bar.add_task(what, rate=""))
        bar.update(shown[0], completed=done, total=total, rate=f"{done / passed:.0f}/s")

    try:
        yield told
    finally:
        bar.stop()


def say(document: dict[str, Any], text: str, as_json: bool) -> None:
    """The result on stdout: one JSON document, or the text."""
    print(json.dumps(document, indent=1, ensure_ascii=False) if as_json else text)


def warn(*lines: str) -> None:
    """Lines on stderr."""
    for line in lines:
        print(line, file=sys.stderr)


def percent(share: float | None) -> str:
    """0.9883 as 98.8 %."""
    return "-" if share is None else f"{100 * share:.1f} %"


def told_broken(broken: list[dict[str, str]], most: int = 10) -> list[str]:
    """A line for each picture that could not be used, up to `most`."""
    lines = [f"{bad['path']}: {bad['reason']}: {bad['detail']}" for bad in broken[:most]]
    if len(broken) > most:
        lines.append(f"and {len(broken) - most} more pictures that could not be used, see --json")
    return lines
