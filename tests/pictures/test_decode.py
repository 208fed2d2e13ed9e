from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from topwork.pictures import decode as d

FORMATS = ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"]


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def scene(width: int = 40, height: int = 30) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], -1).astype(np.uint8))


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_decodes_to_rgb(form: str) -> None:
    picture = d.decode(encoded(scene(), form))
    assert picture.image.mode == "RGB"
    assert (picture.width, picture.height) == (40, 30)


@pytest.mark.parametrize("form", FORMATS)
def test_every_cut_is_a_finding_or_a_picture(form: str) -> None:
    data = encoded(scene(), form)
    for cut in range(0, len(data), max(1, len(data) // 60)):
        try:
            assert d.decode(data[:cut]).image.mode == "RGB"
        except d.BadPicture as bad:
            assert bad.reason in d.Reason


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FORMATS), st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6))
def test_no_flipped_byte_escapes_as_another_error(form: str, flips: list[tuple[int, int]]) -> None:
    data = bytearray(encoded(scene(), form))
    for place, value in flips:
        data[place % len(data)] = value
    try:
        assert d.decode(bytes(data)).image.mode == "RGB"
    except d.BadPicture as bad:
        assert bad.reason in d.Reason


@given(st.binary(max_size=400))
def test_random_bytes_are_findings(data: bytes) -> None:
    with pytest.raises(d.BadPicture):
        d.decode(data)


@pytest.mark.parametrize("code", range(1, 9))
def test_orientation_is_undone(code: int) -> None:
    upright = np.asarray(scene())
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[code]
    exif = Image.Exif()
    exif[0x0112] = code
    for form in ("PNG", "TIFF"):
        picture = d.decode(encoded(Image.fromarray(np.ascontiguousarray(turned)), form, exif=exif))
        np.testing.assert_array_equal(np.asarray(picture.image), upright)
        assert (picture.width, picture.height) == (40, 30)


def test_sixteen_bits_are_scaled_and_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 400).astype(np.uint16)[None].repeat(4, 0)
    grey = np.asarray(d.decode(encoded(Image.fromarray(ramp), "PNG")).image)[0, :, 0]
    assert len(np.unique(grey)) >= 250
    assert (grey[0], grey[-1]) == (0, 255)


def test_transparency_lies_over_white() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert np.asarray(d.decode(encoded(clear, "PNG")).image).min() == 255


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK", "F"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = scene().convert("L").convert(mode) if mode != "CMYK" else scene().convert("CMYK")
    form = "TIFF" if mode in ("CMYK", "F") else "PNG"
    assert d.decode(encoded(image, form)).image.mode == "RGB"


def test_a_large_jpeg_decoded_small_looks_the_same() -> None:
    data = encoded(scene(2000, 1500), "JPEG", quality=95)
    geometry = d.Geometry()
    whole = d.to_pixels(d.decode(data).image, geometry)
    quick = d.decode(data, wanted=geometry)
    assert quick.image.size != (2000, 1500)
    assert (quick.width, quick.height) == (2000, 1500)
    assert np.abs(d.to_pixels(quick.image, geometry).astype(int) - whole).mean() < 1.5


def test_a_bomb_is_refused_from_its_header() -> None:
    data = bytearray(encoded(Image.new("L", (8, 8)), "BMP"))
    data[18:26] = (60000).to_bytes(4, "little") + (60000).to_bytes(4, "little")
    with pytest.raises(d.BadPicture) as bad:
        d.decode(bytes(data))
    assert bad.value.reason is d.Reason.BOMB


def test_reasons(tmp_path: Path) -> None:
    def reason(data: bytes) -> str:
        with pytest.raises(d.BadPicture) as bad:
            d.decode(data)
        return bad.value.reason.value

    assert reason(b"") == "EMPTY"
    assert reason(b"hello, this is a text" * 9) == "NOT_IMAGE"
    assert reason(encoded(scene(), "JPEG")[:400]) == "TRUNCATED"
    assert reason(b"\x00\x00\x00\x18ftypheic" + bytes(40)) == "UNSUPPORTED"
    assert d.decode(encoded(scene(), "PNG"), "x.jpg").warning
    for path in (tmp_path, tmp_path / "missing.jpg"):
        with pytest.raises(d.BadPicture) as bad:
            d.read_bytes(path)
        assert bad.value.reason is d.Reason.UNREADABLE
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.jpg")
        with pytest.raises(d.BadPicture):
            d.read_bytes(tmp_path / "pipe.jpg")
