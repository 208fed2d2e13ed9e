"""The commands as the code has them: names, words and flags. A page of each."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cyclopts import App
from cyclopts.argument import Argument

from handbook.examples import Ran
from handbook.words import cell
from topwork.commands.app import app

SHELL = re.compile(r"(topwork|printf|cat|echo) \S")
"""How a line of help begins that shows a command."""


@dataclass(frozen=True)
class Command:
    """One command."""

    words: tuple[str, ...]
    """As typed after topwork: ("cache", "show")."""
    title: str
    """The first line of its help."""
    text: str
    """The rest of it, before the flags."""
    usage: str
    arguments: tuple[Argument, ...]

    @property
    def name(self) -> str:
        """As typed after topwork."""
        return " ".join(self.words)

    @property
    def page(self) -> str:
        """The file of its page."""
        return f"{'-'.join(self.words)}.md"


def commands(root: App = app, words: tuple[str, ...] = ()) -> Iterator[Command]:
    """Every command of the app in the order of its help; a group's commands in its place."""
    children = [(name, child) for name, child in root.resolved_commands().items() if not name.startswith("-")]
    for name, child in sorted(children, key=lambda one: (one[1].sort_key is None, one[1].sort_key or 0)):
        chain = (*words, name)
        if child.default_command is None:
            yield from commands(child, chain)
            continue
        title, _, rest = (inspect.getdoc(child.default_command) or "").partition("\n")
        arguments = tuple(one for one in child.assemble_argument_collection(parse_docstring=True) if not one.children)
        yield Command(chain, title, rest.partition("Parameters\n---")[0].strip(), _usage(chain, arguments), arguments)


def _usage(words: tuple[str, ...], arguments: Sequence[Argument]) -> str:
    places = [one.name if one.required else f"[{one.name}]" for one in arguments if not one.name.startswith("-")]
    places = [f"{name}..." if "list" in str(one.hint) else name for name, one in zip(places, arguments, strict=False)]
    needed = [f"{one.name} {_value(one)}" for one in arguments if one.name.startswith("-") and one.required]
    return " ".join(["topwork", *words, *places, *needed, "[flags]"])


def _value(argument: Argument) -> str:
    """What stands after a flag, in capitals, as in a usage line."""
    return argument.name.lstrip("-").upper()


def page(command: Command, ran: Sequence[Ran], place: str) -> str:
    """The page of a command, in Markdown: what it does, examples with their real output, every flag."""
    parts = [f"# topwork {command.name}", command.title]
    if command.text:
        parts.append(_as_markdown(command.text))
    parts.append(f"```text\n{command.usage}\n```")
    if ran:
        parts.append("## For example" if len(ran) == 1 else "## Examples")
        parts += [one.as_markdown() for one in ran]
        parts.append(f'<p class="made">Output of these very commands, on {place}.</p>')
    flags = [one for one in command.arguments if one.name.startswith("-")]
    places = [one for one in command.arguments if not one.name.startswith("-")]
    for title, rows in (("What it works on", places), ("Flags", flags)):
        if rows:
            parts += [f"## {title}", "\n".join(["| | |", "|---|---|", *[_row(one) for one in rows]])]
    return "\n\n".join(parts) + "\n"


def _as_markdown(text: str) -> str:
    """The longer help; a line that begins with a shell command becomes a block of code."""
    lines = text.splitlines()
    return "\n".join(f"\n```console\n$ {line}\n```\n" if SHELL.match(line) else line for line in lines)


def _row(argument: Argument) -> str:
    names = ", ".join(f"`{name}`" for name in argument.names)
    choices = argument.get_choices()
    default = argument.field_info.default
    notes = []
    if choices:
        notes.append("one of " + ", ".join(f"`{one}`" for one in choices))
    if argument.required and argument.name.startswith("-"):
        notes.append("must be given")
    elif argument.hint is not bool and default not in (None, inspect.Parameter.empty):
        notes.append(f"default `{default}`")
    told = f" <small>({'; '.join(notes)})</small>" if notes else ""
    return f"| {names} | {cell(argument.parameter.help or '')}{told} |"


def overview(every: Sequence[Command], epilogue: str) -> str:
    """The page that lists all commands."""
    rows = [f"| [`{one.name}`]({one.page}) | {cell(one.title)} |" for one in every]
    return "\n".join(["# Commands", "", "| | |", "|---|---|", *rows, "", epilogue, ""])
