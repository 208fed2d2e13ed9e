"""A weight file against the network it is for: the network decides names, shapes and types; nothing is left out or over."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topwork.zoo.weights import WeightFile
from topwork.zoo.weights.stored import Refused, short

_TOLD = 3
_PREFIXES = ("module.", "_orig_mod.", "model.")
"""What training programs put before every name: data-parallel, compiled and wrapped networks."""


@dataclass(frozen=True)
class Wanted:
    """A tensor of the network asked for."""

    shape: tuple[int, ...]
    dtype: str
    """As numpy names it: float32, int64."""


@dataclass(frozen=True)
class Taken:
    """Where a tensor of the network comes from in a file that names it otherwise."""

    name: str
    reshape: bool = False
    """The same numbers in order, in the network's shape."""
    plus: float = 0.0
    """Added to each number."""


Plan = Mapping[str, Taken]
"""By the network's name of each tensor."""


def fitted(
    file: WeightFile,
    wanted: Mapping[str, Wanted],
    network: str,
    plan: Plan | None = None,
    *,
    optional: Collection[str] = (),
    unused: Collection[str] = (),
) -> Iterator[tuple[str, NDArray[Any]]]:
    """(name, numbers) of each tensor of the network, in its order, types and shapes, read one at a time.

    plan: for files that name tensors otherwise; without it, prefixes that all names share are left out. optional: the
    network's names that a file need not have; unused: the file's that are of no use. Raises Refused before the first is read
    where anything is missing, left over or of another shape; and while reading where a value is not finite.
    """
    if plan is None:
        plan = {name: Taken(source) for name, source in plain_names(file.tensors, wanted).items()}
    faults = _faults(file, wanted, plan, optional, unused)
    if faults:
        raise Refused(f"it does not fit {network}: {'; '.join(faults)}. Give a file of this network")
    return _read(file, wanted, plan)


def plain_names(names: Collection[str], wanted: Collection[str]) -> dict[str, str]:
    """The file's name of each tensor by its plain name: without prefixes that all share and the network does not have."""
    plain = {name: name for name in names}
    for _ in range(3):
        for prefix in _PREFIXES:
            if plain and all(name.startswith(prefix) for name in plain) and not any(name.startswith(prefix) for name in wanted):
                plain = {name.removeprefix(prefix): source for name, source in plain.items()}
    return plain


def _faults(
    file: WeightFile, wanted: Mapping[str, Wanted], plan: Plan, optional: Collection[str], unused: Collection[str]
) -> list[str]:
    """What keeps a file from fitting, in words."""
    missing = [name for name in wanted if name not in plan and name not in optional]
    missing += [taken.name for name, taken in plan.items() if taken.name not in file.tensors and name in wanted]
    used = {taken.name for name, taken in plan.items() if name in wanted}
    extra = [name for name in file.tensors if name not in used and name not in unused]
    other = []
    for name, taken in plan.items():
        if name in wanted and taken.name in file.tensors:
            stored, want = file.tensors[taken.name], wanted[name]
            same = stored.count == int(np.prod(want.shape)) if taken.reshape else stored.shape == want.shape
            if not same:
                other.append(f"{short(taken.name)} is {stored.shape}, expected {want.shape}")
            elif _family(stored.dtype) != _family(want.dtype):
                other.append(f"{short(taken.name)} is {stored.dtype}, expected {want.dtype}")
    faults = []
    if missing:
        faults.append(f"{len(missing)} of {len(wanted)} tensors missing ({_some(missing)})")
    if extra:
        faults.append(f"{len(extra)} unknown ({_some(extra)})")
    if other:
        faults.append("; ".join(other[:_TOLD]) + (f"; and {len(other) - _TOLD} more" if len(other) > _TOLD else ""))
    return faults


def _read(file: WeightFile, wanted: Mapping[str, Wanted], plan: Plan) -> Iterator[tuple[str, NDArray[Any]]]:
    for name, want in wanted.items():
        if name not in plan:
            continue
        taken = plan[name]
        with np.errstate(over="ignore"):  # what does not fit into float32 becomes infinite, and is told below
            values = file.read(taken.name).reshape(want.shape).astype(want.dtype, copy=False)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise Refused(f"{short(taken.name)} has values that are not finite. The file is damaged, or its training failed")
        yield name, values + np.asarray(taken.plus, values.dtype) if taken.plus else values


def _family(dtype: str) -> str:
    return "bool" if dtype == "bool" else "float" if "float" in dtype else "integer"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return ", ".join(short(name) for name in names[:_TOLD]) + more
