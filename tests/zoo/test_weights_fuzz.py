"""Weight files with bytes changed or cut off: read rightly, or refused with a reason; never anything else."""

from __future__ import annotations

import io
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from reading import read_weights
from safetensors.numpy import load, save

from topwork.errors import WeightsError

Tensors = dict[str, np.ndarray]


def tensors() -> Tensors:
    rng = np.random.default_rng(0)
    return {f"layer{n}.weight": rng.standard_normal((3, 4)).astype(np.float32) for n in range(3)} | {"steps": np.int64([7])}


def safetensors_bytes() -> bytes:
    return save(tensors(), metadata={"format": "pt"})


def torch_bytes() -> bytes:
    stream = io.BytesIO()
    torch.save({name: torch.from_numpy(value) for name, value in tensors().items()}, stream)
    return stream.getvalue()


def keras_bytes() -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for number, value in enumerate(tensors().values()):
            group = file.create_group(f"layers/dense_{number}/vars")
            group.attrs["name"] = f"dense_{number}"
            group["0"] = value
    return stream.getvalue()


def applications_bytes() -> bytes:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in tensors()]
        for name, value in tensors().items():
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/kernel:0"]  # texts of any length, which lie in a heap
            group[f"{name}/kernel:0"] = value
    return stream.getvalue()


GOOD = {"safetensors": safetensors_bytes(), "pth": torch_bytes(), "weights.h5": keras_bytes(), "h5": applications_bytes()}


def survives(file: Path, data: bytes) -> bool:
    """Whether a changed file is still read; then what is read must be what it says."""
    file.write_bytes(data)
    try:
        found = read_weights(file)
    except WeightsError as error:
        assert str(error).startswith(f"{file}: ") and len(str(error)) > len(str(file)) + 10
        return False
    if file.suffix == ".pth":  # all that counts has a checksum
        same(found, tensors())
    elif file.suffix == ".safetensors":
        same(found, load(data))
    return True


def same(found: Tensors, expected: Tensors) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        np.testing.assert_array_equal(found[name], value)


@pytest.mark.parametrize("ending", GOOD)
def test_unchanged_it_is_read(ending: str, tmp_path: Path) -> None:
    assert survives(tmp_path / f"w.{ending}", GOOD[ending])
    found = read_weights(tmp_path / f"w.{ending}")
    assert sorted(value.tobytes() for value in found.values()) == sorted(value.tobytes() for value in tensors().values())


PLACES = st.integers(0, 1 << 20)
CHANGES = st.lists(st.tuples(PLACES, st.integers(0, 255)), min_size=1, max_size=6)


@pytest.mark.parametrize("ending", GOOD)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=CHANGES, cut=st.none() | PLACES, more=st.binary(max_size=4))
@example(changes=[(0, 0)], cut=0, more=b"")
def test_changed_bytes(ending: str, tmp_path: Path, changes: list[tuple[int, int]], cut: int | None, more: bytes) -> None:
    data = bytearray(GOOD[ending])
    for place, value in changes:
        data[place % len(data)] = value
    survives(tmp_path / f"w.{ending}", bytes(data[: cut if cut is None else cut % (len(data) + 1)]) + more)


@pytest.mark.parametrize("ending", GOOD)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=PLACES, number=st.sampled_from([0, 1, 0xFF, 0xFFFF, 0xFFFFFFFF, 1 << 31, 1 << 40, (1 << 63) - 1, (1 << 64) - 1]))
def test_changed_numbers(ending: str, tmp_path: Path, place: int, number: int) -> None:
    """Sizes, counts and places are numbers of two, four or eight bytes."""
    data = bytearray(GOOD[ending])
    size = 2 if number <= 0xFFFF else 4 if number <= 0xFFFFFFFF else 8
    place = place % (len(data) // 2) * 2
    data[place : place + size] = number.to_bytes(size, "little")
    survives(tmp_path / f"w.{ending}", bytes(data))


@pytest.mark.parametrize("ending", GOOD)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=PLACES, second=PLACES, length=st.integers(1, 200))
def test_parts_that_changed_places(ending: str, tmp_path: Path, first: int, second: int, length: int) -> None:
    data = bytearray(GOOD[ending])
    first, second = first % len(data), second % len(data)
    data[first : first + length] = data[second : second + length]
    survives(tmp_path / f"w.{ending}", bytes(data))


@pytest.mark.full
@pytest.mark.parametrize("ending", GOOD)
def test_every_byte_flipped_and_many_cuts(ending: str, tmp_path: Path) -> None:
    good = GOOD[ending]
    rng = np.random.default_rng(0)
    for place in range(len(good)):
        for flip in (0xFF, 1 << int(rng.integers(8))):
            changed = bytearray(good)
            changed[place] ^= flip
            survives(tmp_path / f"w.{ending}", bytes(changed))
    for place in range(0, len(good), 1 + len(good) // 2000):
        assert not survives(tmp_path / f"w.{ending}", good[:place])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=300), start=st.sampled_from([b"", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"\x10\0\0\0\0\0\0\0{"]))
def test_noise(tmp_path: Path, data: bytes, start: bytes) -> None:
    assert not survives(tmp_path / "w.bin", start + data)
