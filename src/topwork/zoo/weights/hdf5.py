"""The part of HDF5 that Keras writes: groups, plain datasets, text attributes; read by bounds-checked steps.

The HDF5 library itself is not used: it follows links into other files, loads filters from plug-in folders, and a flipped byte
can crash it. Followed here (HDF5 File Format Specification 3.0): superblocks 0 and 1, groups by symbol table, object headers of
version 1, contiguous and compact datasets of IEEE floats and integers, attributes that hold texts. All else is refused by
name: links, external files, virtual and chunked datasets, filters, references, compound types.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from topwork.zoo.weights.stored import AXES_MOST, ITEM_SIZES, LENGTH_MOST, NAME_LONGEST, Bytes, Refused, Stored, short

SIGNATURE = b"\x89HDF\r\n\x1a\n"

_NOWHERE = (1 << 64) - 1
_BLOCK_LONGEST = 16 << 20
_READ_MOST = 64 << 20
"""Bytes of structure, not of numbers, that any file may make us read."""
_OBJECTS_MOST = 30_000
_DEEPEST = 32

_DATASPACE, _LINK_INFO, _DATATYPE, _LINK, _EXTERNAL, _LAYOUT, _FILTERS = 0x01, 0x02, 0x03, 0x06, 0x07, 0x08, 0x0B
_ATTRIBUTE, _CONTINUATION, _SYMBOL_TABLE, _ATTRIBUTE_INFO = 0x0C, 0x10, 0x11, 0x15

_FIXED, _FLOAT, _STRING, _VARYING = 0, 1, 3, 9
_CLASSES = ("integers", "floats", "times", "texts", "bit fields", "opaque bytes", "compounds", "references", "enumerations")
_FLOATS = {
    bytes.fromhex("200f00 02000000 00001000 0a05000a 0f000000"): "float16",
    bytes.fromhex("201f00 04000000 00002000 17080017 7f000000"): "float32",
    bytes.fromhex("203f00 08000000 00004000 340b0034 ff030000"): "float64",
}
"""Datatype messages of the little-endian IEEE floats, without their first byte."""
_INTEGERS = {
    bytes.fromhex(
        f"{'08' if signed else '00'}0000 {size:02x}000000 0000 {8 * size:02x}00"
    ): f"{'' if signed else 'u'}int{8 * size}"
    for size in (1, 2, 4, 8)
    for signed in (True, False)
}


@dataclass(frozen=True)
class Message:
    """One part of an object's header."""

    kind: int
    body: bytes
    offset: int
    """Of the body, in the file."""


