"""The promises of promises.toml: a page each, with the tests that prove it."""

from __future__ import annotations

import ast
import tomllib
from dataclasses import dataclass
from pathlib import Path

from handbook.words import filled

FILE = Path(__file__).resolve().parents[1] / "promises.toml"


@dataclass(frozen=True)
class Promise:
    """One promise of reliability."""

    id: str
    """A letter for its kind and a number: C1."""
    title: str
    """The promise in a sentence without its end."""
    text: str
    """What it means for the user, and how it is kept."""
    proof: str
    """What the tests do, and how often."""
    tests: tuple[str, ...]
    """tests/file.py::name of each."""


@dataclass(frozen=True)
class Promises:
    """All promises, and the words for each kind."""

    kinds: dict[str, str]
    every: tuple[Promise, ...]


def read(file: Path = FILE) -> Promises:
    """All promises in the order of the file."""
    document = tomllib.loads(file.read_text(encoding="utf-8"))
    rows = [{**row, "tests": tuple(row["tests"])} for row in document["promise"]]
    return Promises(document["kinds"], tuple(Promise(**row) for row in rows))


def test_words(root: Path, test: str) -> str | None:
    """What a test's docstring says of it, or an empty text; None where there is no such test."""
    file, _, name = test.partition("::")
    if not (root / file).is_file():
        return None
    for node in ast.walk(ast.parse((root / file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return (ast.get_docstring(node) or "").split("\n")[0]
    return None


def page(promise: Promise) -> str:
    """The page of a promise."""
    rows = [f"- `{test}`" for test in promise.tests]
    run = " ".join(dict.fromkeys(test.partition("::")[0] for test in promise.tests))
    text = "\n\n".join(
        [
            f"# {promise.id}: {promise.title}",
            promise.text.strip(),
            "## How it is proven",
            promise.proof.strip(),
            "\n".join(rows),
            f"```console\n$ python -m pytest {run}\n```",
        ]
    )
    return f"{filled(text)}\n"


def overview(promises: Promises) -> str:
    """Links to all promises, by kind."""
    parts = []
    for kind, words in promises.kinds.items():
        mine = [one for one in promises.every if one.id[0] == kind]
        if mine:
            parts.append(f"## {words}")
            parts.append("\n".join(["| | |", "|---|---|", *[f"| [{one.id}]({one.id}.md) | {one.title} |" for one in mine]]))
    return "\n\n".join(parts)
