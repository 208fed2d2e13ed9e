"""Embeddings kept on disk: one row per (SHA-256 of the file's bytes, fingerprint of what made the numbers).

SQLite in write-ahead mode: a killed job loses at most the batch it was writing, and several processes may share the file.
Every row carries a checksum; a damaged row counts as missing and is made again. Where the file's own order is damaged, the
sound rows move to a new file.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import os
import sqlite3
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from topwork.errors import StorageError
from topwork.runtime import cache_folder, make_folder, storage_error

FORMAT = 2
"""Part of the file's name: another format is another file."""

BATCH_ROWS = 64
"""Rows written in one transaction: what a killed job loses at most."""

WAIT = 60.0
"""Seconds to wait for other processes that use the file."""

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS keys (id INTEGER NOT NULL UNIQUE, fingerprint TEXT NOT NULL, note TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS rows (key INTEGER NOT NULL, sha256 BLOB NOT NULL, width INTEGER NOT NULL, "
    "height INTEGER NOT NULL, likeness BLOB NOT NULL, features BLOB NOT NULL, checksum BLOB NOT NULL, "
    "PRIMARY KEY (key, sha256)) WITHOUT ROWID",
)

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}
_DISK = {*_BUSY, *(getattr(sqlite3, f"SQLITE_{name}") for name in ("FULL", "IOERR", "READONLY", "CANTOPEN", "PERM", "NOMEM"))}
"""Faults of the disk or of the moment; any other says that the file is damaged."""


@dataclass(frozen=True)
class Row:
    """What is kept of one picture."""

    sha256: str
    width: int
    height: int
    likeness: bytes
    """Perceptual hashes, 16 bytes: the picture's and its mirror image's."""
    features: NDArray[np.float32]
    """(D,)."""

    def checksum(self, fingerprint: str) -> bytes:
        """16 bytes over all that the row says and the fingerprint it stands under."""
        digest = hashlib.blake2b(fingerprint.encode(), digest_size=16)
        digest.update(bytes.fromhex(self.sha256))
        digest.update(struct.pack("<QQ", self.width, self.height))
        digest.update(self.likeness)
        digest.update(np.ascontiguousarray(self.features).data)
        return digest.digest()


class Store:
    """The rows under one fingerprint. Use as a context manager; `get` from any thread, `put` from one."""

    def __init__(self, fingerprint: str, note: str = "", path: Path | None = None) -> None:
        """`note` says in words what the fingerprint stands for. Raises StorageError where the folder cannot be written."""
        self.fingerprint = fingerprint
        self.path = path or store_path()
        self._note = note
        self._lock = threading.Lock()
        self._waiting: list[Row] = []
        self.warning: str | None = None
        """Why nothing is kept any more (a full or failing disk), or None."""
        make_folder(self.path.parent)
        self._open()

    def _open(self) -> None:
        """Connect; a file that is damaged gives its sound rows to a new one first. Raises StorageError."""
        try:
            for last in (False, True):
                try:
                    self._connection = _connect(self.path)
                    self._file = _inode(self.path)
                    self._key = self._key_of()
                    return
                except sqlite3.DatabaseError as error:
                    if last or not _damaged(self.path, error):
                        raise
                    _replace_damaged(self.path, _inode(self.path))
        except sqlite3.DatabaseError as error:
            raise _translate(self.path, error) from error

    def _key_of(self) -> int:
        """The number of the fingerprint. It needs no look-up, so that no damage elsewhere hides the rows."""
        key = int.from_bytes(hashlib.blake2b(self.fingerprint.encode(), digest_size=8).digest(), signed=True)
        with _transaction(self._connection):
            self._connection.execute("INSERT OR IGNORE INTO keys VALUES (?, ?, ?)", (key, self.fingerprint, self._note))
        return key

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, sha256: str) -> Row | None:
        """The row of the picture with this content, or None when it is not there or damaged."""
        try:
            with self._lock:
                found = self._connection.execute(
                    "SELECT width, height, likeness, features, checksum FROM rows WHERE key = ? AND sha256 = ?",
                    (self._key, bytes.fromhex(sha256)),
                ).fetchone()
            if found is None:
                return None
            row = Row(sha256, int(found[0]), int(found[1]), bytes(found[2]), np.frombuffer(found[3], np.float32))
            return row if row.checksum(self.fingerprint) == found[4] else None
        except (sqlite3.DatabaseError, ValueError, TypeError, struct.error, OverflowError):
            return None

    def put(self, row: Row) -> None:
        """Keep a row; written with the next full batch, by `flush`, or by `close`."""
        self._waiting.append(row)
        if len(self._waiting) >= BATCH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what waits, in one transaction. A disk that is full or fails is told once in `warning`; nothing is raised."""
        rows, self._waiting = self._waiting, []
        if not rows or self.warning is not None:
            return
        try:
            try:
                self._write(rows)
            except sqlite3.DatabaseError as error:
                if not _damaged(self.path, error):
                    raise
                with self._lock:
                    self._connection.close()
                    _replace_damaged(self.path, self._file)
                    self._open()
                self._write(rows)
        except (sqlite3.Error, StorageError) as error:
            needed = sum(row.features.nbytes for row in rows)
            told = error if isinstance(error, StorageError) else _translate(self.path, error, needed)
            self.warning = f"embeddings are not kept from here on: {told}"

    def _write(self, rows: Iterable[Row]) -> None:
        values = [
            (
                self._key,
                bytes.fromhex(row.sha256),
                row.width,
                row.height,
                row.likeness,
                np.ascontiguousarray(row.features).tobytes(),
                row.checksum(self.fingerprint),
            )
            for row in rows
        ]
        with self._lock, _transaction(self._connection):
            self._connection.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    def __len__(self) -> int:
        with self._lock:
            return int(self._connection.execute("SELECT count(*) FROM rows WHERE key = ?", (self._key,)).fetchone()[0])

    def close(self) -> None:
        """Write what waits and close the file."""
        self.flush()
        with self._lock, contextlib.suppress(sqlite3.Error):
            self._connection.close()


def store_path() -> Path:
    """The store's file in the cache folder."""
    return cache_folder() / f"embeddings-{FORMAT}.sqlite"


