"""Views of pictures, and the scratch file they go to."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from topwork.errors import InputError, StorageError
from topwork.finetune import frozen as cold
from topwork.finetune.augment import Look, view
from topwork.finetune.scratch import Scratch
from topwork.pictures.decode import Geometry, to_pixels

GEOMETRY = Geometry(48)


@pytest.fixture
def picture() -> Image.Image:
    rows, columns = np.mgrid[:90, :120]
    return Image.fromarray(np.stack([2 * rows, 2 * columns, (rows * columns) % 256], 2).astype(np.uint8))


@pytest.mark.parametrize("augment", ["none", "light", "strong"])
@pytest.mark.parametrize("turns", [False, True])
def test_views_are_drawn_by_their_number_alone(augment: str, turns: bool, picture: Image.Image) -> None:
    look = Look(augment, turns, 0)
    np.testing.assert_array_equal(view(picture, GEOMETRY, look, 0, 5), to_pixels(picture, GEOMETRY))
    first = [view(picture, GEOMETRY, look, number, 5) for number in range(1, 9)]
    again = [view(picture, GEOMETRY, look, number, 5) for number in reversed(range(1, 9))][::-1]
    for one, same in zip(first, again, strict=True):
        assert one.shape == (48, 48, 3) and one.dtype == np.uint8
        np.testing.assert_array_equal(one, same)
    different = len({one.tobytes() for one in first})
    assert different == (1 if augment == "none" and not turns else min(different, 8)) and (different > 2) == (
        augment != "none" or turns
    )


def test_turned_views_are_quarter_turns(picture: Image.Image) -> None:
    plain = to_pixels(picture, GEOMETRY)
    turned = {np.rot90(plain, k).tobytes() for k in range(4)}
    found = {view(picture, GEOMETRY, Look("none", True, 0), number, 1).tobytes() for number in range(1, 30)}
    assert found == turned


def test_scratch_gives_back_what_was_written_and_leaves_nothing(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path / "here", 10, 6)
    rows = np.arange(60, dtype=np.float32).reshape(10, 6)
    for slot in (3, 9, 0):
        scratch.write(slot, rows[slot])
    assert scratch.written.nonzero()[0].tolist() == [0, 3, 9]
    out = np.empty((3, 6), np.float16)
    scratch.read_into(np.array([9, 0, 3]), out)
    np.testing.assert_array_equal(out, rows[[9, 0, 3]])
    scratch.write(1, np.array([1e9, -1e9, 0, 1, 2, 3]))
    scratch.read_into(np.array([1]), out)
    assert np.isfinite(out).all()
    if os.name == "posix":
        assert list((tmp_path / "here").iterdir()) == []  # no name, even while it is in use
    scratch.close()


def test_a_disk_without_room_is_told_before_and_a_full_one_while_writing(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"GB|MB of scratch are needed, .* are free"):
        Scratch(tmp_path, 10**9, 10**6)
    if Path("/dev/full").exists():
        scratch = Scratch(tmp_path, 4, 4096)
        scratch.close()
        scratch._file = open("/dev/full", "r+b", buffering=0)  # noqa: SIM115
        with pytest.raises(StorageError, match=r"the disk is full.*are needed"):
            scratch.write(0, np.zeros(4096))
        scratch.close()


def test_fewer_views_where_scratch_is_short_and_an_error_where_none_fits(tmp_path: Path) -> None:
    paths = [tmp_path / "x"] * 12
    look = Look("light", False, 0)

    def made(limit: float) -> tuple[int, str]:
        data, told = cold.activations(paths, 10, 100, object(), GEOMETRY, look, 4, limit, tmp_path)  # type: ignore[arg-type]
        data.scratch.close()
        assert data.scratch.size <= limit
        return data.views, told

    assert made(1e6)[0] == 4
    views, told = made(200 * 25.0)
    assert views == 2 and "2 views a picture instead of 4" in told
    with pytest.raises(InputError, match=r"--scratch .*: expected room for 2.4 kB"):
        made(1000)
