"""The ground: cores, folders, memory, and writing files so that a reader sees the old or the new, never half.

What only one operating system has (fsync of folders, exchanging two folders) goes through here, with a fallback.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import platform
import secrets
import shutil
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from topwork.errors import StorageError

WRITE_SIZE = 1 << 20


def cores() -> int:
    """Processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def processor() -> str:
    """The processor's name, as the system tells it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cache_folder() -> Path:
    """Where topwork keeps what it can make again: TOPWORK_CACHE, else the system's cache folder."""
    named = os.environ.get("TOPWORK_CACHE")
    if named:
        return Path(named).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("topwork", appauthor=False))


def make_folder(folder: Path) -> Path:
    """`folder`, made if it was not there. Raises StorageError where that is not allowed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(folder, error) from error
    return folder


def peak_memory() -> int:
    """The most bytes this process held in memory at once; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def storage_error(path: Path, error: OSError, needed: int | None = None) -> StorageError:
    """What went wrong with a disk, in words: full (needed and free bytes), read-only, or failing."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = ""
        with contextlib.suppress(OSError):
            holder = next(p for p in [path, *path.parents] if p.exists())
            free = f", {shutil.disk_usage(holder).free / 1e6:.1f} MB are free"
        wants = f"{needed / 1e6:.1f} MB are needed{free}" if needed else f"no space left{free}"
        return StorageError(f"{path}: the disk is full: {wants}. Nothing that was there is lost. Make room and run again.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(f"{path}: expected a place that can be written, found {error.strerror}. Choose another place.")
    return StorageError(f"{path}: the disk reports {error.strerror or error}. Nothing that was there is lost.")


def write_file(path: Path, data: bytes | memoryview) -> None:
    """Write `data` to a new file and make sure that it is on the disk. Raises StorageError."""
    view = memoryview(data).cast("B")
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o666)
        try:
            done = 0
            while done < len(view):
                done += os.write(handle, view[done : done + WRITE_SIZE])
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise storage_error(path, error, len(view)) from error


def publish_file(path: Path, data: bytes | memoryview) -> None:
    """Put `data` at `path` in one step: a reader sees the old file or the new one. Raises StorageError."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        write_file(temporary, data)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise storage_error(path, error, len(data)) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def publish_folder(path: Path) -> Iterator[Path]:
    """A temporary folder to fill; at the end it takes the place of `path` in one step. Raises StorageError.

    After an error nothing is left of it and `path` is as it was. What an earlier, killed writer left is removed.
    """
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        owner = left.name.split(".")[-3]
        if not _alive(owner):
            shutil.rmtree(left, ignore_errors=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.mkdir()
        yield temporary
        sync_folder(temporary)
        _take_place(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _alive(pid: str) -> bool:
    if not pid.isdigit() or os.name == "nt":
        return pid.isdigit()
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _take_place(new: Path, path: Path) -> None:
    """Rename `new` to `path`; where a folder stands there already the two are exchanged, and `new` holds the old one."""
    if not path.exists():
        os.rename(new, path)
        return
    if not _exchange(new, path):
        # No system call for it: between these two steps a reader finds nothing and has to look again.
        aside = new.with_name(new.name + ".old")
        os.rename(path, aside)
        os.rename(new, path)
        os.rename(aside, new)


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two folders in one step; False where the system cannot."""
    names = os.fsencode(first), os.fsencode(second)
    with contextlib.suppress(AttributeError, OSError):
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform.startswith("linux"):
            at_cwd, exchange = -100, 2
            return bool(library.renameat2(at_cwd, names[0], at_cwd, names[1], exchange) == 0)
        if sys.platform == "darwin":
            swap = 2
            return bool(library.renamex_np(names[0], names[1], swap) == 0)
    return False


def sync_folder(folder: Path) -> None:
    """Make sure that the folder's entries are on the disk, where the system knows how."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def versions(*packages: str) -> dict[str, str]:
    """The installed version of each named package that is installed."""
    from importlib import metadata

    found = {}
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
