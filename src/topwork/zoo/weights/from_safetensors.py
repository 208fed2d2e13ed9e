"""The directory of a safetensors file: 8 bytes of length, a JSON header, then the numbers without a gap."""

from __future__ import annotations

import json
import math
from typing import Any

from topwork.zoo.weights.stored import AXES_MOST, ITEM_SIZES, LENGTH_MOST, TENSORS_MOST, Bytes, Refused, Stored, short

_HEADER_LONGEST = 4 << 20
"""A tensor takes some hundred bytes of it: enough for forty thousand."""

_TYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U32": "uint32",
    "U8": "uint8",
    "BOOL": "bool",
}


def directory(data: Bytes) -> dict[str, Stored]:
    """What a safetensors file declares, in its own order. Raises Refused."""
    length = int.from_bytes(data.take(0, 8, "its header"), "little")
    if length > _HEADER_LONGEST:
        raise Refused(f"its header declares {length} bytes, more than the {_HEADER_LONGEST} that any network needs")
    text = data.take(8, length, "its header")
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise Refused(f"its header is no JSON that safetensors allows: {short(str(error))}") from error
    if not isinstance(header, dict):
        raise Refused("its header is no JSON object")
    header.pop("__metadata__", None)
    if len(header) > TENSORS_MOST:
        raise Refused(f"it declares {len(header)} tensors, more than the {TENSORS_MOST} that any network has")
    begin = 8 + length
    spans = []
    tensors = {}
    for name, facts in header.items():
        dtype, shape, start, end = _entry(name, facts)
        if end - start != math.prod(shape) * ITEM_SIZES[dtype]:
            raise Refused(f"{short(name)} has {end - start} bytes, which is not what its shape and type need")
        spans.append((start, end))
        tensors[name] = Stored(dtype, shape, begin + start)
    place = 0
    for start, end in sorted(spans):
        if start != place:
            raise Refused("its tensors overlap, or leave gaps that nothing declares")
        place = end
    if begin + place != data.size:
        raise Refused(f"its tensors end at byte {begin + place}, and the file at byte {data.size}: it is cut off or damaged")
    return tensors


def _entry(name: str, facts: Any) -> tuple[str, tuple[int, ...], int, int]:
    if not isinstance(facts, dict) or facts.keys() != {"dtype", "shape", "data_offsets"}:
        raise Refused(f"{short(name)} is not declared by dtype, shape and data_offsets")
    dtype, shape, offsets = facts["dtype"], facts["shape"], facts["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _TYPES:
        raise Refused(f"{short(name)} is of the type {short(str(dtype))}, which no network here has")
    if not (
        _naturals(shape) and _naturals(offsets) and len(offsets) == 2 and offsets[0] <= offsets[1] and len(shape) <= AXES_MOST
    ):
        raise Refused(f"{short(name)} has an impossible shape or place")
    return _TYPES[dtype], tuple(shape), offsets[0], offsets[1]


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(one) is int and 0 <= one < LENGTH_MOST for one in value)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; a name that stands twice would mean one thing here and another elsewhere."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found
