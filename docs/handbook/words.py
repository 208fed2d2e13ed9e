"""Text for pages: Markdown that is safe, and figures taken from the code so that no page can say another one."""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

PLACE = re.compile(r"\{\{\s*([\w.]+):([\w.]+)(%?)\s*\}\}")
"""{{ topwork.heads.strangers:NEAREST }}: a module and what to take from it; with a % at the end, as a percentage."""


def filled(text: str) -> str:
    """The text with every {{ module:name }} replaced by its value. A name that is not there is an error."""
    return PLACE.sub(lambda found: _figure(value(found[1], found[2]), bool(found[3])), text)


def _figure(found: Any, percentage: bool) -> str:
    return f"{100 * found:g} %" if percentage else written(found)


def value(module: str, path: str) -> Any:
    """What a module has under a dotted name; a dataclass field gives its default."""
    found: Any = import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    return found


def written(found: Any) -> str:
    """A value in words: 4,000; 0.75; 1, 5 and 15."""
    if isinstance(found, (tuple, list)):
        parts = [written(one) for one in found]
        return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else "".join(parts)
    if isinstance(found, int) and not isinstance(found, bool):
        return f"{found:,}"
    return f"{found:g}" if isinstance(found, float) else str(found)


def cell(text: str) -> str:
    """Text for a cell of a table."""
    return re.sub(r"([|*_<>])", r"\\\1", " ".join(text.split()))
