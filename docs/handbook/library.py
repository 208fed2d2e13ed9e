"""The public names of the library with their signatures and docstrings."""

from __future__ import annotations

import dataclasses
import inspect
from importlib import import_module
from typing import Any

import topwork


def page() -> str:
    """One section for each name that `import topwork` offers."""
    parts = []
    for name in topwork.__all__:
        if name.startswith("__"):
            continue
        found = getattr(import_module(topwork._HOMES[name]), name)
        parts.append(f"## {name}")
        parts.append(f"```python\n{_signature(name, found)}\n```")
        parts.append(_words(found))
        parts += _members(found)
    return "\n\n".join(part for part in parts if part)


def _members(found: Any) -> list[str]:
    """The public methods of a class, each with its signature."""
    if not inspect.isclass(found) or issubclass(found, Exception):
        return []
    parts = []
    for name, member in vars(found).items():
        function = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
        if not name.startswith("_") and inspect.isfunction(function):
            parts += [f"### {found.__name__}.{name}", f"```python\n{_signature(name, function)}\n```", _words(function)]
    return parts


def _signature(name: str, found: Any) -> str:
    """name(parameters) -> what comes back, a parameter a line where they are many; the fields of a dataclass."""
    if dataclasses.is_dataclass(found):
        fields = [f"    {field.name}: {field.type}{_default(field)}" for field in dataclasses.fields(found)]
        return "\n".join([f"class {name}:", *fields])
    if inspect.isclass(found):
        return f"class {name}"
    signature = inspect.signature(found)
    kept = [one for one in signature.parameters.values() if one.name not in ("self", "cls")]
    text = str(signature.replace(parameters=kept)).replace("'", "")
    if len(text) <= 100:
        return f"{name}{text}"
    _, arrow, back = text.rpartition(" -> ")
    rows = [f"    {one},".replace("'", "") for one in kept]
    return "\n".join([f"{name}(", *rows, f"){arrow}{back if arrow else ''}"])


def _default(field: dataclasses.Field[Any]) -> str:
    return "" if field.default is dataclasses.MISSING else f" = {field.default!r}"


def _words(found: Any) -> str:
    return (inspect.getdoc(found) or "").strip()
