"""A file that is on its way: its bytes beside its place, and which version of it they are of.

NAME.part holds the bytes, NAME.part.json the version (address, ETag, Last-Modified, size): after a kill -9 the next call knows
what may be appended to what.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from topwork.runtime import WRITE_SIZE, publish_file, storage_error, sync_folder


@dataclass(frozen=True)
class Version:
    """Which bytes a server sends."""

    address: str = ""
    etag: str = ""
    modified: str = ""
    size: int | None = None

    @property
    def validator(self) -> str:
        """What If-Range takes: a strong ETag, else the date."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


def beside(file: Path, ending: str) -> Path:
    """The path of a file with `ending` after its whole name."""
    return file.with_name(file.name + ending)


class Part:
    """The bytes that have come so far, on disk, and which version of the file they are of.

    size: how many they are; resumed: of these, what an earlier call brought; joined: whether they came by several requests.
    """

    def __init__(self, file: Path, handle: int) -> None:
        self.path = beside(file, ".part")
        self.memory = beside(file, ".part.json")
        self.handle = handle
        self.digest = hashlib.sha256()
        self.size = 0
        self.version = self._remembered()
        with self.path.open("rb") as earlier:
            while data := earlier.read(WRITE_SIZE):
                self.digest.update(data)
                self.size += len(data)
        self.resumed = self.size
        self.joined = self.size > 0

    def _remembered(self) -> Version:
        try:
            known = Version(**json.loads(self.memory.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, RecursionError):
            return Version()
        texts = (known.address, known.etag, known.modified)
        return known if all(isinstance(text, str) for text in texts) and isinstance(known.size, int | None) else Version()

    def restart(self) -> None:
        """Forget all that has come."""
        try:
            os.ftruncate(self.handle, 0)
            os.lseek(self.handle, 0, os.SEEK_SET)
        except OSError as error:
            raise storage_error(self.path, error) from error
        self.digest, self.version = hashlib.sha256(), Version()
        self.size, self.resumed, self.joined = 0, 0, False

    def begin(self, version: Version) -> None:
        """From the first byte on, these are the bytes of `version`."""
        self.restart()
        publish_file(self.memory, json.dumps(asdict(version)).encode())
        self.version = version

    def append(self, data: bytes) -> None:
        """Write what has come."""
        view = memoryview(data)
        try:
            while view:
                written = os.write(self.handle, view)
                self.digest.update(view[:written])
                self.size += written
                view = view[written:]
        except OSError as error:
            missing = None if self.version.size is None else self.version.size - self.size
            raise storage_error(self.path, error, missing) from error

    def publish(self, file: Path) -> None:
        """The bytes take their name."""
        try:
            os.fsync(self.handle)
            os.close(self.handle)
            self.handle = -1
            os.replace(self.path, file)
            self.memory.unlink(missing_ok=True)
            sync_folder(file.parent)
        except OSError as error:
            raise storage_error(file, error) from error


@contextlib.contextmanager
def opened_part(file: Path) -> Iterator[Part]:
    """What has come of `file`; one process at a time may have it. Where nothing came, nothing is left. Raises StorageError."""
    path = beside(file, ".part")
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
        handle = os.open(path, flags, 0o666)
    except OSError as error:
        raise storage_error(path, error) from error
    part = None
    try:
        part = Part(file, handle)
        yield part
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        handle = handle if part is None else part.handle
        if handle >= 0:
            os.close(handle)
            if part is not None and not part.size:  # nothing came: leave nothing
                for left in (part.path, part.memory):
                    with contextlib.suppress(OSError):
                        left.unlink()
