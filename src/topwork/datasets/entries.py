"""What an archive may hold: the entries its readers find, how much may come out of it, and which names are safe."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

BLOCK = 1 << 18
"""Bytes that are in memory at once."""

SLACK = 16 << 20
"""So many bytes may come out of any archive before their ratio to its size counts."""

LONGEST_NAME = 1024
"""Bytes of a whole name; each of its parts may have 255."""


@dataclass(frozen=True)
class Limits:
    """How much may come out of an archive."""

    count: int = 100_000
    """Entries, those that are passed over too."""
    size: int = 16 << 30
    """Bytes in all."""
    each: int = 1 << 30
    """Bytes of one file."""
    ratio: int = 100
    """Bytes that come out for each byte of the archive."""
    depth: int = 16
    """Folders within folders."""


class Hostile(Exception):
    """Why an archive is refused, in words."""


@dataclass(frozen=True)
class Entry:
    """One entry of an archive."""

    name: str
    """As the archive has it."""
    kind: str
    """"file", "folder", or in words what it is else."""
    size: int
    """In bytes, as the archive states it."""
    blocks: Callable[[], Iterator[bytes]]
    """Its content, piece by piece; raises Hostile where it is not what the archive states."""


@dataclass
class Budget:
    """What is left of the limits while bytes come out; counted on the bytes themselves, not on what the archive states."""

    limits: Limits
    archive: int
    """The archive's size in bytes."""
    entries: int = 0
    spent: int = 0

    def entry(self, count: int = 1) -> None:
        """Count entries. Raises Hostile."""
        self.entries += count
        if self.entries > self.limits.count:
            raise Hostile(f"it has more than {self.limits.count} entries")

    def spend(self, count: int) -> None:
        """Count bytes that came out. Raises Hostile."""
        self.spent += count
        self.check(self.spent)

    def check(self, total: int) -> None:
        """Raises Hostile where so many bytes are too many."""
        if total > self.limits.size:
            raise Hostile(f"more than {self.limits.size} bytes come out of it")
        if total > max(SLACK, self.limits.ratio * self.archive):
            raise Hostile(f"more than {self.limits.ratio} times its size comes out of it: a bomb")


_CONTROL = {"Cc", "Cs"}
_TURNING = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # they make a name look like another one
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3])\s*(\..*)?", re.IGNORECASE)


def clean_name(name: str) -> str:
    """The path that an entry means, with single slashes and composed accents. Raises Hostile where it is an attack."""
    if not name:
        raise Hostile("it has no name")
    if any(unicodedata.category(letter) in _CONTROL or letter in _TURNING for letter in name):
        raise Hostile("control characters in its name")
    if "\\" in name:
        raise Hostile("a backslash in its name")
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        raise Hostile("it names a place outside")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Hostile("it names a place outside")
    return unicodedata.normalize("NFC", "/".join(parts))


def check_portable(name: str, limits: Limits) -> None:
    """Raises Hostile unless every system can have a file of this name."""
    parts = name.split("/")
    if not name or len(parts) > limits.depth:
        raise Hostile(f"more than {limits.depth} folders within folders" if name else "it has no name")
    if len(name.encode()) > LONGEST_NAME or any(len(part.encode()) > 255 for part in parts):
        raise Hostile("its name is too long")
    for part in parts:
        if any(letter in '<>:"|?*' for letter in part) or part[-1] in ". ":
            raise Hostile("not every system allows its name")
        if _RESERVED.fullmatch(part):
            raise Hostile("its name is reserved on Windows")


@dataclass
class Taken:
    """The names that are taken, as a system sees them that ignores case."""

    files: set[str] = field(default_factory=set)
    folders: dict[str, str] = field(default_factory=dict)

    def take(self, name: str) -> None:
        """Take a name and the folders above it. Raises Hostile where they are taken otherwise."""
        key = _key(name)
        if key in self.files:
            raise Hostile("it comes twice, or differs from another one only in case")
        if key in self.folders:
            raise Hostile("it is a file and a folder")
        parts = name.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[:depth])
            above = _key(folder)
            if above in self.files:
                raise Hostile("a file is above it")
            if self.folders.setdefault(above, folder) != folder:
                raise Hostile("its folder differs from another one only in case")
        self.files.add(key)


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
