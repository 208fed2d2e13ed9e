"""The ground: cores, folders, and writing files so that a reader sees the old or the new, never half.

What only one operating system has (fsync of folders, exchanging two folders) goes through here, with a fallback.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import glob
import hashlib
import os
import platform
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import BinaryIO

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


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def storage_error(path: Path, error: OSError, needed: int | None = None) -> StorageError:
    """What went wrong with a disk, in words: full (needed and free bytes), read-only, or failing."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        room = free_bytes(path)
        free = "" if room is None else f", {in_words(room)} are free"
        wants = f"{in_words(needed)} are needed{free}" if needed else f"no space left{free}"
        return StorageError(f"{path}: the disk is full: {wants}. Nothing that was there is lost. Make room and run again.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(f"{path}: expected a place that can be written, found {error.strerror}. Choose another place.")
    return StorageError(f"{path}: the disk reports {error.strerror or error}. Nothing that was there is lost.")


def free_bytes(path: Path) -> int | None:
    """Bytes free on the disk that holds `path`, or would hold it; None where the system does not tell."""
    with contextlib.suppress(OSError, StopIteration):
        return shutil.disk_usage(next(p for p in [path, *path.absolute().parents] if p.exists())).free
    return None


def in_words(size: int) -> str:
    """A number of bytes as people read it: 512 bytes, 19.3 MB."""
    if size < 1000:
        return f"{size} bytes"
    return f"{size / 1e3:.1f} kB" if size < 1e6 else f"{size / 1e6:.1f} MB"


def write_file(path: Path, data: bytes | memoryview) -> None:
    """Write `data` to a new file and make sure that it is on the disk. Raises OSError, which the publishers tell."""
    with _written(path) as handle:
        _write_all(handle, memoryview(data).cast("B"))


def copy_file(source: Path, path: Path) -> str:
    """The SHA-256 of the bytes of `source`, copied to a new file and on the disk. Raises as `write_file`."""
    digest = hashlib.sha256()
    with _written(path) as handle:
        for data in _read(source):
            digest.update(data)
            _write_all(handle, memoryview(data))
    return digest.hexdigest()


def _read(source: Path) -> Iterator[bytes]:
    try:
        with source.open("rb") as file:
            while data := file.read(WRITE_SIZE):
                yield data
    except OSError as error:
        raise StorageError(f"{source}: cannot be read: {error.strerror or error}. Nothing was written.") from error


@contextlib.contextmanager
def _written(path: Path) -> Iterator[int]:
    """A handle to write a new file with; what was written is on the disk at the end."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o666)
    try:
        yield handle
        os.fsync(handle)
    finally:
        os.close(handle)


def _write_all(handle: int, view: memoryview) -> None:
    done = 0
    while done < len(view):
        done += os.write(handle, view[done : done + WRITE_SIZE])


def publish_file(path: Path, data: bytes | memoryview) -> None:
    """Put `data` at `path` in one step: a reader sees the old file or the new one. Raises StorageError."""
    try:
        with _temporary(path, folder=False) as temporary:
            write_file(temporary, data)
            os.replace(temporary, path)
            sync_folder(path.parent)
    except OSError as error:
        raise storage_error(path, error, len(data)) from error


@contextlib.contextmanager
def publishing(path: Path) -> Iterator[BinaryIO]:
    """A file to write piece by piece; at the end it takes the place of `path` in one step. Raises StorageError."""
    try:
        with _temporary(path, folder=False) as temporary:
            with _written(temporary) as handle, open(handle, "wb", closefd=False) as file:
                yield file
                file.flush()
            os.replace(temporary, path)
            sync_folder(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error


@contextlib.contextmanager
def publish_folder(path: Path, needed: int | None = None) -> Iterator[Path]:
    """A temporary folder to fill; at the end it takes the place of `path` in one step. Raises StorageError.

    needed: bytes that will be written, so that a full disk is told before. After an error nothing is left of it and `path`
    is as it was. What an earlier, killed writer left is removed; readers call `bring_back` where they find nothing.
    """
    path = Path(os.path.realpath(path))  # a link goes on pointing where it did
    try:
        bring_back(path)
        with _temporary(path, folder=True) as temporary:
            room = free_bytes(path.parent)
            if needed is not None and room is not None and room < needed:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            yield temporary
            sync_folder(temporary)
            undo = _take_place(temporary, path)
            try:
                sync_folder(path.parent)
            except OSError:
                undo()
                raise
            _remove(_aside(path))
    except OSError as error:
        raise storage_error(path, error, needed) from error


@contextlib.contextmanager
def _temporary(path: Path, folder: bool) -> Iterator[Path]:
    """A new, hidden, locked file or folder beside `path`, removed at the end; those of killed writers are removed first.

    The lock tells the living from the dead, also across containers, where process numbers do not.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with _locked(left, wait=False) as mine:
            if mine:
                _remove(left)
    for _ in range(8):
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        if folder:
            temporary.mkdir()
        else:
            temporary.touch(exist_ok=False)
        with _locked(temporary, wait=True):
            if not temporary.exists():  # someone who was cleaning up took it for abandoned before it was locked
                continue
            try:
                yield temporary
                return
            finally:
                _remove(temporary)
    raise OSError(errno.EAGAIN, f"temporary files vanish from {path.parent}")


@contextlib.contextmanager
def _locked(path: Path, wait: bool) -> Iterator[bool]:
    """Hold the lock of a file or folder; False when another process holds it, or the system has no such locks."""
    handle = None
    try:
        import fcntl

        handle = os.open(path, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = True
    except (ImportError, OSError):
        held = False
    try:
        yield held
    finally:
        if handle is not None:
            os.close(handle)


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """One process at a time is inside; the file `path` stands for the lock and is gone afterwards. Raises StorageError.

    Others wait. A killed holder's lock is free at once. Where a disk knows no locks, all are let in.
    """
    while (handle := _held(path)) is None:
        time.sleep(0.05)
    try:
        yield
    finally:
        if os.name != "nt":  # removed while it is held, so that nobody locks a file that is already gone
            _remove(path)
        os.close(handle)
        if os.name == "nt":  # an open file cannot be removed there, whoever holds it open
            _remove(path)


def _held(path: Path) -> int | None:
    """A handle that holds the lock of the file `path`; None while another one does."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    except OSError as error:
        if os.name == "nt" and error.errno == errno.EACCES:  # it is just being removed
            return None
        raise storage_error(path, error) from error
    try:
        if _lock_now(handle) and os.path.samestat(os.fstat(handle), os.stat(path)):
            return handle
    except FileNotFoundError:  # its holder has removed it
        pass
    os.close(handle)
    return None


def _lock_now(handle: int) -> bool:
    """Lock an open file; False when another one holds it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _take_place(new: Path, path: Path) -> Callable[[], object]:
    """Rename `new` to `path`; a folder that stands there changes places with it. Returns what undoes it."""
    for _ in range(100):  # other writers may come first
        if _exchange(new, path):
            return partial(_exchange, new, path)
        try:
            if not path.exists():
                os.rename(new, path)
                return partial(os.rename, path, new)
            return _step_aside(new, path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT) or not new.exists():
                raise
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


def _step_aside(new: Path, path: Path) -> Callable[[], object]:
    """As `_take_place`, without the system call: between the two steps a reader finds nothing and calls `bring_back`."""
    aside = _aside(path)
    _remove(aside)
    os.rename(path, aside)
    try:
        os.rename(new, path)
    except OSError:
        bring_back(path)
        raise

    def undo() -> None:
        os.rename(path, new)
        os.rename(aside, path)

    return undo


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.replaced")


def bring_back(path: Path) -> bool:
    """Put the old folder back where a writer was killed between its two steps; True when there was one."""
    with contextlib.suppress(OSError):
        if not path.exists():
            os.rename(_aside(path), path)
            return True
    return False


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two folders in one step; False where the system cannot, or one is not there."""
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
    handle = None
    try:
        handle = os.open(folder, os.O_RDONLY)
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EACCES):  # some disks cannot; some folders cannot be read
            raise
    finally:
        if handle is not None:
            os.close(handle)


def versions(*packages: str) -> dict[str, str]:
    """The installed version of each named package that is installed."""
    from importlib import metadata

    found = {}
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
