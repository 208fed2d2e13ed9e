"""Reading tar and tar.gz files that nobody vouches for, as one stream (POSIX.1-2001 pax, and the long names of GNU tar)."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO

from topwork.datasets.entries import BLOCK, LONGEST_NAME, Budget, Entry, Hostile

HEADER = 512
_LONGEST_EXTRA = 1 << 16
"""Bytes of a header that describes the next one."""

_OTHER = {"1": "a hard link", "2": "a link", "3": "a device", "4": "a device", "6": "a pipe", "S": "a file with holes"}

Read = Callable[[int], bytes]
"""As many bytes as asked for, fewer only at the end."""


def is_tar(head: bytes) -> bool:
    """Whether the first 512 bytes are a tar header."""
    return len(head) >= HEADER and any(head[:HEADER]) and _checksum_fits(head[:HEADER])


def gzip_reader(file: BinaryIO, budget: Budget) -> Read:
    """Reads what is packed in a gzip file, in flat memory. Raises Hostile."""
    return _Gunzip(file, budget).read


class _Gunzip:
    """A gzip stream of one or more members."""

    def __init__(self, file: BinaryIO, budget: Budget) -> None:
        self.file, self.budget = file, budget
        self.unpacking = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self.packed = b""
        self.ready = bytearray()
        self.begun = self.ended = False

    def read(self, count: int) -> bytes:
        """`count` bytes, fewer at the end."""
        while len(self.ready) < count and not self.ended:
            self._more()
        found = bytes(self.ready[:count])
        del self.ready[:count]
        return found

    def _more(self) -> None:
        if self.unpacking.eof:
            self._next_member()
            return
        data = self.unpacking.unconsumed_tail or self.packed or self.file.read(BLOCK)
        self.packed = b""
        try:
            block = self.unpacking.decompress(data, BLOCK)
        except zlib.error as error:
            raise Hostile(f"it is damaged: {error}") from error
        if not data and not block and not self.unpacking.eof:
            raise Hostile("it ends early")
        self.budget.spend(len(block))
        self.ready += block

    def _next_member(self) -> None:
        rest = self.unpacking.unused_data or self.file.read(BLOCK)
        while rest and not rest.strip(b"\0"):
            rest = self.file.read(BLOCK)
        if not rest:
            self.ended = True
            return
        if not rest.startswith(b"\x1f"):
            raise Hostile("something stands after its end")
        self.budget.entry()
        self.unpacking = zlib.decompressobj(zlib.MAX_WBITS | 16)
        self.packed = rest


def plain_reader(file: BinaryIO, budget: Budget) -> Read:
    """Reads a tar that is not packed."""

    def read(count: int) -> bytes:
        data = file.read(count)
        budget.spend(len(data))
        return data

    return read


def tar_entries(read: Read, budget: Budget) -> Iterator[Entry]:
    """The entries of a tar stream, in order; the content of one must be read before the next is asked for. Raises Hostile."""
    known: dict[str, bytes] = {}
    while True:
        header = read(HEADER)
        if len(header) < HEADER:
            raise Hostile("it ends early")
        if not any(header):
            break
        if not _checksum_fits(header):
            raise Hostile("it is damaged, or no tar")
        budget.entry()
        kind, size = chr(header[156]), _number(header[124:136])
        if kind in "LKxgX":
            _describe(kind, _extra(read, size), known)
            continue
        raw = known.get("path", _own_name(header))
        if "size" in known:
            size = _decimal(known["size"])
        known = {}
        body = _Body(read, size)
        yield Entry(_text(raw), _kind(kind, raw, size), size, body.blocks)
        body.skip()
    while read(BLOCK):  # so that a checksum at the very end is checked
        pass


class _Body:
    """The content of the present entry."""

    def __init__(self, read: Read, size: int) -> None:
        self.read, self.left, self.padding = read, size, -size % HEADER

    def blocks(self) -> Iterator[bytes]:
        """What has not been read of it yet."""
        while self.left:
            data = self.read(min(self.left, BLOCK))
            if not data:
                raise Hostile("it ends early")
            self.left -= len(data)
            yield data

    def skip(self) -> None:
        """Go to the next header."""
        for _ in self.blocks():
            pass
        if len(self.read(self.padding)) < self.padding:
            raise Hostile("it ends early")


def _checksum_fits(header: bytes) -> bool:
    try:
        stated = _number(header[148:156])
    except Hostile:
        return False
    data = header[:148] + b" " * 8 + header[156:]
    signed = sum(byte - 256 if byte > 127 else byte for byte in data)  # as some old programs count
    return stated in (sum(data), signed)


def _number(field: bytes) -> int:
    """An octal number, or the binary one of GNU tar."""
    if field[0] & 0x80:
        if field[0] != 0x80:
            raise Hostile("a size below zero, or a huge one")
        return int.from_bytes(field[1:], "big")
    text = field.strip(b" \0")
    if not re.fullmatch(rb"[0-7]*", text):
        raise Hostile("it is damaged: a number is none")
    return int(text or b"0", 8)


def _decimal(field: bytes) -> int:
    if not re.fullmatch(rb"[0-9]{1,19}", field):
        raise Hostile("it is damaged: a number is none")
    return int(field)


def _own_name(header: bytes) -> bytes:
    """The name in a header itself, with its prefix where the format has one."""
    name, prefix = header[:100].split(b"\0")[0], header[345:500].split(b"\0")[0]
    return prefix + b"/" + name if header[257:263] == b"ustar\0" and prefix else name


def _extra(read: Read, size: int) -> bytes:
    if size > _LONGEST_EXTRA:
        raise Hostile("a name is too long")
    data = read(size + -size % HEADER)
    if len(data) < size:
        raise Hostile("it ends early")
    return data[:size]


def _describe(kind: str, data: bytes, known: dict[str, bytes]) -> None:
    """Add to `known` what a header says of the next entry."""
    if kind == "L":
        known["path"] = data.rstrip(b"\0")
    elif kind in "xgX":
        found = _pax(data)
        if any(name.startswith("GNU.sparse") for name in found):
            raise Hostile("a file with holes, which is not read")
        if kind == "g" and ("path" in found or "size" in found):
            raise Hostile("one name or size for all entries")
        if kind != "g":
            known.update({name: found[name] for name in ("path", "size") if name in found})
    if len(known.get("path", b"")) > LONGEST_NAME:
        raise Hostile("an entry's name is too long")


def _pax(data: bytes) -> dict[str, bytes]:
    """The records of a pax header: "LENGTH NAME=VALUE", each with a line end."""
    found, at = {}, 0
    while at < len(data):
        match = re.compile(rb"([0-9]{1,9}) ([^=]+)=").match(data, at)
        end = at + int(match[1]) if match else 0
        if match is None or end <= match.end() or end > len(data) or data[end - 1 : end] != b"\n":
            raise Hostile("it is damaged: a pax header is none")
        found[match[2].decode("utf-8", "replace")] = data[match.end() : end - 1]
        at = end
    return found


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Hostile(f"{raw[:100]!r}: its name is no text") from None


def _kind(kind: str, raw: bytes, size: int) -> str:
    if kind in ("0", "\0", "7"):
        return "file" if not raw.endswith(b"/") else "folder" if not size else "a folder with content"
    if kind == "5":
        return "folder" if not size else "a folder with content"
    return _OTHER.get(kind, f"of the unknown kind {kind!r}")
