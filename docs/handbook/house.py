"""The house as it stands: layers from the import contract, rooms and what they are for from the modules' docstrings."""

from __future__ import annotations

import ast
import tomllib
from dataclasses import dataclass
from html import escape
from pathlib import Path

from handbook.words import cell

WIDTH, HEIGHT, GAP = 760, 44, 8
EARTH = "#6d4c41"
WOOD = ("#e8f0e4", "#dbe8d5")
INK = "#1f2d1f"


@dataclass(frozen=True)
class Room:
    """One module or package of the house."""

    name: str
    """Dotted, without the leading topwork."""
    purpose: str
    """The first sentence of its docstring; empty where a package has none."""
    modules: tuple[tuple[str, str, int], ...]
    """(name, first sentence, lines) of each module in it; of itself where it is one."""

    @property
    def lines(self) -> int:
        """Lines of code in all."""
        return sum(lines for _, _, lines in self.modules)


def layers(root: Path) -> list[list[Room]]:
    """The rooms of each layer, the uppermost first: what stands above imports what stands below, never the other way."""
    document = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    contract = next(one for one in document["tool"]["importlinter"]["contracts"] if one["type"] == "layers")
    return [[_room(root / "src", name.strip()) for name in layer.split("|")] for layer in contract["layers"]]


def _room(source: Path, name: str) -> Room:
    place = source / Path(*name.split("."))
    short = name.removeprefix("topwork.")
    if place.is_dir():
        files = sorted(file for file in place.rglob("*.py") if file.name != "__init__.py")
        told = [(".".join(file.relative_to(place).with_suffix("").parts), *_facts(file)) for file in files]
        return Room(short, _facts(place / "__init__.py")[0], tuple(told))
    purpose, lines = _facts(place.with_suffix(".py"))
    return Room(short, purpose, ((short, purpose, lines),))


def _facts(file: Path) -> tuple[str, int]:
    """(first sentence of the docstring, lines) of a module."""
    text = file.read_text(encoding="utf-8")
    words = (ast.get_docstring(ast.parse(text)) or "").split("\n\n")[0]
    return " ".join(words.split()), len(text.splitlines())


def drawing(house: list[list[Room]]) -> str:
    """The layers as an SVG: one floor each, rooms that may not import each other side by side."""
    height = len(house) * (HEIGHT + GAP) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'font-family="system-ui, sans-serif" font-size="14">',
        "<title>The layers of topwork; imports go downwards only</title>",
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#ffffff"/>',
    ]
    left, wide = 46, WIDTH - 62
    for floor, rooms in enumerate(house):
        top, width = 12 + floor * (HEIGHT + GAP), (wide - GAP * (len(rooms) - 1)) / len(rooms)
        for place, room in enumerate(rooms):
            x = left + place * (width + GAP)
            size = f"{len(room.modules)} modules, {room.lines:,} lines" if len(room.modules) > 1 else f"{room.lines:,} lines"
            parts += [
                f'<rect x="{x:.0f}" y="{top}" width="{width:.0f}" height="{HEIGHT}" rx="5" fill="{WOOD[floor % 2]}"/>',
                f'<text x="{x + 12:.0f}" y="{top + 19}" fill="{INK}" font-weight="600">{escape(room.name)}</text>',
                f'<text x="{x + 12:.0f}" y="{top + 36}" fill="{EARTH}" font-size="11">{size}</text>',
            ]
    end = 12 + len(house) * (HEIGHT + GAP) - GAP
    parts += [
        f'<path d="M24 14V{end - 8}m-6 -9l6 9l6 -9" fill="none" stroke="{EARTH}" stroke-width="2"/>',
        f'<text x="{left}" y="{end + 22}" fill="{EARTH}" font-size="12">Imports go downwards only. '
        "Rooms side by side do not import each other.</text>",
        "</svg>",
    ]
    return "\n".join(parts)


def page(house: list[list[Room]]) -> str:
    """The tables of the rooms, from the front door down."""
    parts = []
    for rooms in house:
        for room in rooms:
            parts += [f"### {room.name}", *([cell(room.purpose)] if room.purpose else [])]
            if room.modules and room.modules[0][0] != room.name:
                rows = [f"| `{name}` | {cell(told)} | {lines} |" for name, told, lines in room.modules]
                parts.append("\n".join(["| module | | lines |", "|---|---|---:|", *rows]))
    return "\n\n".join(parts)
