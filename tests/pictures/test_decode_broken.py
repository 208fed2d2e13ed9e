"""I1: no picture file stops a job; each bad one is named with a reason code."""

from __future__ import annotations

import gc
import os
import threading
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from corpus import FORMATS, SUFFIX, broken_files, encoded, exif_block, jpeg_with, noise, png_chunk, png_with
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from topwork.pictures.decode import BadPicture, Geometry, Picture, Reason, decode, read_bytes, sniff, to_pixels


def outcome(data: bytes, name: str = "", wanted: Geometry | None = None) -> str:
    """ "ok" or the reason code; any other exception is the test's failure."""
    try:
        picture = decode(data, name, wanted)
    except BadPicture as bad:
        assert bad.reason in Reason
        assert bad.reason is not Reason.EXT_MISMATCH
        assert bad.detail
        assert bad.__traceback__ is not None
        return bad.reason.value
    check(picture)
    return "ok"


def check(picture: Picture) -> None:
    assert picture.image.mode == "RGB"
    assert picture.width >= 1 and picture.height >= 1
    assert len(picture.sha256) == 64
    pixels = to_pixels(picture.image, Geometry(size=8))
    assert pixels.shape == (8, 8, 3)
    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable


def outcome_of_file(path: Path) -> str:
    try:
        data = read_bytes(path)
    except BadPicture as bad:
        return bad.reason.value
    return outcome(data, path.name)


def test_every_kind_of_broken_file_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    files = broken_files(tmp_path / "files")
    assert len(files) >= 60
    wrong = {path.name: got for path, allowed in files if (got := outcome_of_file(path)) not in allowed}
    assert wrong == {}
    reasons = {code for _, allowed in files if len(allowed) == 1 for code in allowed}
    assert reasons >= {"EMPTY", "NOT_IMAGE", "TRUNCATED", "CORRUPT", "TOO_LARGE", "UNSUPPORTED", "UNREADABLE", "ok"}
    assert caplog.records == []
    said = capfd.readouterr()
    assert said.out == ""
    # libtiff itself tells of damaged data on stderr, and cannot be asked not to; nothing of ours or Pillow's may stand there.
    assert [line for line in said.err.splitlines() if "Decod" not in line] == []


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files in /proc")
def test_no_file_stays_open(tmp_path: Path) -> None:
    files = broken_files(tmp_path / "files")
    gc.collect()  # what earlier tests left
    before = len(os.listdir("/proc/self/fd"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        for path, _ in files:
            outcome_of_file(path)
        gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def test_nothing_in_the_folder_changes(tmp_path: Path) -> None:
    files = broken_files(tmp_path / "files")
    state = [(path, path.lstat().st_mtime_ns, path.lstat().st_size) for path, _ in files if os.path.lexists(path)]
    for path, _ in files:
        outcome_of_file(path)
    assert [(path, path.lstat().st_mtime_ns, path.lstat().st_size) for path, _, _ in state] == state


def test_bad_neighbours_change_no_pixel(tmp_path: Path) -> None:
    good = {form: encoded(noise(), form) for form in FORMATS}
    before = {form: np.asarray(decode(data).image) for form, data in good.items()}
    for path, _ in broken_files(tmp_path / "files"):
        outcome_of_file(path)
    for form, data in good.items():
        np.testing.assert_array_equal(np.asarray(decode(data).image), before[form])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=600), st.sampled_from([b"", *(encoded(noise(4, 4), form)[:24] for form in FORMATS)]))
def test_random_bytes(data: bytes, head: bytes) -> None:
    outcome(head + data)


@cache
def seeds() -> list[bytes]:
    """Small valid files, of every format in several of its dresses."""
    small = noise(24, 18)
    clear = small.convert("RGBA")
    clear.putalpha(small.convert("L"))
    return [
        *(encoded(small, form) for form in FORMATS),
        encoded(small, "JPEG", progressive=True),
        encoded(small.convert("CMYK"), "JPEG"),
        jpeg_with((0xE1, exif_block(6)), (0xFE, b"a comment")),
        encoded(clear, "PNG"),
        encoded(small.quantize(16), "PNG", transparency=3),
        encoded(small, "PNG", save_all=True, append_images=[noise(24, 18, 1)]),
        png_with(png_chunk(b"eXIf", exif_block(5)[6:]), png_chunk(b"tEXt", b"k\0v")),
        encoded(clear, "WEBP", lossless=True),
        encoded(small, "WEBP", save_all=True, append_images=[noise(24, 18, 1)], exif=exif_block(8)),
        encoded(small.quantize(16), "BMP"),
        encoded(small, "GIF", save_all=True, append_images=[noise(24, 18, 1)], comment=b"c", transparency=1),
        *(encoded(small, "TIFF", compression=kind) for kind in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")),
        encoded(small.convert("1"), "TIFF", compression="group4"),
        encoded(small.convert("F"), "TIFF"),
        encoded(clear, "TIFF", tiffinfo={274: 7}),
    ]


flips = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8)


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 22), flips, st.booleans())
def test_flipped_bytes(which: int, changes: list[tuple[float, int]], early: bool) -> None:
    data = bytearray(seeds()[which % len(seeds())])
    for place, value in changes:
        # Headers are short and decide most: half of the runs change only the first bytes.
        data[int(place * min(len(data), 120 if early else len(data)))] = value
    outcome(bytes(data), "x.png", Geometry(size=8))


@settings(max_examples=250, deadline=None)
@given(st.integers(0, 22), st.floats(0, 1), st.floats(0, 1), st.binary(max_size=40))
def test_cuts_and_insertions(which: int, start: float, end: float, inserted: bytes) -> None:
    data = seeds()[which % len(seeds())]
    outcome(data[: int(start * len(data))] + inserted + data[int(end * len(data)) :])


@settings(max_examples=250, deadline=None)
@given(st.integers(0, 22), st.integers(0, 22), st.floats(0, 1))
def test_one_file_spliced_to_another(first: int, second: int, share: float) -> None:
    one, other = seeds()[first % len(seeds())], seeds()[second % len(seeds())]
    outcome(one[: int(share * len(one))] + other[int(share * len(other)) :])


@pytest.mark.parametrize("form", FORMATS)
def test_a_wrong_ending_is_a_warning_and_nothing_more(form: str) -> None:
    data = encoded(noise(), form)
    assert sniff(data[:16]) == form
    right = decode(data, f"a.{SUFFIX[form].upper()}")
    wrong = decode(data, "a.png" if form != "PNG" else "a.jpg")
    assert right.warning is None
    assert decode(data, "nameless").warning is None
    assert wrong.warning is not None
    assert form in wrong.warning
    np.testing.assert_array_equal(np.asarray(right.image), np.asarray(wrong.image))


def test_other_threads_keep_their_warning_filters() -> None:
    data = encoded(noise(300, 300), "PNG")
    before = list(warnings.filters)

    def work() -> None:
        for _ in range(30):
            decode(data)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_geometry_is_checked() -> None:
    for wrong in ({"size": 0}, {"crop": 0.0}, {"crop": 1.1}):
        with pytest.raises(ValueError, match="expected size >= 1"):
            Geometry(**wrong)  # type: ignore[arg-type]
    tiny = Image.new("RGB", (1, 1), "red")
    assert to_pixels(tiny, Geometry()).shape == (224, 224, 3)
