"""Embeddings kept on disk: one row per (SHA-256 of the file's bytes, fingerprint of what made the numbers).

SQLite in write-ahead mode: a killed job loses at most the batch it was writing, and several processes may share the file.
Every row carries a checksum; a damaged row counts as missing and is made again.
"""

from __future__ import annotations

import contextlib
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

FORMAT = 1
"""Part of the file's name: another format is another file."""

BATCH_ROWS = 64
"""Rows written in one transaction: what a killed job loses at most."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (id INTEGER PRIMARY KEY, fingerprint TEXT UNIQUE NOT NULL, note TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS rows (
    key INTEGER NOT NULL, sha256 BLOB NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,
    likeness BLOB NOT NULL, features BLOB NOT NULL, checksum BLOB NOT NULL, PRIMARY KEY (key, sha256)
) WITHOUT ROWID;
"""


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
        try:
            self._connection = _connect(self.path)
            self._key = self._key_of()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
                raise _translate(self.path, error) from error
            # Not a database any more. It only held what can be made again; keep it aside and begin anew.
            _set_aside(self.path)
            self._connection = _connect(self.path)
            self._key = self._key_of()

    def _key_of(self) -> int:
        with _transaction(self._connection):
            self._connection.execute(
                "INSERT OR IGNORE INTO keys (fingerprint, note) VALUES (?, ?)", (self.fingerprint, self._note)
            )
        found = self._connection.execute("SELECT id FROM keys WHERE fingerprint = ?", (self.fingerprint,)).fetchone()
        return int(found[0])

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
        except (sqlite3.DatabaseError, ValueError, TypeError, struct.error):
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
            self._write(rows)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and "malformed" not in str(error):
                needed = sum(row.features.nbytes for row in rows)
                self.warning = f"embeddings are not kept from here on: {_translate(self.path, error, needed)}"
                return
            with self._lock:
                self._connection.close()
                _set_aside(self.path)
                self._open()
            self._write(rows)

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
        with self._lock:
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
                "GROUP BY id ORDER BY id"
            ).fetchall()
    except sqlite3.DatabaseError as error:
        raise _translate(path, error) from error
    return [{"fingerprint": f[0], "note": f[1], "rows": int(f[2]), "bytes": int(f[3])} for f in found]


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -4096")
        with _transaction(connection):
            for statement in _SCHEMA.split(";")[:-1]:
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


def _set_aside(path: Path) -> None:
    """Move a damaged database away under a name that tells when; the newest such file replaces older ones."""
    for old in path.parent.glob(f"{path.name}.damaged-*"):
        old.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        path.rename(path.with_name(f"{path.name}.damaged-{int(time.time())}"))
    for suffix in ("-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _translate(path: Path, error: sqlite3.Error, needed: int | None = None) -> StorageError:
    """SQLite's error in our words."""
    import errno

    text = str(error)
    if "full" in text:
        return storage_error(path, OSError(errno.ENOSPC, "no space left"), needed)
    if "readonly" in text or "unable to open" in text:
        return storage_error(path, OSError(errno.EACCES, os.strerror(errno.EACCES)))
    return storage_error(path, OSError(errno.EIO, text), needed)
