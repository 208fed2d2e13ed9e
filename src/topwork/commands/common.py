"""What all commands share: flags that mean the same everywhere, the progress bar, printing, exit codes."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter, validators

from topwork.errors import InputError
from topwork.runtime import in_words

EXIT_ERROR, EXIT_USAGE, EXIT_PARTIAL, EXIT_GATE, EXIT_INTERRUPTED = 1, 2, 3, 4, 130

Out = Annotated[Path, Parameter(name=["--out", "-o"])]
Backbone = Annotated[
    str,
    Parameter(
        name=["--backbone", "-b"],
        help="The network: lite0, which comes with the install, or one of topwork zoo list: vgg16, timm:NAME, keras:NAME.",
    ),
]
Weights = Annotated[
    str, Parameter(help="The network's weights: pretrained, random, or a file (.safetensors, .pth, .weights.h5, .h5).")
]
Engine = Annotated[
    Literal["auto", "torch", "openvino", "onnxruntime"],
    Parameter(help="What runs the network; auto measures once and remembers."),
]
Device = Annotated[Literal["auto", "cpu", "cuda"], Parameter(help="Where torch runs.")]
Store = Annotated[bool, Parameter(help="Keep stored embeddings and use them, so that they are not made again.")]
Seed = Annotated[int, Parameter(validator=validators.Number(gte=0))]
Switch = Annotated[bool, Parameter(negative="", show_default=False)]
Offline = Annotated[
    bool,
    Parameter(name="--offline", negative="", show_default=False, help="Fetch nothing; what is not on this machine is told."),
]
Json = Annotated[
    bool,
    Parameter(
        name="--json",
        negative="",
        show_default=False,
        help="Print one JSON document; after a mistake nothing is printed, see the exit code and stderr.",
    ),
]
Quiet = Annotated[
    bool,
    Parameter(
        name=["--quiet", "-q"],
        negative="",
        show_default=False,
        help="No progress bar, and no other word of what is being done.",
    ),
]
Verbose = Annotated[bool, Parameter(name=["--verbose", "-v"], negative="", show_default=False)]

QUIET_FOR = 1.0
"""Seconds of work before a progress bar shows."""


@contextlib.contextmanager
def progress_bar(what: str, quiet: bool = False, unit: str = "") -> Iterator[Callable[[int, int], None] | None]:
    """A bar with rate and remaining time on stderr; none when quiet, or when stderr is no terminal.

    unit: "bytes" or any. What is yielded takes what is done and the whole, 0 where nobody knows the whole.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    rate = TextColumn("{task.fields[rate]}")
    count = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    columns = (TextColumn(what), BarColumn(), count, rate, TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    start = time.monotonic()
    shown: list[Any] = []
    before: list[int] = []

    def told(done: int, total: int) -> None:
        passed = time.monotonic() - start
        if not before:  # a download may go on where an earlier one ended
            before.append(done if unit == "bytes" else 0)
        if not shown and passed < QUIET_FOR:
            return
        if not shown:
            shown.append(bar.add_task(what, total=total or None, rate=""))
            bar.start()
        speed = (done - before[0]) / passed
        rate = f"{in_words(round(speed))}/s" if unit == "bytes" else f"{speed:.0f}/s"
        bar.update(shown[0], completed=done, total=total or None, rate=rate)

    try:
        yield told
    finally:
        bar.stop()


def say(document: dict[str, Any], lines: Iterable[str], as_json: bool) -> None:
    """The result on stdout: one JSON document, or lines of text."""
    if as_json:
        print(json.dumps(document, indent=1, ensure_ascii=(sys.stdout.encoding or "").lower() != "utf-8"))
    elif told := [shown(line) for line in lines]:
        print("\n".join(told))


def check_figure(out: Path, photo: Path | None = None) -> None:
    """Raises InputError where no figure can be written, or one would replace the photo: before the work and not after it."""
    for file in (out, out.with_name(f"{out.stem}-attacked.png") if out.name else out):
        if photo is not None and file.exists() and file.samefile(photo):
            raise InputError(f"{file}: is the photo itself, and would be lost. Give another name with -o.")
    if not out.name or out.is_dir():
        raise InputError(f"{out}: is a folder. Expected the name of a figure in it, such as {out / 'figure.png'}.")
    if out.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise InputError(f"{out}: expected a name ending in .png, .svg or .pdf.")
    if not out.absolute().parent.is_dir():
        raise InputError(f"{out}: the folder {out.absolute().parent} does not exist. Make it first.")


def warn(*lines: str) -> None:
    """Lines on stderr."""
    for line in lines:
        print(shown(line), file=sys.stderr)


def shown(text: str) -> str:
    """The text for one line of a terminal: what a file's name may hold of line ends and control characters is spelled out."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def percent(share: float | None) -> str:
    """0.9883 as 98.8 %."""
    return "-" if share is None else f"{100 * share:.1f} %"


def right(accuracy: float | None) -> str:
    """As `percent`, with as many digits as it takes: only where nothing is wrong it says 100.0 %."""
    if accuracy is None or not 0 < accuracy < 1:
        return percent(accuracy)
    digits = 1
    while digits < 5 and float(f"{100 * accuracy:.{digits}f}") in (0, 100):
        digits += 1
    return f"{100 * accuracy:.{digits}f} %"


def number(count: int, one: str, many: str | None = None) -> str:
    """A count with its noun: 1 picture, 2 pictures."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def stay_offline(wanted: bool) -> None:
    """Forbid timm's hub the network, before anything of it is imported."""
    if wanted:
        os.environ["HF_HUB_OFFLINE"] = "1"


def told_broken(broken: list[dict[str, str]], every: bool = False, most: int = 10) -> list[str]:
    """A line for each picture that could not be used, up to `most` unless `every`."""
    most = len(broken) if every else most
    lines = [f"{bad['path']}: {bad['reason']}: {bad['detail']}" for bad in broken[:most]]
    if len(broken) > most:
        lines.append(f"and {len(broken) - most} more pictures that could not be used, see -v")
    return lines
