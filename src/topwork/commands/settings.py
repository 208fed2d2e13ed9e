"""Where a flag that was not given gets its value: TOPWORK_FLAG in the environment, then topwork.toml, then its default.

    seed = 7                # topwork.toml: for every command that has this flag
    [fit]
    backbone = "timm:resnet50"
    test-share = 0.3        # for one command; wins over the same key above

Only whole names count, so TOPWORK_CACHE and other variables are never taken for a flag.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cyclopts import App, CycloptsError, Token
from cyclopts.argument import Argument, ArgumentCollection

from topwork.errors import nearest_names

FILE = "topwork.toml"

Source = Callable[[App, tuple[str, ...], ArgumentCollection], None]


def sources(root: App) -> tuple[Source, Source]:
    """The two sources of unset flags, the stronger first."""

    def from_environment(_: App, __: tuple[str, ...], arguments: ArgumentCollection) -> None:
        for name, argument in _flags(arguments).items():
            variable = f"TOPWORK_{name.upper().replace('-', '_')}"
            value = os.environ.get(variable, "")
            if value and not argument.tokens:
                argument.append(Token(keyword=variable, value=value, source="environment"))

    def from_file(_: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
        if not commands or not os.path.exists(FILE):
            return
        document = _read()
        flags = _flags(arguments)
        general = {key: value for key, value in document.items() if not isinstance(value, dict)}
        tables = {key: value for key, value in document.items() if isinstance(value, dict)}
        _check(f"{FILE}: [", "]", "command", tables, list(root.resolved_commands()))
        if not general.keys() <= flags.keys():
            every = set(_flags_of(root))
            _check(f"{FILE}: ", "", "flag of any command", general, every)
        table: Any = tables
        for command in commands:
            table = table.get(command, {})
        table = {key.replace("_", "-"): value for key, value in table.items()}
        _check(f"{FILE}, [{'.'.join(commands)}]: ", "", "flag of this command", table, flags)
        for key, value in {**general, **table}.items():
            if key not in flags or flags[key].tokens:
                continue
            if isinstance(value, (list, dict)):
                raise CycloptsError(msg=f"{FILE}: {key}: expected one value, found {value}.")
            text = str(value).lower() if isinstance(value, bool) else str(value)
            flags[key].append(Token(keyword=f"{FILE}: {key}", value=text, source=FILE))

    return from_environment, from_file


def _flags(arguments: ArgumentCollection) -> dict[str, Argument]:
    """The flags of a command by their long name; what has a place of its own (a path) is none."""
    return {one.name.removeprefix("--"): one for one in arguments if one.name.startswith("--")}


def _flags_of(command: App) -> Iterable[str]:
    if command.default_command is not None:
        return _flags(command.assemble_argument_collection())
    children = [child for name, child in command.resolved_commands().items() if not name.startswith("-")]
    return {name for child in children for name in _flags_of(child)}


def _read() -> dict[str, Any]:
    import tomllib

    try:
        document = tomllib.loads(Path(FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CycloptsError(msg=f"{FILE}: expected TOML in UTF-8, cannot read it: {error}.") from error
    return {key if isinstance(value, dict) else key.replace("_", "-"): value for key, value in document.items()}


def _check(before: str, after: str, what: str, found: Iterable[str], known: Iterable[str]) -> None:
    known = [name for name in known if not name.startswith("-")]
    for name in found:
        if name not in known:
            nearest = nearest_names(name, known)
            hint = f" Did you mean {' or '.join(nearest)}?" if nearest else f" Expected one of: {', '.join(sorted(known))}."
            raise CycloptsError(msg=f"{before}{name}{after} is no {what}.{hint}")
