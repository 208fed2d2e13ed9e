"""The examples of examples.toml, run one after the other in one working folder, with all that they print."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parents[1] / "examples.toml"

PICTURES = (".png", ".jpg", ".webp", ".svg")


@dataclass(frozen=True)
class Example:
    """One example of a command."""

    command: str
    """As typed after topwork: cache show."""
    says: str
    """What it shows, in a sentence."""
    run: tuple[str, ...]
    """Lines for a shell."""
    exit: int = 0
    """Exit code of the last line."""
    photos: bool = False
    """Needs the folders of TOPWORK_TEST_DATA, and is left out where there are none."""
    first: int = 40
    """Lines of output shown at most, from the top ..."""
    last: int = 0
    """... and from the end."""
    files: tuple[str, ...] = ()
    """Written by the example and worth showing: pictures stand on the page, others are linked."""


@dataclass(frozen=True)
class Ran:
    """An example with what it printed."""

    example: Example
    said: tuple[str, ...]
    """What each line printed, stdout and stderr as they came."""
    folder: Path

    def as_markdown(self) -> str:
        """For the page of its command, which lies in commands/."""
        lines = [
            text for line, said in zip(self.example.run, self.said, strict=True) for text in (f"$ {line}", *said.splitlines())
        ]
        parts = [self.example.says, "\n".join(["```console", *_cut(lines, self.example), "```"])]
        for name in self.example.files:
            file = kept(self.example, name)
            parts.append(f"![{self.example.says}](../{file})" if name.endswith(PICTURES) else f"[{name}](../{file})")
        return "\n\n".join(parts)


def kept(example: Example, name: str) -> str:
    """Where a file of an example lies in the site."""
    return f"files/{'-'.join([*example.command.split(), *Path(name).parts])}"


def _cut(lines: list[str], example: Example) -> list[str]:
    if len(lines) <= example.first + example.last + 1:
        return lines
    left = len(lines) - example.first - example.last
    return [*lines[: example.first], f"... ({left} more lines)", *lines[len(lines) - example.last :]]


def read(file: Path = FILE) -> list[Example]:
    """All examples in the order they are run."""
    rows: list[dict[str, Any]] = tomllib.loads(file.read_text(encoding="utf-8"))["example"]
    for row in rows:
        row |= {name: tuple(row[name]) for name in ("run", "files") if name in row}
    return [Example(**row) for row in rows]


def run_all(work: Path, photos: Path | None, every: Sequence[Example] | None = None) -> list[Ran]:
    """Run the examples in the new folder `work`. Exits where one ends otherwise than it should."""
    work.mkdir(parents=True)
    for folder in sorted(photos.iterdir()) if photos else []:
        if folder.is_dir():
            (work / folder.name).symlink_to(folder)
    home = work / ".home"
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    env = {name: text for name, text in os.environ.items() if not name.startswith("TOPWORK_")}
    env |= {
        "PATH": paths,
        "HOME": str(home),
        "TOPWORK_CACHE": str(home / ".cache" / "topwork"),
        "NO_COLOR": "1",
        "COLUMNS": "100",
    }
    done = []
    for example in read() if every is None else every:
        if example.photos and photos is None:
            print(f"left out, for want of TOPWORK_TEST_DATA: {example.run[-1]}", file=sys.stderr)
            continue
        print(f"$ {example.run[-1]}", file=sys.stderr)
        said, code = [], 0
        for line in example.run:
            code, text = _run(line, work, env)
            said.append(text.replace(str(home), "~").replace(f"{work}/", ""))
        if code != example.exit:
            sys.exit(f"{said[-1]}\n{example.run[-1]}: expected exit code {example.exit}, found {code}")
        done.append(Ran(example, tuple(said), work))
    return done


def _run(line: str, work: Path, env: dict[str, str]) -> tuple[int, str]:
    """Exit code of a line in a shell, and what it printed to stdout and stderr as it came."""
    shell = ["bash", "-c", line]
    done = subprocess.run(shell, cwd=work, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def keep_files(ran: Sequence[Ran], pages: Path) -> None:
    """Copy what examples wrote and pages show."""
    for one in ran:
        for name in one.example.files:
            place = pages / kept(one.example, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(one.folder / name, place)
