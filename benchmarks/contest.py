"""Running contenders: each in its own process, interleaved (A B C, A B C, ...), timed from start to exit.

This module and all that run.py imports stay light: on Linux a child's peak memory starts at its parent's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

TIME_LIMIT = 3600.0
"""Seconds after which a contender is stopped and counts as failed."""

STDERR_SHOWN = 30
"""Last lines of a failed contender's stderr that are shown and kept."""


@dataclass(frozen=True)
class Contender:
    """A command that does the job once, and prints its answer as JSON on stdout."""

    name: str
    command: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    prepare: Callable[[], dict[str, str]] | None = None
    """Called before each run and not timed; gives more environment, such as a fresh cache folder."""
    answers: bool = True
    """False where stdout is not JSON, as of --help."""


@dataclass(frozen=True)
class Run:
    """One run of a contender."""

    round: int
    seconds: float
    """From the start of the process to its exit, imports included."""
    peak_bytes: int
    """Most memory the process held; 0 where the system does not tell."""
    answer: dict[str, Any]
    """The JSON that it printed."""


@dataclass
class Race:
    """What came of a race: every run by contender, and for those that failed the reason."""

    runs: dict[str, list[Run]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def values(self, name: str, value: Callable[[Run], float]) -> list[float]:
        """`value` of each run of the contender, in order; empty where it failed."""
        return [value(run) for run in self.runs.get(name, [])]


class ContenderFailed(Exception):
    """A contender that exited with an error, ran too long, or printed no JSON; the text holds its stderr's end."""


def race(contenders: Sequence[Contender], rounds: int, offset: int = 0) -> Race:
    """All contenders in turn, `rounds` times. One that fails is told at once, left out from then on, and loses only itself.

    The order is turned by one place each round, so that no contender always follows the same one.
    """
    result = Race({contender.name: [] for contender in contenders})
    for number in range(rounds):
        turn = (number + offset) % len(contenders)
        for contender in [*contenders[turn:], *contenders[:turn]]:
            if contender.name in result.failures:
                continue
            say(f"  round {number + 1} of {rounds}: {contender.name} ...", end="")
            try:
                run = run_once(contender, number)
            except (ContenderFailed, OSError) as error:
                result.failures[contender.name] = str(error)
                say(f" FAILED\n{error}")
            else:
                result.runs[contender.name].append(run)
                say(f" {run.seconds:.2f} s")
    return result


def run_once(contender: Contender, number: int = 0) -> Run:
    """One timed run. Raises ContenderFailed."""
    # The user's own TOPWORK_* settings would be topwork's flags: only what the benchmark sets may count.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOPWORK_")}
    environment |= contender.environment
    if contender.prepare is not None:
        environment |= contender.prepare()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        process = subprocess.Popen(list(contender.command), stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment)
        timer = threading.Timer(TIME_LIMIT, process.kill)
        timer.start()
        try:
            code, peak = _wait(process)
        except BaseException:  # Ctrl-C: leave no contender running
            process.kill()
            process.wait()
            raise
        finally:
            timer.cancel()
        seconds = time.perf_counter() - start
        answer = _parse(_text(out)) if contender.answers else {}
        if code != 0 or answer is None:
            what = f"exit code {code}" if code != 0 else "no JSON on stdout"
            lines = [*_text(err).splitlines(), *(_text(out).splitlines()[-5:] if code == 0 else [])]
            shown = "\n".join(f"    | {line}" for line in lines[-STDERR_SHOWN:])
            command = " ".join(contender.command)
            raise ContenderFailed(f"{contender.name}: {what} after {seconds:.1f} s\n    $ {command}\n{shown}")
    return Run(number, seconds, peak, answer)


def say(text: str, end: str = "\n") -> None:
    """Tell the person at the terminal; stdout is kept for the result."""
    print(text, end=end, file=sys.stderr, flush=True)


def _wait(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """(exit code, peak bytes) of a process once it has ended."""
    if sys.platform == "win32":
        return process.wait(), 0
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _parse(text: str) -> dict[str, Any] | None:
    """The JSON object that stdout holds: the whole of it, or else its last line."""
    for part in (text, text.strip().rpartition("\n")[2]):
        try:
            found = json.loads(part)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return None


def topwork_command(*arguments: str | Path) -> list[str]:
    """topwork as a user runs it, in the environment of this interpreter."""
    return [sys.executable, "-m", "topwork", *map(str, arguments)]
