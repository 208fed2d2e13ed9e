"""Every error a user can mend.

    TopworkError            exit 1: expected, found, what to do; shown without a traceback
    |-- InputError          a path, picture, table or folder that cannot be used
    |-- UnknownName         a name nobody knows, with the nearest ones that exist
    |-- WeightsError        a weight file or engine file that cannot be trusted or used
    |-- BundleError         a bundle that is missing, damaged or newer than this version
    |-- StorageError        a disk that is full, read-only or failing
    |-- DownloadError       a file that could not be fetched, or is not the expected one
    |-- ArchiveError        an archive that cannot be trusted or read
    `-- MissingExtra        an optional package that is not installed

Anything else that is raised is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

FEW = 12
"""Names that are all told where none is like the one that was asked for."""


class TopworkError(Exception):
    """A mistake the user can mend; the text is shown as it stands."""


class InputError(TopworkError):
    """A path, picture, table or folder that cannot be used."""


class UnknownName(TopworkError):
    """A name nobody knows. Tells the nearest known ones, or all where they are few and none is near."""

    def __init__(self, kind: str, name: str, known: Iterable[str], nearest: list[str] | None = None) -> None:
        self.name = name
        names = list(known)
        self.nearest = nearest_names(name, names) if nearest is None else nearest
        hint = ""
        if self.nearest:
            hint = f" Did you mean {' or '.join(self.nearest)}?"
        elif 0 < len(names) <= FEW:
            hint = f" There is {', '.join(names)}."
        super().__init__(f"{name}: no such {kind}.{hint}")


class WeightsError(TopworkError):
    """A weight file or engine file that cannot be trusted or used."""


class BundleError(TopworkError):
    """A bundle that is missing, damaged or newer than this version."""


class StorageError(TopworkError):
    """A disk that is full, read-only or failing."""


class DownloadError(TopworkError):
    """A file that could not be fetched, or is not the expected one."""


class ArchiveError(TopworkError):
    """An archive that cannot be trusted or read."""


class MissingExtra(TopworkError):
    """An optional package that is not installed."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {package}, which is not installed. Install it: pip install 'topwork[{extra}]'")


def nearest_names(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Up to `count` known names most like `name`, best first."""
    return difflib.get_close_matches(name, list(known), n=count, cutoff=0.5)
