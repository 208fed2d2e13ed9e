"""What a pickle of tensors says, worked out without running any of it: names become descriptions, nothing is called.

torch writes a state dict as a pickle, which is a program. Here its few harmless instructions are followed on descriptions of
tensors; every other instruction, and every name outside a short list, ends the reading. No class or function is looked up.
(torch's own reader of the kind, `weights_only`, calls functions that build real tensors while it reads, and that had holes:
CVE-2025-32434, CVE-2026-24747.)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from topwork.zoo.weights.stored import AXES_MOST, LENGTH_MOST, TENSORS_ALONE, Refused, short

STORAGE_TYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}

_KNOWN = {
    "collections.OrderedDict",
    "torch.Size",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    *(f"torch.{name}" for name in STORAGE_TYPES),
}
"""The only names that a file may mention."""


@dataclass(frozen=True)
class Name:
    """A name that the pickle mentions; never looked up."""

    text: str


@dataclass(frozen=True)
class Storage:
    """A run of numbers elsewhere in the file."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class Described:
    """A tensor: a view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


_MARK = object()
_CONSTANTS: dict[bytes, Any] = {b"N": None, b"\x88": True, b"\x89": False, b")": ()}
_SHORT_TUPLES = {b"\x85": 1, b"\x86": 2, b"\x87": 3}
_FIXED = {
    b"\x80": struct.Struct("B"),  # PROTO
    b"J": struct.Struct("<i"),
    b"K": struct.Struct("B"),
    b"M": struct.Struct("<H"),
    b"G": struct.Struct(">d"),
    b"q": struct.Struct("B"),
    b"r": struct.Struct("<I"),
    b"h": struct.Struct("B"),
    b"j": struct.Struct("<I"),
}
_COUNTED = {b"X": struct.Struct("<I"), b"U": struct.Struct("B"), b"\x8a": struct.Struct("B")}
_VALUES = {b"J", b"K", b"M", b"G", b"X", b"U", b"\x8a"}
_CALLERS = {b"i": "INST", b"o": "OBJ", b"\x81": "NEWOBJ", b"\x92": "NEWOBJ_EX", b"\x93": "STACK_GLOBAL", b"\x82": "EXT1"}
_NAME_LONGEST = 500
_STACK_MOST = 10_000
"""A dictionary is written in pieces of a thousand names and values."""
_INSTRUCTIONS_MOST = 300_000
"""Thirty for each tensor: enough for 2,000 tensors with what an optimizer keeps beside each."""


def describe(data: bytes, start: int = 0) -> tuple[Any, int]:
    """(what the pickle at `start` says, where it ends): plain values, dictionaries, lists, Described. Raises Refused."""
    try:
        return _follow(data, start)
    except (IndexError, KeyError, struct.error, UnicodeDecodeError) as error:
        raise Refused(f"its pickle is damaged or cut off ({type(error).__name__})") from error


def _follow(data: bytes, start: int) -> tuple[Any, int]:
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    for code, argument, end in _instructions(data, start):
        if len(stack) > _STACK_MOST:
            raise Refused("its pickle is nested deeper than any dictionary of tensors")
        if code in b"qr":  # BINPUT
            memo[argument] = stack[-1]
        elif code in b"hj":  # BINGET
            stack.append(memo[argument])
        elif code in _VALUES:
            stack.append(argument)
        elif code == b"(":
            stack.append(_MARK)
        elif code == b"t":
            stack.append(tuple(_to_mark(stack)))
        elif code in _CONSTANTS:
            stack.append(_CONSTANTS[code])
        elif code in _SHORT_TUPLES:
            stack.append(tuple([_pop(stack) for _ in range(_SHORT_TUPLES[code])][::-1]))
        elif code in b"}]":
            stack.append({} if code == b"}" else [])
        elif code == b"Q":  # BINPERSID: numbers elsewhere in the file
            stack.append(_storage(_pop(stack)))
        elif code == b"R":  # REDUCE: a call
            given = _pop(stack)
            stack.append(_made(_pop(stack), given))
        elif code == b"c":  # GLOBAL
            stack.append(Name(argument))
        elif code in b"us":  # SETITEMS, SETITEM
            values = _to_mark(stack) if code == b"u" else [_pop(stack), _pop(stack)][::-1]
            _put(_as(dict, stack[-1]), values)
        elif code in b"ea":  # APPENDS, APPEND
            values = _to_mark(stack) if code == b"e" else [_pop(stack)]
            _as(list, stack[-1]).extend(values)
        elif code == b"b":  # BUILD: the _metadata that torch hangs on a state dict; of no use here
            _as(dict, _pop(stack))
            _as(dict, stack[-1])
        elif code == b"\x80":
            if argument not in (2, 3):
                raise Refused(f"its pickle is of protocol {argument}; torch writes protocol 2")
        elif code == b".":
            if len(stack) != 1:
                raise Refused("its pickle is damaged: it ends with values left over")
            return _pop(stack), end
        else:
            told = _CALLERS.get(code, f"0x{code.hex()}")
            raise Refused(f"its pickle holds the instruction {told}, which a dictionary of tensors never needs")
    raise Refused("its pickle is cut off")


def _instructions(data: bytes, start: int) -> Iterator[tuple[bytes, Any, int]]:
    """(code, argument, where the next one begins) of each instruction in turn."""
    place = start
    for _ in range(_INSTRUCTIONS_MOST):
        if place >= len(data):
            return
        code = data[place : place + 1]
        place += 1
        argument: Any = None
        if code in _FIXED:
            (argument,) = _FIXED[code].unpack_from(data, place)
            place += _FIXED[code].size
        elif code in _COUNTED:
            (count,) = _COUNTED[code].unpack_from(data, place)
            place += _COUNTED[code].size
            raw = data[place : place + count]
            if len(raw) != count:
                raise Refused("its pickle is cut off in the middle of a value")
            argument = int.from_bytes(raw, "little", signed=True) if code == b"\x8a" else raw.decode("utf-8")
            place += count
        elif code == b"c":
            module, place = _line(data, place)
            name, place = _line(data, place)
            argument = f"{module}.{name}"
            if argument not in _KNOWN:
                raise Refused(f"its pickle asks for {short(argument)}, which could run code. {TENSORS_ALONE}")
        yield code, argument, place
    raise Refused(f"its pickle has more than {_INSTRUCTIONS_MOST} instructions, more than any network needs")


def _line(data: bytes, place: int) -> tuple[str, int]:
    end = data.find(b"\n", place, place + _NAME_LONGEST)
    if end < 0:
        raise Refused("its pickle is damaged: a name without an end")
    return data[place:end].decode("utf-8"), end + 1


def _to_mark(stack: list[Any]) -> list[Any]:
    values = []
    while (value := stack.pop()) is not _MARK:
        values.append(value)
    return values[::-1]


def _pop(stack: list[Any]) -> Any:
    value = stack.pop()
    if value is _MARK:
        raise Refused("its pickle is damaged: a value is missing")
    return value


def _as(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise Refused(f"its pickle sets the state of something that is no {kind.__name__}, which could run code")
    return value


def _put(target: dict[Any, Any], values: list[Any]) -> None:
    """Names and values in turn into a dictionary. A name is a text or a number: anything else could take ages to compare."""
    if len(values) % 2:
        raise Refused("its pickle is damaged: a name without a value")
    for name, value in zip(values[::2], values[1::2], strict=True):
        if type(name) not in (str, int):
            raise Refused(f"its pickle has a {type(name).__name__} where a name should be")
        target[name] = value


def _made(function: Any, given: Any) -> Any:
    """What calling `function` would make, as a description."""
    text = function.text if isinstance(function, Name) else type(function).__name__
    match text, given:
        case "collections.OrderedDict", ():
            return {}
        case "torch.Size", (tuple() as shape,):
            return shape
        case "torch._utils._rebuild_parameter", (Described() as tensor, _, _):
            return tensor
        case "torch._utils._rebuild_tensor_v2", (Storage() as storage, offset, tuple() as shape, tuple() as strides, _, _, *_):
            if len(shape) == len(strides) <= AXES_MOST and all(_natural(one) for one in (offset, *shape, *strides)):
                return Described(storage, offset, shape, strides)
    raise Refused(f"its pickle calls {short(text)} in a way that torch never does")


def _storage(identity: Any) -> Storage:
    match identity:
        # The sixth, of old files, tells of a part of another storage; torch has long stopped writing it.
        case ("storage", Name(text), str() as key, str(), count) | ("storage", Name(text), str() as key, str(), count, None):
            kind = text.removeprefix("torch.")
            if kind in STORAGE_TYPES and _natural(count):
                return Storage(key, STORAGE_TYPES[kind], count)
    raise Refused("its pickle tells of numbers in a way that torch never does")


def _natural(value: Any) -> bool:
    return type(value) is int and 0 <= value < LENGTH_MOST
