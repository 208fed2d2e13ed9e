"""Reading zip files that nobody vouches for: their table at the end, then each entry as a stream.

Read strictly where readers differ (APPNOTE.TXT 6.3.10): the table says everything once more that the entries say, and both
must agree; entries must not overlap (a small file with many entries over the same bytes is a bomb, Fifield 2019); nothing may
stand before the first entry or after the end.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import BinaryIO

from topwork.datasets.entries import BLOCK, LONGEST_NAME, Budget, Entry, Hostile

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_ENCRYPTED, _DESCRIPTOR, _STRONG, _UTF8, _MASKED = 1, 8, 64, 2048, 8192
_METHODS = {9: "deflate64", 12: "bzip2", 14: "lzma", 93: "zstd", 95: "xz"}


@dataclass(frozen=True)
class _Listed:
    """An entry as the table has it."""

    raw: bytes
    flags: int
    method: int
    crc: int
    packed: int
    """Bytes in the archive."""
    size: int
    offset: int
    mode: int
    end: int = 0
    """Where the next entry begins, or the table."""


def zip_entries(file: BinaryIO, size: int, budget: Budget) -> Iterator[Entry]:
    """The entries of a zip file of `size` bytes, in the order in which they lie in it. Raises Hostile."""
    count, start, length = _find_table(file, size)
    budget.entry(count)
    listed = sorted(_table(file, count, start, length), key=lambda one: one.offset)
    budget.check(sum(one.size for one in listed))
    if (listed[0].offset if listed else start) != 0:
        raise Hostile("something stands before its first entry")
    ends = [*[one.offset for one in listed[1:]], start]
    for one, end in zip(listed, ends, strict=True):
        if one.offset + _LOCAL.size + len(one.raw) + one.packed > end:
            raise Hostile(f"{_name(one)!r}: overlaps with another entry")
        one = replace(one, end=end)
        yield Entry(_name(one), _kind(one), one.size, partial(_blocks, file, one, budget))


def _read(file: BinaryIO, place: int, layout: struct.Struct, mark: bytes) -> tuple[int, ...]:
    """The numbers of a record after its mark."""
    if place >= 1 << 63:
        raise Hostile("it is damaged: a place beyond any file")
    file.seek(place)
    data = file.read(layout.size)
    if len(data) < layout.size or data[:4] != mark:
        raise Hostile("it is damaged, or ends early")
    return layout.unpack(data)[1:]


def _find_table(file: BinaryIO, size: int) -> tuple[int, int, int]:
    """(entries, where the table of entries begins, its length)."""
    reach = min(size, _END.size + _FULL16)
    file.seek(size - reach)
    tail = file.read(reach)
    places, at = [], tail.find(b"PK\5\6")
    while at >= 0:
        if at + _END.size <= reach and at + _END.size + int.from_bytes(tail[at + 20 : at + 22], "little") == reach:
            places.append(size - reach + at)
        at = tail.find(b"PK\5\6", at + 1)
    if len(places) != 1:
        raise Hostile("its end can be read in two ways" if places else "it ends early, or something stands after its end")
    end = places[0]
    numbers = _read(file, end, _END, b"PK\5\6")[:6]
    if end >= _LOCATOR.size:
        file.seek(end - _LOCATOR.size)
        if file.read(4) == b"PK\6\7":
            end, numbers = _find_table64(file, end, numbers)
    disk, first_disk, here, count, length, start = numbers
    if (disk, first_disk) != (0, 0) or here != count:
        raise Hostile("it is one of several parts")
    if start + length != end or count * _CENTRAL.size > length:
        raise Hostile("its table of entries is not where it says")
    return count, start, length


def _find_table64(file: BinaryIO, end: int, numbers: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """As the 64-bit end record has it; where the 32-bit one says something too, it must say the same."""
    disk, place, disks = _read(file, end - _LOCATOR.size, _LOCATOR, b"PK\6\7")
    length, _, _, *long = _read(file, place, _END64, b"PK\6\6")
    if disk != 0 or disks > 1 or place + 12 + length != end - _LOCATOR.size:
        raise Hostile("its 64-bit end record is not where it says")
    for short, value, full in zip(numbers, long, (_FULL16,) * 4 + (_FULL32,) * 2, strict=True):
        if short not in (full, value):
            raise Hostile("its 32-bit and 64-bit end records differ")
    return place, tuple(long)


def _table(file: BinaryIO, count: int, start: int, length: int) -> Iterator[_Listed]:
    """The table of entries, read piece by piece."""
    place, end = start, start + length
    for _ in range(count):
        numbers = _read(file, place, _CENTRAL, b"PK\1\2")
        _, _, flags, method, _, _, crc, packed, size, names, extras, comments, disk, _, outside, offset = numbers
        if names > LONGEST_NAME:
            raise Hostile("an entry's name is too long")
        raw, extra = file.read(names), file.read(extras)
        place += _CENTRAL.size + names + extras + comments
        if place > end:
            raise Hostile("its table of entries is longer than it says")
        size, packed, offset = _widened(extra, size, packed, offset)
        if disk not in (0, _FULL16):
            raise Hostile("it is one of several parts")
        yield _Listed(raw, flags, method, crc, packed, size, offset, outside >> 16)
    if place != end:
        raise Hostile("its table of entries is shorter than it says")


def _widened(extra: bytes, *numbers: int) -> tuple[int, ...]:
    """The numbers, those that are too long for 32 bits read from the extra field."""
    if _FULL32 not in numbers:
        return numbers
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        body = extra[at + 4 : at + 4 + length]
        if kind == 1 and len(body) == length:
            wanted = [number == _FULL32 for number in numbers]
            if length < 8 * sum(wanted):
                break
            long = iter(struct.unpack_from(f"<{sum(wanted)}Q", body))
            return tuple(next(long) if wide else number for number, wide in zip(numbers, wanted, strict=True))
        at += 4 + length
    raise Hostile("a 64-bit size is missing")


def _name(one: _Listed) -> str:
    try:
        return one.raw.decode("utf-8" if one.flags & _UTF8 else "cp437")
    except UnicodeDecodeError:
        raise Hostile(f"{one.raw[:100]!r}: its name is no text") from None


def _kind(one: _Listed) -> str:
    form = stat.S_IFMT(one.mode)
    if one.flags & (_ENCRYPTED | _STRONG | _MASKED):
        return "encrypted"
    if form not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "a link" if form == stat.S_IFLNK else "a device or pipe"
    if one.raw.endswith(b"/"):
        return "folder" if not one.size else "a folder with content"
    if form == stat.S_IFDIR:
        return "a folder with a file's name"
    return "file"


def _blocks(file: BinaryIO, one: _Listed, budget: Budget) -> Iterator[bytes]:
    """The content of an entry, which must be what the table states."""
    _, flags, method, _, _, crc, packed, size, names, extras = _read(file, one.offset, _LOCAL, b"PK\3\4")
    raw, extra = file.read(names), file.read(extras)
    if not flags & _DESCRIPTOR:  # else the numbers follow the content
        size, packed = _widened(extra, size, packed)
        if (crc, packed, size) != (one.crc, one.packed, one.size):
            raise Hostile("its size is not what the table says")
    if (raw, method, flags & _ENCRYPTED) != (one.raw, one.method, one.flags & _ENCRYPTED):
        raise Hostile("it is not what the table says")
    if one.offset + _LOCAL.size + names + extras + one.packed > one.end:
        raise Hostile("it overlaps with another entry")
    if method not in (0, 8):
        raise Hostile(f"packed by {_METHODS.get(method, f'method {method}')}, which is not read")
    checksum = length = 0
    for block in _inflated(file, one.packed) if method else _stored(file, one.packed):
        checksum = zlib.crc32(block, checksum)
        length += len(block)
        budget.spend(len(block))
        if length > one.size:
            raise Hostile("more comes out of it than it says")
        yield block
    if length != one.size or checksum != one.crc:
        raise Hostile("it is damaged: its checksum or size is wrong")


def _stored(file: BinaryIO, left: int) -> Iterator[bytes]:
    while left:
        data = file.read(min(left, BLOCK))
        if not data:
            raise Hostile("it ends early")
        left -= len(data)
        yield data


def _inflated(file: BinaryIO, left: int) -> Iterator[bytes]:
    unpacking = zlib.decompressobj(-zlib.MAX_WBITS)
    while not unpacking.eof:
        data = unpacking.unconsumed_tail
        if not data and left:
            data = file.read(min(left, BLOCK))
            left -= len(data)
        try:
            block = unpacking.decompress(data, BLOCK)
        except zlib.error as error:
            raise Hostile(f"it is damaged: {error}") from error
        if block:
            yield block
        elif not data:
            raise Hostile("it ends early")
    if left or unpacking.unused_data or unpacking.unconsumed_tail:
        raise Hostile("something stands after its content")
