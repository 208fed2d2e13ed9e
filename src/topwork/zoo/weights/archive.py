"""The records of a zip archive as torch writes it: uncompressed, one after the other, the list at the end.

Anything else that a zip archive may be (compressed, encrypted, with something before, between or after) is refused: so a
record's size is what is there, and no two records share a byte.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from topwork.zoo.weights.stored import TENSORS_MOST, Bytes, Record, Refused, short

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s4B4HL2L5H2L")
_LOCAL = struct.Struct("<4s2B4HL2L2H")
_FULL = 0xFFFFFFFF
_ENCRYPTED = 0x2041
"""Flags of the archive's three ways to encrypt."""
_ENTRIES_MOST = TENSORS_MOST + 100
_LIST_LONGEST = 16 << 20


@dataclass(frozen=True)
class Entry:
    """What an archive's list tells of a record."""

    header: int
    """Place of the record's own header."""
    length: int
    packed: int
    method: int
    flags: int
    crc: int


def list_entries(data: Bytes) -> dict[str, Entry]:
    """The list of an archive's records by name. Raises Refused."""
    count, size, begin = _list_place(data)
    if count > _ENTRIES_MOST or size > _LIST_LONGEST:
        raise Refused(f"it declares {count} records, more than the {_ENTRIES_MOST} that any network needs")
    text = data.take(begin, size, "its list of records")
    place = 0
    found: dict[str, Entry] = {}
    for _ in range(count):
        name, entry, place = _entry(text, place)
        if name in found:
            raise Refused(f"two of its records have the name {short(name)}")
        found[name] = entry
    if place != size:
        raise Refused("its list of records is damaged")
    return found


def places(data: Bytes, entries: dict[str, Entry]) -> dict[str, Record]:
    """Where the bytes of each record are. Raises Refused for what is packed, and for records that share bytes."""
    records = {}
    end, begin = 0, _list_place(data)[2]
    for name, entry in sorted(entries.items(), key=lambda one: one[1].header):
        if entry.method or entry.packed != entry.length:
            raise Refused(f"its record {short(name)} is compressed, which torch never does: it could unpack without end")
        if entry.flags & _ENCRYPTED:
            raise Refused(f"its record {short(name)} is encrypted")
        if entry.header < end:
            raise Refused(f"its record {short(name)} overlaps another")
        offset = _data_place(data, entry.header, name)
        end = offset + entry.length
        if end > begin:
            raise Refused(f"its record {short(name)} is larger than the room for it")
        records[name] = Record(offset, entry.length, entry.crc)
    return records


def _list_place(data: Bytes) -> tuple[int, int, int]:
    """(entries, bytes, begin) of the list of records."""
    last = data.size - _END.size
    mark, disk, list_disk, here, count, size, begin, comment = _END.unpack(data.take(last, _END.size, "the end of the archive"))
    if mark != b"PK\x05\x06" or comment or disk or list_disk or here != count:
        raise Refused("it is a zip archive that is cut off, or not as torch writes it")
    if data.size >= _END.size + _LOCATOR.size:
        mark, disk, place, disks = _LOCATOR.unpack(data.take(last - _LOCATOR.size, _LOCATOR.size, "the end of the archive"))
        if mark == b"PK\x06\x07":
            values = _END64.unpack(data.take(place, _END64.size, "the end of the archive"))
            if values[0] != b"PK\x06\x06" or disk or disks > 1 or values[6] != values[7]:
                raise Refused("it is a zip archive not as torch writes it")
            count, size, begin, last = values[7], values[8], values[9], place
    if begin + size != last:
        raise Refused("it is a zip archive with something before or after it, or damaged")
    return count, size, begin


def _entry(text: bytes, place: int) -> tuple[str, Entry, int]:
    """(name, what is told of it, where the next entry begins) of the entry at `place`."""
    if place + _ENTRY.size > len(text):
        raise Refused("its list of records is cut off")
    values = _ENTRY.unpack_from(text, place)
    mark, flags, method, crc, packed, length = values[0], values[5], values[6], *values[9:12]
    name_length, extra_length, comment_length, header = *values[12:15], values[18]
    place += _ENTRY.size
    raw = text[place : place + name_length]
    extra = text[place + name_length : place + name_length + extra_length]
    place += name_length + extra_length + comment_length
    if mark != b"PK\x01\x02" or place > len(text):
        raise Refused("its list of records is damaged")
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused("a record's name is no text") from error
    if _FULL in (length, packed, header):
        length, packed, header = _large(extra, length, packed, header)
    return name, Entry(header, length, packed, method, flags, crc), place


def _large(extra: bytes, *values: int) -> list[int]:
    """The numbers of an entry that did not fit into 32 bits, from its extra fields."""
    place = 0
    while place + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, place)
        if kind == 1:
            field = extra[place + 4 : place + 4 + size]
            large = list(struct.unpack(f"<{len(field) // 8}Q", field[: len(field) // 8 * 8]))
            if len(large) >= values.count(_FULL):
                return [large.pop(0) if value == _FULL else value for value in values]
        place += 4 + size
    raise Refused("its list of records is damaged: a size is missing")


def _data_place(data: Bytes, header: int, name: str) -> int:
    """Where a record's bytes begin: behind a header of its own that must agree with the list."""
    values = _LOCAL.unpack(data.take(header, _LOCAL.size, f"the record {short(name)}"))
    name_length, extra_length = values[-2:]
    begin = header + _LOCAL.size
    if values[0] != b"PK\x03\x04" or values[4] or data.take(begin, name_length, "a record's name") != name.encode():
        raise Refused(f"its record {short(name)} is not the one that its list tells of")
    return int(begin + name_length + extra_length)
