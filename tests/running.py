"""What a command line gave back (see the fixture `cli`), and where topwork keeps its files meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest


class Done(NamedTuple):
    """The exit code, and what was written to stdout and stderr."""

    code: int
    out: str
    err: str


Cli = Callable[..., Done]


@contextlib.contextmanager
def cache_in(folder: Path) -> Iterator[None]:
    """topwork's cache folder is `folder` within: for fixtures that outlive a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOPWORK_CACHE", str(folder))
        yield