class Hdf5:
    """An HDF5 file. What is met is checked before it is followed; Refused tells what was found."""

    datasets: dict[str, Stored]
    """Every dataset by its path, in the order of the groups."""

    def __init__(self, data: Bytes) -> None:
        self._data, self._left = data, _READ_MOST
        self._heaps: dict[int, dict[int, bytes]] = {}
        self._groups: dict[str, list[Message]] = {}
        self.datasets = {}
        head = self._take(0, min(100, data.size), "its superblock")
        if len(head) < 100 or head[:8] != SIGNATURE:
            raise Refused("it is cut off")
        if head[8] > 1:
            raise Refused(
                f"it is in version {head[8]} of HDF5's layout, which Keras does not write. "
                "Load it where it was made, and save it again: network.save_weights('NAME.weights.h5')"
            )
        base, _, end, _, _, root = struct.unpack_from("<6Q", head, 24 if head[8] == 0 else 28)
        if head[13] != 8 or head[14] != 8 or base != 0:
            raise Refused("its HDF5 layout is one that Keras does not write")
        if end > data.size:
            raise Refused(f"it is cut off: it should have {end} bytes and has {data.size}")
        self._walk(root)

    def texts(self, group: str, name: str) -> list[str] | None:
        """The attribute `name` of a group as a list of texts; None where there is none. Long ones come in numbered parts."""
        found = {_attribute_name(message.body): message.body for message in self._groups.get(group, ())}
        if name in found:
            return self._attribute(found[name])
        parts = 0
        values: list[str] = []
        while f"{name}{parts}" in found:
            values += self._attribute(found[f"{name}{parts}"])
            parts += 1
        return values if parts else None

    def _take(self, offset: int, count: int, what: str) -> bytes:
        if count > _BLOCK_LONGEST or count > self._left:
            raise Refused(f"{what} has {count} bytes, more than any network needs")
        self._left -= count
        return self._data.take(offset, count, what)

    def _walk(self, root: int) -> None:
        """Meet every object once: groups go into `_groups`, datasets into `datasets`."""
        seen: set[int] = set()
        waiting = [("", root, 0)]
        while waiting:
            path, place, depth = waiting.pop()
            if place in seen:
                raise Refused(f"{short(path)} is linked twice, or in a circle")
            if depth > _DEEPEST:
                raise Refused(f"its groups are nested deeper than {_DEEPEST}, more than in any network")
            if len(seen) + len(waiting) > _OBJECTS_MOST:
                raise Refused(f"it has more than {_OBJECTS_MOST} objects, more than any network needs")
            seen.add(place)
            messages = self._messages(place, path)
            table = [message.body for message in messages if message.kind == _SYMBOL_TABLE]
            if table:
                self._groups[path] = [message for message in messages if message.kind == _ATTRIBUTE]
                members = list(self._members(table[0], path))
                for name, header in reversed(members):
                    waiting.append((f"{path}/{name}" if path else name, header, depth + 1))
            else:
                self.datasets[path] = self._dataset(messages, path)

    def _messages(self, place: int, path: str) -> list[Message]:
        """The parts of an object's header, with those in its continuations."""
        what = f"the header of {short(path) or 'its root'}"
        version, count, _, size = struct.unpack("<BxHLL4x", self._take(place, 16, what))
        if version != 1:
            raise Refused(f"{what} is of a kind that Keras does not write, or damaged")
        found: list[Message] = []
        blocks, seen, met = [(place + 16, size)], set(), 0
        while blocks:
            begin, size = blocks.pop(0)
            if begin in seen:
                raise Refused(f"{what} goes in a circle")
            seen.add(begin)
            block = self._take(begin, size, what)
            at = 0
            while at + 8 <= size and met < count:
                kind, length, flags = struct.unpack_from("<HHB", block, at)
                body = block[at + 8 : at + 8 + length]
                if len(body) != length:
                    raise Refused(f"{what} is damaged")
                _refuse_kind(kind, flags, body, path)
                if kind == _CONTINUATION:
                    if length < 16:
                        raise Refused(f"{what} is damaged")
                    blocks.append(struct.unpack_from("<2Q", body))
                else:
                    found.append(Message(kind, body, begin + at + 8))
                at += 8 + length
                met += 1
        if any(message.kind in (_LINK_INFO, _ATTRIBUTE_INFO) for message in found):
            raise Refused(
                f"{short(path) or 'its root'} is in a newer HDF5 layout than Keras writes. "
                "Load it where it was made, and save it again: network.save_weights('NAME.weights.h5')"
            )
        return found

    def _members(self, table: bytes, path: str) -> Iterator[tuple[str, int]]:
        """(name, place of its header) of each member of a group, in the order of its tree."""
        what = f"the group {short(path) or '/'}"
        if len(table) < 16:
            raise Refused(f"{what} is damaged")
        tree, heap = struct.unpack_from("<2Q", table)
        mark, size, begin = struct.unpack("<4s4xQ8xQ", self._take(heap, 32, what))
        if mark != b"HEAP":
            raise Refused(f"{what} is damaged: it has no names")
        names = self._take(begin, size, what)
        for leaf in self._leaves(tree, what):
            mark, count = struct.unpack("<4s2xH", self._take(leaf, 8, what))
            if mark != b"SNOD":
                raise Refused(f"{what} is damaged: its list of members is not one")
            entries = self._take(leaf + 8, 40 * count, what)
            for at in range(0, len(entries), 40):
                offset, header, cached = struct.unpack_from("<2QL", entries, at)
                end = names.find(b"\0", offset, offset + NAME_LONGEST)
                name = names[offset:end].decode("utf-8", "replace") if end > offset else ""
                if cached == 2:
                    raise Refused(f"{what} holds the symbolic link {short(name)}; links are not followed")
                if not name or "/" in name or name in (".", ".."):
                    raise Refused(f"{what} is damaged: a member has no proper name")
                yield name, header

    def _leaves(self, tree: int, what: str) -> Iterator[int]:
        """Places of the lists of members under a tree of version 1."""
        seen: set[int] = set()
        waiting = [tree]
        while waiting:
            place = waiting.pop()
            if place in seen:
                raise Refused(f"{what} is damaged: its tree goes in a circle")
            seen.add(place)
            mark, kind, level, used = struct.unpack("<4s2BH16x", self._take(place, 24, what))
            if mark != b"TREE" or kind != 0:
                raise Refused(f"{what} is damaged: its tree is not one")
            body = self._take(place + 24, 16 * used + 8, what)
            children = [struct.unpack_from("<Q", body, 8 + 16 * one)[0] for one in range(used)]
            if level == 0:
                yield from children
            else:
                waiting += reversed(children)

    def _dataset(self, messages: list[Message], path: str) -> Stored:
        """The tensor that a header describes."""
        parts = {message.kind: message for message in messages if message.kind in (_DATASPACE, _DATATYPE, _LAYOUT)}
        if len(parts) != 3:
            raise Refused(f"{short(path) or 'its root'} is neither a group nor a dataset as Keras writes them")
        shape = _shape(parts[_DATASPACE].body, path)
        dtype = _number_type(parts[_DATATYPE].body, path)
        layout = parts[_LAYOUT].body
        if len(layout) < 4 or layout[0] not in (3, 4) or layout[1] > 1 or (layout[1] == 1 and len(layout) < 18):
            kinds = {2: "is stored in chunks, which may be packed", 3: "is virtual: its numbers are in other files"}
            told = kinds.get(layout[1], "is stored in an unknown way") if len(layout) > 1 else "is damaged"
            raise Refused(f"the dataset {short(path)} {told}. Expected plain numbers, as Keras writes them")
        if layout[1] == 1:
            place, size = struct.unpack_from("<2Q", layout, 2)
        else:
            place, size = parts[_LAYOUT].offset + 4, struct.unpack_from("<H", layout, 2)[0]
        needed = math.prod(shape) * ITEM_SIZES[dtype]
        if size != needed or (place == _NOWHERE and size):
            raise Refused(f"the dataset {short(path)} declares {needed} bytes and has {0 if place == _NOWHERE else size}")
        return Stored(dtype, shape, 0 if place == _NOWHERE else place)

    def _attribute(self, body: bytes) -> list[str]:
        """The texts that an attribute holds."""
        told = f"the attribute {short(_attribute_name(body))}"
        version, shared, name_size, type_size, space_size = struct.unpack_from("<BBHHH", body)
        if version > 3 or (version > 1 and shared):
            raise Refused(f"{told} is of an unknown kind")
        place = 9 if version == 3 else 8
        parts = []
        for size in (name_size, type_size, space_size):
            parts.append(body[place : place + size])
            place += size if version > 1 else (size + 7) // 8 * 8
        datatype, values = parts[1], body[place:]
        count = math.prod(_shape(parts[2], told))
        if count == 0:  # Keras writes an empty list as an empty array of floats
            return []
        if len(datatype) < 8:
            raise Refused(f"{told} is damaged")
        kind, size = datatype[0] & 15, int.from_bytes(datatype[4:8], "little")
        if count * size > len(values) or size == 0:
            raise Refused(f"{told} is damaged: it is too short")
        raw = [values[at : at + size] for at in range(0, count * size, size)]
        if kind == _VARYING and datatype[1] & 15 == 1 and size == 16:
            raw = [self._varying(one, told) for one in raw]
        elif kind != _STRING:
            raise Refused(f"{told} holds {_told_class(kind)}, expected texts")
        return [one.split(b"\0")[0].decode("utf-8", "replace") for one in raw]

    def _varying(self, reference: bytes, told: str) -> bytes:
        """A text of any length, from the heap that all the file shares."""
        length, heap, index = struct.unpack("<LQL", reference)
        if heap not in self._heaps:
            mark, version, size = struct.unpack("<4sB3xQ", self._take(heap, 16, told))
            if mark != b"GCOL" or version != 1 or size < 16:
                raise Refused(f"{told} is damaged: its texts are not where it says")
            block = self._take(heap, size, told)
            found: dict[int, bytes] = {}
            at = 16
            while at + 16 <= size:
                number, held = struct.unpack_from("<H6xQ", block, at)
                if number == 0 or at + 16 + held > size:
                    break
                found[number] = block[at + 16 : at + 16 + held]
                at += 16 + (held + 7) // 8 * 8
            self._heaps[heap] = found
        text = self._heaps[heap].get(index, b"")
        if len(text) < length:
            raise Refused(f"{told} is damaged: a text is missing")
        return text[:length]


