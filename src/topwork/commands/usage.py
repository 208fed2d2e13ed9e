"""A mistake on the command line in topwork's words: what was expected, what was found, what to do."""

from __future__ import annotations

from collections.abc import Sequence

from cyclopts import App, CycloptsError, MissingArgumentError, UnknownOptionError

MOST_TOLD = 3
"""An option that more commands have says nothing of which one was meant."""


def told(error: CycloptsError, root: App, commands: Sequence[str]) -> str:
    """One message for a mistake that the parser found; `commands` are those there are, such as "zoo list"."""
    at = [name for name in (error.command_chain or ()) if name]
    message = " ".join(str(error).split())
    if isinstance(error, MissingArgumentError) and error.argument is not None:
        if error.keyword is not None:
            message = f"{error.keyword}: expected a value, found nothing."
        else:
            message = f"{error.argument.name}: expected {_described(error.argument.name, _command(root, at))}; found nothing."
    elif isinstance(error, UnknownOptionError):
        others = _elsewhere(error.token.keyword, root, commands)
        message += f" It belongs to {', '.join(others)}." if 0 < len(others) <= MOST_TOLD else ""
    return f"{message} See: {' '.join(['topwork', *at])} --help"


def _described(name: str, command: App) -> str:
    """The first sentence that a command's docstring says of an argument, as part of another sentence."""
    arguments = command.assemble_argument_collection(parse_docstring=True)
    words = next((one.parameter.help for one in arguments if one.name == name), None) or "a value"
    first = " ".join(words.split()).partition(". ")[0].rstrip(".")
    return first if first[1:2].isupper() else first[0].lower() + first[1:]


def _elsewhere(option: str | None, root: App, commands: Sequence[str]) -> list[str]:
    """The commands that have an option of just this name."""
    every = ((f"topwork {words}", _command(root, words.split())) for words in commands)
    return [words for words, one in every if any(option in argument.names for argument in one.assemble_argument_collection())]


def _command(root: App, words: Sequence[str]) -> App:
    for word in words:
        root = root[word]
    return root
