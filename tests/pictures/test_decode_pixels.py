"""I2: colours and orientation are right, against arrays computed here with numpy alone."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from corpus import encoded, exif_block, jpeg_with, png_chunk, png_file, tiff_file, tiff_picture
from numpy.typing import NDArray
from PIL import Image

from topwork.pictures.decode import Geometry, decode, to_pixels

Array = NDArray[np.uint8]
HEIGHT, WIDTH = 14, 22

Y, X = np.mgrid[0:HEIGHT, 0:WIDTH]
RGB = np.stack([X * 11, Y * 17, 255 - X * 5 - Y * 3], -1).astype(np.uint8)
GREY = (X * 7 + Y * 6).astype(np.uint8)
ALPHA = (X * 12 % 256).astype(np.uint8)
DEEP = (X * 2900 + Y * 150).astype(np.uint16)
PALETTE = np.stack([np.arange(256), 255 - np.arange(256), np.arange(256) * 7 % 256], -1).astype(np.uint8)
SMOOTH = np.stack([60 + X * 5, 80 + Y * 6, 120 + X * 2 + Y], -1).astype(np.uint8)


def three(grey: NDArray[np.generic]) -> Array:
    return np.repeat(np.asarray(grey).astype(np.uint8)[..., None], 3, -1)


def over_white(colour: Array, alpha: NDArray[np.generic]) -> Array:
    share = np.asarray(alpha)[..., None] / 255
    return np.rint(colour * share + 255 * (1 - share)).astype(np.uint8)


def rows(pixels: NDArray[np.generic]) -> bytes:
    """PNG rows, each behind a zero that means: no filter."""
    flat = np.ascontiguousarray(pixels).reshape(len(pixels), -1).view(np.uint8)
    return np.pad(flat, ((0, 0), (1, 0))).tobytes()


def packed(grey: NDArray[np.integer], bits: int) -> Array:
    """Rows of samples of 1, 2 or 4 bits."""
    single = (grey.astype(np.uint8)[..., None] >> np.arange(bits)[::-1]) & 1
    return np.packbits(single.reshape(len(grey), -1), axis=1)


Case = tuple[Callable[[NDArray[np.generic]], bytes], NDArray[np.generic], Callable[[NDArray[np.generic]], Array], float]
"""(how to encode an array, the array, what it must become, tolerance of the mean difference)."""


def png(bits: int, colours: int, *chunks: bytes) -> Callable[[NDArray[np.generic]], bytes]:
    def make(pixels: NDArray[np.generic]) -> bytes:
        height, width = pixels.shape[:2]
        if bits < 8:
            return png_file(width, height, bits, colours, rows(packed(pixels.astype(np.uint8), bits)), *chunks)
        return png_file(width, height, bits, colours, rows(pixels.astype(">u2") if bits == 16 else pixels), *chunks)

    return make


def tiff(
    photometric: int, bits: tuple[int, ...], dtype: str, order: str = "<", **more: tuple[int, int, int]
) -> Callable[..., bytes]:
    def make(pixels: NDArray[np.generic]) -> bytes:
        height, width = pixels.shape[:2]
        tags = {int(key[1:]): value for key, value in more.items()}
        return tiff_picture(pixels.astype(order + dtype).tobytes(), width, height, photometric, bits, order, tags)

    return make


def pillow(form: str, mode: str | None = None, **options: object) -> Callable[[NDArray[np.generic]], bytes]:
    def make(pixels: NDArray[np.generic]) -> bytes:
        image = Image.fromarray(np.ascontiguousarray(pixels))
        return encoded(image.convert(mode) if mode else image, form, **options)

    return make


def palette_png(pixels: NDArray[np.generic]) -> bytes:
    return png(8, 3, png_chunk(b"PLTE", PALETTE.tobytes()))(pixels)


def same(pixels: NDArray[np.generic]) -> Array:
    return pixels.astype(np.uint8)


def deep(pixels: NDArray[np.generic]) -> Array:
    return three(np.rint(pixels / 257))


def cmyk(pixels: NDArray[np.generic]) -> Array:
    inks = pixels.astype(float) / 255
    return np.rint(255 * (1 - inks[..., :3]) * (1 - inks[..., 3:])).astype(np.uint8)


def gif(pixels: NDArray[np.generic]) -> bytes:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.putpalette(PALETTE.tobytes())
    return encoded(image, "GIF", optimize=False)


def bmp(pixels: NDArray[np.generic]) -> bytes:
    return encoded(Image.fromarray(np.ascontiguousarray(pixels)), "BMP")


def high_byte(pixels: NDArray[np.generic]) -> Array:
    """What becomes of 16-bit colours: within one level of pixels / 257."""
    return (pixels.astype(np.uint32) >> 8).astype(np.uint8)


DEEP_RGB = np.stack([DEEP, 65535 - DEEP, DEEP // 3], -1)
CMYK = np.stack([X * 11, Y * 17, X * 3 + Y, Y * 5], -1).astype(np.uint8)
CLEAR_TABLE = (np.arange(256) * 3 % 256).astype(np.uint8)
INT32 = (DEEP.astype(np.int32)) * 1
FLOAT = (DEEP / 65535).astype(np.float32)

CASES: dict[str, Case] = {
    "PNG-RGB": (png(8, 2), RGB, same, 0),
    "PNG-L": (png(8, 0), GREY, three, 0),
    "PNG-L1": (png(1, 0), GREY >> 7, lambda a: three(a.astype(int) * 255), 0),
    "PNG-L2": (png(2, 0), GREY >> 6, lambda a: three(a.astype(int) * 85), 0),
    "PNG-L4": (png(4, 0), GREY >> 4, lambda a: three(a.astype(int) * 17), 0),
    "PNG-L16": (png(16, 0), DEEP, deep, 0),
    "PNG-RGB16": (png(16, 2), DEEP_RGB, high_byte, 0),
    "PNG-LA": (png(8, 4), np.stack([GREY, ALPHA], -1), lambda a: over_white(three(a[..., 0]), a[..., 1]), 0.6),
    "PNG-RGBA": (png(8, 6), np.dstack([RGB, ALPHA]), lambda a: over_white(a[..., :3].astype(np.uint8), a[..., 3]), 0.6),
    "PNG-RGBA16": (
        png(16, 6),
        np.dstack([DEEP_RGB, np.where(X % 2, 65535, 0)]),
        lambda a: np.where(a[..., 3:].astype(int) > 0, high_byte(a[..., :3]), 255).astype(np.uint8),
        0,
    ),
    "PNG-P": (palette_png, GREY, lambda a: PALETTE[a.astype(int)], 0),
    "PNG-P4": (
        png(4, 3, png_chunk(b"PLTE", PALETTE[:16].tobytes())),
        GREY >> 4,
        lambda a: PALETTE[a.astype(int)],
        0,
    ),
    "PNG-P-clear": (
        png(8, 3, png_chunk(b"PLTE", PALETTE.tobytes()), png_chunk(b"tRNS", CLEAR_TABLE.tobytes())),
        GREY,
        lambda a: over_white(PALETTE[a.astype(int)], CLEAR_TABLE[a.astype(int)]),
        0.6,
    ),
    "PNG-P-one-clear": (
        png(8, 3, png_chunk(b"PLTE", PALETTE.tobytes()), png_chunk(b"tRNS", b"\xff" * 9 + b"\0")),
        GREY,
        lambda a: np.where(a.astype(int)[..., None] == 9, 255, PALETTE[a.astype(int)]).astype(np.uint8),
        0,
    ),
    "PNG-L-clear": (png(8, 0, png_chunk(b"tRNS", b"\0\x2a")), GREY, lambda a: three(np.where(a == 42, 255, a)), 0),
    "PNG-L2-clear": (
        png(2, 0, png_chunk(b"tRNS", b"\0\1")),
        GREY >> 6,
        lambda a: three(np.where(a == 1, 255, a.astype(int) * 85)),
        0,
    ),
    "PNG-L1-clear": (png(1, 0, png_chunk(b"tRNS", b"\0\0")), GREY >> 7, lambda a: three(np.full(a.shape, 255)), 0),
    "PNG-L16-clear": (
        png(16, 0, png_chunk(b"tRNS", struct.pack(">H", 2900))),
        DEEP,
        lambda a: np.where((a == 2900)[..., None], 255, deep(a)).astype(np.uint8),
        0,
    ),
    "PNG-RGB-clear": (
        png(8, 2, png_chunk(b"tRNS", struct.pack(">3H", *RGB[3, 4].tolist()))),
        RGB,
        lambda a: np.where((a == RGB[3, 4]).all(-1, keepdims=True), 255, a).astype(np.uint8),
        0,
    ),
    "PNG-RGB16-clear": (
        png(16, 2, png_chunk(b"tRNS", struct.pack(">3H", *DEEP_RGB[3, 4].tolist()))),
        DEEP_RGB,
        lambda a: np.where((high_byte(a) == high_byte(DEEP_RGB[3, 4])).all(-1, keepdims=True), 255, high_byte(a)).astype(
            np.uint8
        ),
        0,
    ),
    "TIFF-RGB": (tiff(2, (8, 8, 8), "u1"), RGB, same, 0),
    "TIFF-RGB-big-endian": (tiff(2, (8, 8, 8), "u1", ">"), RGB, same, 0),
    "TIFF-L": (tiff(1, (8,), "u1"), GREY, three, 0),
    "TIFF-L-white-is-zero": (tiff(0, (8,), "u1"), GREY, lambda a: three(255 - a.astype(int)), 0),
    "TIFF-16": (tiff(1, (16,), "u2"), DEEP, deep, 0),
    "TIFF-16-big-endian": (tiff(1, (16,), "u2", ">"), DEEP, deep, 0),
    "TIFF-16-white-is-zero": (tiff(0, (16,), "u2"), DEEP, lambda a: (255 - deep(a)).astype(np.uint8), 0),
    "TIFF-RGB16": (tiff(2, (16, 16, 16), "u2"), DEEP_RGB, high_byte, 0),
    "TIFF-int": (tiff(1, (32,), "i4", t339=(3, 1, 2)), INT32, deep, 1),
    "TIFF-int-beyond-16-bits": (
        tiff(1, (32,), "i4", t339=(3, 1, 2)),
        INT32 * 1000,
        lambda a: three(np.rint(a / (INT32.max() * 1000) * 255)),
        1,
    ),
    "TIFF-float": (tiff(1, (32,), "f4", t339=(3, 1, 3)), FLOAT, lambda a: three(np.rint(a.astype(float) * 255)), 1),
    "TIFF-float-0-to-200": (
        tiff(1, (32,), "f4", t339=(3, 1, 3)),
        FLOAT * 200,
        lambda a: three(np.rint(a.astype(float) / float((FLOAT * 200).max()) * 255)),
        1,
    ),
    "TIFF-CMYK": (tiff(5, (8, 8, 8, 8), "u1"), CMYK, cmyk, 1),
    "TIFF-RGBA": (
        tiff(2, (8, 8, 8, 8), "u1", t338=(3, 1, 2)),
        np.dstack([RGB, ALPHA]),
        lambda a: over_white(a[..., :3].astype(np.uint8), a[..., 3]),
        0.6,
    ),
    "TIFF-LZW": (pillow("TIFF", compression="tiff_lzw"), RGB, same, 0),
    "TIFF-deflate": (pillow("TIFF", compression="tiff_adobe_deflate"), RGB, same, 0),
    "TIFF-fax": (pillow("TIFF", "1", compression="group4"), (GREY >> 7) * 255, three, 0),
    "BMP-RGB": (bmp, RGB, same, 0),
    "BMP-L": (bmp, GREY, three, 0),
    "GIF-P": (gif, GREY, lambda a: PALETTE[a.astype(int)], 0),
    "WEBP-lossless": (pillow("WEBP", lossless=True), RGB, same, 0),
    "WEBP-lossless-alpha": (
        pillow("WEBP", lossless=True, exact=True),
        np.dstack([RGB, ALPHA]),
        lambda a: over_white(a[..., :3].astype(np.uint8), a[..., 3]),
        0.6,
    ),
    "WEBP": (pillow("WEBP", quality=95), SMOOTH, same, 4),
    "JPEG-RGB": (pillow("JPEG", quality=97, subsampling=0), SMOOTH, same, 3),
    "JPEG-L": (pillow("JPEG", quality=97), GREY, three, 3),
    "JPEG-progressive": (pillow("JPEG", quality=97, subsampling=0, progressive=True), SMOOTH, same, 3),
    "JPEG-CMYK": (
        lambda a: encoded(Image.frombytes("CMYK", a.shape[1::-1], np.ascontiguousarray(a).tobytes()), "JPEG", quality=98),
        CMYK,
        cmyk,
        6,
    ),
}


def turned(array: NDArray[np.generic], code: int) -> NDArray[np.generic]:
    """What a camera stores when its EXIF orientation is `code` and the upright picture is `array`."""
    return {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a),
        7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }[code](array)


def with_orientation(data: bytes, code: int) -> bytes | None:
    """The file with an EXIF orientation; None where its format knows none."""
    if data.startswith(b"\xff\xd8"):
        return jpeg_with((0xE1, exif_block(code, ">")), data=data)
    if data.startswith(b"\x89PNG"):
        return data[:-12] + png_chunk(b"eXIf", exif_block(code)[6:]) + data[-12:]
    if data.startswith(b"RIFF"):
        exif = exif_block(code)[6:]
        chunk = b"EXIF" + struct.pack("<I", len(exif)) + exif + b"\0" * (len(exif) % 2)
        if data[12:16] == b"VP8X":
            body = data[12:20] + bytes([data[20] | 8]) + data[21:] + chunk
        else:
            picture = decode(data)
            size = (picture.width - 1).to_bytes(3, "little") + (picture.height - 1).to_bytes(3, "little")
            body = b"VP8X" + struct.pack("<II", 10, 8 | 16 * (data[12:16] == b"VP8L")) + size + data[12:] + chunk
        return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
    if data.startswith((b"II", b"MM")):  # one more tag at the end of a new table behind the file
        order = "<" if data[:1] == b"I" else ">"
        at = struct.unpack(order + "I", data[4:8])[0]
        count = struct.unpack(order + "H", data[at : at + 2])[0]
        cells = [data[at + 2 + 12 * k :][:12] for k in range(count)]
        cells.append(struct.pack(order + "HHIHH", 0x112, 3, 1, code, 0))
        cells.sort(key=lambda cell: struct.unpack(order + "H", cell[:2])[0])
        even = data + b"\0" * (len(data) % 2)
        table = struct.pack(order + "H", len(cells)) + b"".join(cells) + bytes(4)
        return even[:4] + struct.pack(order + "I", len(even)) + even[8:] + table
    return None


def test_there_are_cases_enough() -> None:
    assert len(CASES) >= 24


@pytest.mark.parametrize("name", CASES)
def test_golden_pixels_in_all_orientations(name: str) -> None:
    make, pixels, golden, tolerance = CASES[name]
    expected = golden(pixels).astype(int)
    for code in range(1, 9):
        plain = make(np.ascontiguousarray(turned(pixels, code)))
        data = with_orientation(plain, code)
        if data is None:  # BMP and GIF know no orientation
            data, expected_now = plain, turned(expected, code).astype(int)
        else:
            expected_now = expected
        picture = decode(data)
        got = np.asarray(picture.image).astype(int)
        assert got.shape == expected_now.shape
        assert (picture.width, picture.height) == got.shape[1::-1]
        difference = np.abs(got - expected_now)
        if tolerance == 0:
            np.testing.assert_array_equal(got, expected_now)
        elif tolerance <= 1:  # rounding
            assert difference.max() <= 1
        else:
            assert difference.mean() <= tolerance


@pytest.mark.parametrize("bits", ["PNG-L16", "TIFF-16", "TIFF-int", "TIFF-float"])
def test_a_ramp_keeps_its_levels(bits: str) -> None:
    make = CASES[bits][0]
    ramp = np.linspace(0, 65535, 2000).astype(np.uint16)[None].repeat(3, 0)
    values = {"TIFF-int": ramp.astype(np.int32), "TIFF-float": (ramp / 65535).astype(np.float32)}.get(bits, ramp)
    grey = np.asarray(decode(make(values)).image)[0, :, 0].astype(int)
    assert len(np.unique(grey)) >= 250
    assert (grey[0], grey[-1]) == (0, 255)
    assert (np.diff(grey) >= 0).all()
    assert np.abs(grey - np.rint(ramp[0] / 257)).max() <= 1


def test_twelve_bits_are_on_their_own_scale() -> None:
    values = np.arange(0, 4096, 64)[None].repeat(2, 0)  # an even width: two values in three bytes
    first, second = values[:, ::2], values[:, 1::2]
    data = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1).astype(np.uint8).tobytes()
    got = np.asarray(decode(tiff_picture(data, 64, 2, 1, (12,))).image)[0, :, 0].astype(int)
    np.testing.assert_array_equal(got, np.rint(values[0] / 4095 * 255))


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
def test_the_first_of_several_frames_counts(form: str) -> None:
    frames = [Image.fromarray(np.full((10, 12, 3), value, np.uint8)) for value in (0, 102, 255)]
    options: dict[str, object] = {"lossless": True} if form == "WEBP" else {}
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:], **options)
    assert np.asarray(decode(data).image).max() <= 2


def test_a_png_animation_with_another_still_picture_shows_the_still_one() -> None:
    black, white = rows(np.zeros((4, 4, 3), np.uint8)), rows(np.full((4, 4, 3), 255, np.uint8))
    control = png_chunk(b"fcTL", struct.pack(">5I2H2B", 0, 4, 4, 0, 0, 1, 1, 0, 0))
    still = png_file(4, 4, 8, 2, black, png_chunk(b"acTL", struct.pack(">II", 1, 0)))
    data = still[:-12] + control + png_chunk(b"fdAT", struct.pack(">I", 1) + zlib.compress(white)) + still[-12:]
    assert np.asarray(decode(data).image).max() == 0


def test_gif_transparency_is_white() -> None:
    image = Image.fromarray(GREY)
    image.putpalette(PALETTE.tobytes())
    got = np.asarray(decode(encoded(image, "GIF", transparency=42, optimize=False)).image)
    np.testing.assert_array_equal(got, np.where(GREY[..., None] == 42, 255, PALETTE[GREY]))


def test_tiff_in_tiles_and_in_big_form() -> None:
    pixels = np.arange(32 * 32, dtype=np.uint32).reshape(32, 32).astype(np.uint8)
    tiles = [pixels[y : y + 16, x : x + 16].tobytes() for y in (0, 16) for x in (0, 16)]
    tags = {256: (3, 1, 32), 257: (3, 1, 32), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 277: (3, 1, 1)}
    tags |= {322: (3, 1, 16), 323: (3, 1, 16)}
    place = 8 + 2 + 12 * 10 + 4 + 32
    offsets = struct.pack("<4I", *(place + 256 * k for k in range(4)))
    data = tiff_file({**tags, 324: (4, 4, offsets), 325: (4, 4, struct.pack("<4I", *[256] * 4))}, b"".join(tiles))
    np.testing.assert_array_equal(np.asarray(decode(data).image), three(pixels))
    big = encoded(Image.fromarray(RGB), "TIFF", big_tiff=True)
    assert big[2] == 43
    np.testing.assert_array_equal(np.asarray(decode(big).image), RGB)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [3, 4])
def test_orientation_in_either_byte_order_and_width(order: str, kind: int) -> None:
    data = jpeg_with((0xE0, b"JFIF\0"), (0xE1, exif_block(6, order, kind, padding=50)))
    assert decode(data).image.size == (36, 48)


def test_a_second_exif_block_and_other_segments_do_not_confuse() -> None:
    data = jpeg_with((0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>"), (0xE1, exif_block(8)), (0xE1, exif_block(1)))
    assert decode(data).image.size == (36, 48)


def photo_like(width: int, height: int) -> Image.Image:
    """Smooth shapes with fine grain."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    base = np.stack([np.sin(x / 90) + np.cos(y / 70), np.sin((x + y) / 120), np.cos(x / 200) * np.sin(y / 60)], -1)
    grain = np.random.default_rng(0).normal(0, 6, (height, width, 1)).astype(np.float32)
    return Image.fromarray(np.clip(128 + 55 * base + grain, 0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("width", "height", "code", "progressive", "mode", "drafted"),
    [
        (2400, 1800, 1, False, "RGB", True),
        (2400, 1800, 6, False, "RGB", True),
        (1800, 2400, 5, True, "RGB", True),
        (2401, 1799, 3, True, "L", True),
        (1100, 1030, 8, False, "RGB", True),
        (5000, 300, 1, False, "RGB", False),
        (300, 5000, 7, True, "RGB", False),
        (6000, 1030, 2, False, "L", True),
    ],
)
def test_decoding_small_agrees_with_decoding_whole(
    width: int, height: int, code: int, progressive: bool, mode: str, drafted: bool
) -> None:
    image = photo_like(width, height).convert(mode)
    data = jpeg_with((0xE1, exif_block(code)), data=encoded(image, "JPEG", quality=92, progressive=progressive))
    whole = decode(data)
    for geometry in (Geometry(), Geometry(mode="squash", crop=1.0)):
        small = decode(data, wanted=geometry)
        assert (small.width, small.height) == (whole.width, whole.height) == whole.image.size
        assert (small.image.size != whole.image.size) == drafted
        assert min(small.image.size) >= min(2 * geometry.size, *whole.image.size)
        difference = np.abs(to_pixels(small.image, geometry).astype(int) - to_pixels(whole.image, geometry))
        assert difference.mean() < 1.0
        assert np.percentile(difference, 99) <= 6


def test_crop_and_squash_keep_what_they_say() -> None:
    image = Image.fromarray(np.arange(160, dtype=np.uint8)[None, :, None].repeat(80, 0).repeat(3, 2))
    middle = to_pixels(image, Geometry(size=40, crop=1.0, interpolation="nearest"))
    assert (middle[0, 0, 0], middle[0, -1, 0]) == (41, 119)  # the centred 80 x 80
    half = to_pixels(image, Geometry(size=40, crop=0.5, interpolation="nearest"))
    assert (half[0, 0, 0], half[0, -1, 0]) == (60, 99)
    squashed = to_pixels(image, Geometry(size=40, crop=1.0, mode="squash", interpolation="nearest"))
    assert (squashed[0, 0, 0], squashed[0, -1, 0]) == (2, 158)