def _refuse_kind(kind: int, flags: int, body: bytes, path: str) -> None:
    """Raise Refused for parts of a header that reach outside of the file, or that Keras never writes."""
    told = short(path) or "its root"
    if kind == _EXTERNAL:
        raise Refused(f"the dataset {told} keeps its numbers in another file; files outside of it are not read")
    if kind == _FILTERS:
        raise Refused(f"the dataset {told} is packed by a filter, which is code. Save it without compression")
    if kind == _LINK:
        types = {1: "a symbolic link", 64: "a link into another file"}
        link = types.get(body[2], "a link") if len(body) > 2 and body[1] & 8 else "a link"
        raise Refused(f"the group {told} holds {link}, as Keras never writes it; links are not followed")
    if flags & 2 and kind in (_DATASPACE, _DATATYPE, _LAYOUT, _ATTRIBUTE):
        raise Refused(f"{told} shares a part of its header with another object, which Keras never writes")


def _shape(body: bytes, path: str) -> tuple[int, ...]:
    if len(body) < 4 or body[0] not in (1, 2) or body[1] > AXES_MOST or (body[0] == 2 and body[3] > 1):
        raise Refused(f"{short(path)} has an impossible shape")
    start = 8 if body[0] == 1 else 4
    if len(body) < start + 8 * body[1]:
        raise Refused(f"{short(path)} has an impossible shape")
    shape = struct.unpack_from(f"<{body[1]}Q", body, start)
    if any(length >= LENGTH_MOST for length in shape):
        raise Refused(f"{short(path)} has an impossible shape")
    return shape


def _number_type(body: bytes, path: str) -> str:
    kind = body[0] & 15 if body else -1
    found = {_FIXED: _INTEGERS.get(body[1:12]), _FLOAT: _FLOATS.get(body[1:20])}.get(kind)
    if found is None or found not in ITEM_SIZES:
        raise Refused(f"the dataset {short(path)} holds {_told_class(kind)}, expected little-endian floats or integers")
    return found


def _told_class(kind: int) -> str:
    return _CLASSES[kind] if 0 <= kind < len(_CLASSES) else "values of varying length" if kind == _VARYING else "unknown values"


def _attribute_name(body: bytes) -> str:
    if len(body) < 9:
        raise Refused("an attribute is damaged")
    version, size = body[0], int.from_bytes(body[2:4], "little")
    start = 9 if version == 3 else 8
    return body[start : start + size].split(b"\0")[0].decode("utf-8", "replace")