def summary(path: Path | None = None) -> list[dict[str, object]]:
    """What the store holds, one entry per fingerprint: note, rows, bytes."""
    path = path or store_path()
    if not path.exists():
        return []
    try:
        with contextlib.closing(_connect(path)) as connection:
            found = connection.execute(
                "SELECT fingerprint, note, count(rows.key), total(length(features)) FROM keys LEFT JOIN rows ON rows.key = id "
                "GROUP BY keys.rowid ORDER BY keys.rowid"
            ).fetchall()
    except sqlite3.DatabaseError as error:
        raise _translate(path, error) from error
    return [{"fingerprint": f[0], "note": f[1], "rows": int(f[2]), "bytes": int(f[3])} for f in found]


def _connect(path: Path) -> sqlite3.Connection:
    """A connection to the file, made if it was not there. What SQLite does not wait for by itself is tried again."""
    until = time.monotonic() + WAIT
    while True:
        try:
            return _connect_once(path)
        except sqlite3.DatabaseError as error:
            if _code(error) not in _BUSY or time.monotonic() > until:
                raise
        time.sleep(0.02)


def _connect_once(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=WAIT, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -4096")
        with _transaction(connection):
            for statement in _SCHEMA:
                connection.execute(statement)
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _damaged(path: Path, error: sqlite3.Error) -> bool:
    """Whether the file itself is at fault; a byte of its header can also make it look as if it were read-only."""
    if _code(error) == sqlite3.SQLITE_READONLY:
        return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    return _code(error) not in _DISK


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def _replace_damaged(path: Path, inode: int) -> None:
    """Move the damaged file aside and begin a new one with its sound rows; another process may have done so already.

    The newest damaged file is kept, under a name that tells when.
    """
    with contextlib.suppress(OSError, sqlite3.Error):
        if _inode(path) != inode:
            return
        aside = path.with_name(f"{path.name}.damaged-{int(time.time())}")
        for old in path.parent.glob(f"{glob.escape(path.name)}.damaged-*"):
            old.unlink(missing_ok=True)
        path.rename(aside)
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
        with contextlib.closing(_connect(path)) as new, contextlib.closing(sqlite3.connect(aside)) as old_one:
            _copy_sound(old_one, new)


def _copy_sound(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Copy what can be read; damaged rows among it are found by their checksums when they are asked for."""
    with contextlib.suppress(sqlite3.Error):
        for key in old.execute("SELECT id, fingerprint, note FROM keys ORDER BY rowid").fetchall():
            new.execute("INSERT OR IGNORE INTO keys VALUES (?, ?, ?)", key)
    # From both ends up to the damage, so that one bad page costs no more than its own rows.
    for order in ("ASC", "DESC"):
        names: list[tuple[object, object]] = []
        complete = False
        with contextlib.suppress(sqlite3.Error):
            names.extend(old.execute(f"SELECT key, sha256 FROM rows ORDER BY key {order}, sha256 {order}"))  # noqa: S608
            complete = True
        for start in range(0, len(names), BATCH_ROWS):
            with _transaction(new):
                for name in names[start : start + BATCH_ROWS]:
                    with contextlib.suppress(sqlite3.DatabaseError):
                        row = old.execute("SELECT * FROM rows WHERE key = ? AND sha256 = ?", name).fetchone()
                        if row is not None:
                            new.execute("INSERT OR IGNORE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        if complete:
            return


def _translate(path: Path, error: sqlite3.Error, needed: int | None = None) -> StorageError:
    """SQLite's error in our words."""
    import errno

    text, code = str(error), _code(error)
    if code == sqlite3.SQLITE_FULL:
        return storage_error(path, OSError(errno.ENOSPC, "no space left"), needed)
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return storage_error(path, OSError(errno.EACCES, os.strerror(errno.EACCES)))
    return storage_error(path, OSError(errno.EIO, text), needed)
