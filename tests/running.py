"""What a command line gave back; see the fixture `cli`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Done(NamedTuple):
    """The exit code, and what was written to stdout and stderr."""

    code: int
    out: str
    err: str


Cli = Callable[..., Done]
