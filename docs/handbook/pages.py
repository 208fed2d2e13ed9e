"""All pages, written: those by hand, and those made from the code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from handbook import examples, house, library, promises, quizzes, words
from handbook.commands import commands, overview, page
from topwork import __version__, runtime
from topwork.commands.app import app
from topwork.quiz.questions import load

PARTS = ("{{ promises }}", "{{ house }}", "{{ library }}")


def write_all(root: Path, out: Path, ran: Sequence[examples.Ran]) -> None:
    """Write every page of the site under the new folder `out`."""
    shutil.copytree(root / "docs" / "pages", out)
    shutil.copyfile(root / "docs" / "report.png", out / "report.png")
    floors, promised = house.layers(root), promises.read()
    made = dict(zip(PARTS, (promises.overview(promised), house.page(floors), library.page()), strict=True))
    for file in out.rglob("*.md"):
        text = file.read_text(encoding="utf-8")
        for name, part in made.items():
            text = text.replace(name, part)
        file.write_text(words.filled(text), encoding="utf-8")
    every = list(commands())
    _write(out / "commands" / "index.md", overview(every, str(app.help_epilogue)))
    for command in every:
        mine = [one for one in ran if one.example.command == command.name]
        _write(out / "commands" / command.page, page(command, mine, machine()))
    for promise in promised.every:
        _write(out / "promises" / f"{promise.id}.md", promises.page(promise))
    _write(out / "quizzes" / "before.md", quizzes.page(load("before")))
    _write(out / "quizzes" / "after.md", quizzes.page(load("after")))
    _write(out / "house.svg", house.drawing(floors))
    examples.keep_files(ran, out)


def write_config(template: Path, out: Path) -> None:
    """The generator's settings with all pages in their order: docs/mkdocs.yml and a nav (JSON is YAML)."""
    every = [{f"topwork {one.name}": f"commands/{one.page}"} for one in commands()]
    promised = [{f"{one.id}: {one.title}": f"promises/{one.id}.md"} for one in promises.read().every]
    nav = [
        {"Start": "index.md"},
        {"Commands": ["commands/index.md", *every]},
        {"Settings and exit codes": "settings.md"},
        {"From Python": "library.md"},
        {"How topwork decides": "decides.md"},
        {"What you can rely on": ["promises/index.md", *promised]},
        {"The house": "house.md"},
        {"Quizzes": [{"Before the lessons": "quizzes/before.md"}, {"After the lessons": "quizzes/after.md"}]},
    ]
    _write(out / "mkdocs.yml", f"{template.read_text(encoding='utf-8')}\nnav: {json.dumps(nav, indent=1)}\n")


def machine() -> str:
    """What the examples ran on, in words."""
    versions = ", ".join(f"{name} {version}" for name, version in runtime.versions("torch", "openvino").items())
    return f"{runtime.processor()}, {runtime.cores()} cores, topwork {__version__}, {versions}"


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
