"""Broken and odd picture files, drawn here: what each may become, a reason code or "ok"."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
SUFFIX = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "BMP": "bmp", "GIF": "gif", "TIFF": "tif"}
OK = {"ok"}
ANY = {"ok", "CORRUPT", "TRUNCATED"}
BROKEN = {"CORRUPT", "TRUNCATED"}


def noise(width: int = 48, height: int = 36, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    out = io.BytesIO()
    # A copy, for Pillow leaves the settings of one encoder on the picture, where the next one stumbles over them.
    options = {key: [i.copy() for i in value] if isinstance(value, list) else value for key, value in options.items()}
    image.copy().save(out, form, **options)
    return out.getvalue()


def png_chunk(kind: bytes, value: bytes) -> bytes:
    return struct.pack(">I4s", len(value), kind) + value + struct.pack(">I", zlib.crc32(kind + value))


def png_file(width: int, height: int, bits: int, colours: int, rows: bytes, *chunks: bytes, interlace: int = 0) -> bytes:
    """A PNG from its raw rows, each with its filter byte."""
    header = struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, interlace)
    body = b"".join(chunks) + png_chunk(b"IDAT", zlib.compress(rows, 9))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + body + png_chunk(b"IEND", b"")


def png_with(*chunks: bytes) -> bytes:
    plain = encoded(noise(), "PNG")
    return plain[:33] + b"".join(chunks) + plain[33:]


Tag = tuple[int, int, bytes | int]


def tiff_file(tags: dict[int, Tag], body: bytes = b"", order: str = "<", at: int = 8, following: int = 0) -> bytes:
    """A TIFF from {tag: (type, count, value)}; bytes longer than 4 are stored behind the table, before `body`."""
    behind = at + 2 + 12 * len(tags) + 4
    table, stored = struct.pack(order + "H", len(tags)), b""
    for tag, (kind, count, value) in sorted(tags.items()):
        if isinstance(value, bytes):
            cell = value.ljust(4, b"\0") if len(value) <= 4 else struct.pack(order + "I", behind + len(stored))
            stored += value if len(value) > 4 else b""
        else:
            cell = struct.pack(order + "HH", value, 0) if kind == 3 else struct.pack(order + "I", value)
        table += struct.pack(order + "HHI", tag, kind, count) + cell
    head = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, at)
    return head.ljust(at, b"\0") + table + struct.pack(order + "I", following) + stored + body


def tiff_body_place(tags: dict[int, Tag]) -> int:
    """Where `body` will begin in tiff_file with these tags and two more."""
    stored = sum(len(value) for _, _, value in tags.values() if isinstance(value, bytes) and len(value) > 4)
    return 8 + 2 + 12 * (len(tags) + 2) + 4 + stored


def tiff_picture(
    pixels: bytes,
    width: int,
    height: int,
    photometric: int,
    bits: tuple[int, ...],
    order: str = "<",
    more: dict[int, Tag] | None = None,
) -> bytes:
    """A TIFF of one strip of `pixels`."""
    tags: dict[int, Tag] = {
        256: (4, 1, width),
        257: (4, 1, height),
        258: (3, len(bits), struct.pack(f"{order}{len(bits)}H", *bits)),
        259: (3, 1, 1),
        262: (3, 1, photometric),
        277: (3, 1, len(bits)),
        278: (4, 1, height),
        **(more or {}),
    }
    place = tiff_body_place(tags)
    return tiff_file({**tags, 273: (4, 1, place), 279: (4, 1, len(pixels))}, pixels, order)


def jpeg_with(*segments: tuple[int, bytes], data: bytes | None = None) -> bytes:
    """A JPEG with (marker, value) segments right behind its first two bytes."""
    plain = data or encoded(noise(), "JPEG")
    added = b"".join(struct.pack(">BBH", 0xFF, marker, len(value) + 2) + value for marker, value in segments)
    return plain[:2] + added + plain[2:]


def exif_block(orientation: int, order: str = "<", kind: int = 3, padding: int = 0) -> bytes:
    return b"Exif\0\0" + tiff_file({0x112: (kind, 1, orientation)}, bytes(padding), order)


def hungry_tags(entries: int, size: int) -> dict[int, Tag]:
    """Tags that each claim the same `size` bytes of the file: a megabyte becomes gigabytes in a reader that keeps them."""
    stuff: dict[int, Tag] = {}
    for number in range(entries):
        stuff[1000 + number] = (7, size, struct.pack("<I", 8))
    return stuff


def _hungry_block(entries: int, size: int) -> bytes:
    head = struct.pack("<2sHIH", b"II", 42, 8, entries)
    cells = b"".join(struct.pack("<HHII", 1000 + number, 7, size, 8) for number in range(entries))
    return (head + cells + bytes(4)).ljust(size + 8, b"\0")


def resized_header(form: str, width: int, height: int) -> bytes:
    """A small file of each format whose header claims another size."""
    data = bytearray(encoded(noise(), form))
    if form == "JPEG":
        at = data.find(b"\xff\xc0")
        data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    elif form == "PNG":
        return png_file(width, height, 8, 2, bytes(5000))
    elif form == "BMP":
        data[18:26] = struct.pack("<ii", width, height)
    elif form == "GIF":
        at = data.find(b",", 13 + 768)
        data[6:10] = data[at + 5 : at + 9] = struct.pack("<HH", width, height)
    elif form == "TIFF":
        return tiff_picture(bytes(300), width, height, 2, (8, 8, 8))
    else:
        vp8x = struct.pack("<4sII", b"VP8X", 10, 0) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        body = b"WEBP" + vp8x + bytes(data[12:])
        return b"RIFF" + struct.pack("<I", len(body)) + body
    return bytes(data)


def _tiled(side: int, level: int = 1) -> bytes:
    packed = zlib.compress(bytes(side * side * 3), level)
    tags: dict[int, Tag] = {
        256: (3, 1, 64),
        257: (3, 1, 64),
        258: (3, 3, struct.pack("<3H", 8, 8, 8)),
        259: (3, 1, 8),
        262: (3, 1, 2),
        277: (3, 1, 3),
        322: (4, 1, side),
        323: (4, 1, side),
    }
    return tiff_file({**tags, 324: (4, 1, tiff_body_place(tags)), 325: (4, 1, len(packed))}, packed)


def _fat_strip(rows_per_strip: int) -> bytes:
    packed = zlib.compress(bytes(100_000_000), 1)
    more: dict[int, Tag] = {259: (3, 1, 8), 278: (4, 1, rows_per_strip)}
    return tiff_picture(packed, 64, 64, 2, (8, 8, 8), more=more)


def _many_scans() -> bytes:
    data = encoded(Image.new("RGB", (3000, 3000), "grey"), "JPEG", progressive=True)
    last = data.rfind(b"\xff\xda")
    return data[:-2] + data[last:-2] * 3000 + data[-2:]


def _wide_texts() -> list[bytes]:
    """Sixty texts of a million letters, each 4 bytes wide once decoded."""
    text = zlib.compress(b"a" * (2**20 - 4) + "\U0001f600".encode(), 1)
    return [png_chunk(b"iTXt", b"k%d\0\1\0\0\0" % number + text) for number in range(60)]


def bombs() -> dict[str, tuple[Callable[[], bytes], set[str]]]:
    """Small files that a careless reader turns into gigabytes or minutes: name -> (how to make it, what may become of it).

    "ok" stands where the picture itself is sound and the bomb lies in what a reader may leave aside.
    """
    hungry = _hungry_block(3000, 2**20)
    parts = [(0xE1, b"Exif\0\0" + hungry[at : at + 65000]) for at in range(0, len(hungry), 65000)]
    no_density = encoded(noise(), "JPEG")
    no_density = no_density[:2] + no_density[20:]  # without JFIF, a reader looks for the resolution in EXIF
    refused = {"BOMB"}
    found: dict[str, tuple[Callable[[], bytes], set[str]]] = {}
    for form in FORMATS:
        side = 16_383 if form == "WEBP" else 65_500
        found[f"{form}-side"] = (lambda form=form, side=side: resized_header(form, side, side)), refused
        found[f"{form}-within-the-cap"] = (lambda form=form: resized_header(form, 10_900, 10_900)), refused
    return found | {
        "PNG-4-thousand-million": (lambda: resized_header("PNG", 2**31 - 1, 2**31 - 1), {"BOMB"}),
        "BMP-upside-down": (lambda: resized_header("BMP", 30_000, -30_000), refused),
        "WEBP-solid": (lambda: encoded(Image.new("RGB", (5000, 5000)), "WEBP", lossless=True, method=0), refused),
        "TIFF-blank-fax": (lambda: encoded(Image.new("1", (5000, 5000), 1), "TIFF", compression="group4"), refused),
        "TIFF-fat-tile": (lambda: _tiled(6000), refused),
        "TIFF-fat-strip": (lambda: _fat_strip(64), ANY),
        "TIFF-endless-strip": (lambda: _fat_strip(2**31 - 1), ANY),
        "TIFF-hungry-tags": (lambda: tiff_picture(bytes(2**20), 64, 64, 2, (8, 8, 8), more=hungry_tags(3000, 2**20)), OK),
        "TIFF-million-strips": (
            lambda: tiff_file({**_RGB_TAGS, 273: (4, 2**20, 8), 279: (4, 2**20, 8)}, bytes(2**22)),
            refused,
        ),
        "JPEG-scans": (_many_scans, refused),
        "JPEG-hungry-exif": (lambda: jpeg_with((0xE1, b"Exif\0\0" + _hungry_block(2600, 30_000)), data=no_density), OK),
        "JPEG-hungry-exif-in-parts": (lambda: jpeg_with(*parts, data=no_density), OK),
        "PNG-hungry-exif": (lambda: png_with(png_chunk(b"eXIf", hungry)), OK),
        "PNG-text": (lambda: png_with(png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(50_000_000), 1))), OK),
        "PNG-international-text": (lambda: png_with(*_wide_texts()), OK),
        "PNG-profile": (lambda: png_with(png_chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(50_000_000), 1))), OK),
    }


_RGB_TAGS: dict[int, Tag] = {
    256: (3, 1, 64),
    257: (3, 1, 64),
    258: (3, 3, struct.pack("<3H", 8, 8, 8)),
    259: (3, 1, 1),
    262: (3, 1, 2),
    277: (3, 1, 3),
}


def _flipped(data: bytes, *places: float) -> bytes:
    changed = bytearray(data)
    for place in places:
        changed[int(place * len(data))] ^= 0xFF
    return bytes(changed)


def _contents() -> list[tuple[str, bytes, set[str]]]:
    """(file name, contents, what may become of it)."""
    good = {form: encoded(noise(), form) for form in FORMATS}
    jpeg, png, gif, tiff, webp, bmp = (good[form] for form in ("JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"))
    grey = np.arange(48 * 36, dtype=np.uint16).reshape(36, 48) * 37
    frames = [noise(seed=seed) for seed in (1, 2, 3)]
    huffman = jpeg.find(b"\xff\xc4")
    scan = jpeg.find(b"\xff\xda")
    first_bits = gif.find(b",", 13 + 768) + 10
    no_palette = png_file(4, 4, 8, 3, bytes(20))
    files: list[tuple[str, bytes, set[str]]] = [
        # not pictures at all
        ("empty.jpg", b"", {"EMPTY"}),
        ("one-byte.jpg", b"\xff", {"TRUNCATED"}),
        ("text.jpg", b"I am a text, not a picture.\n" * 40, {"NOT_IMAGE"}),
        ("short-text.jpg", b"hi\n", {"NOT_IMAGE"}),
        ("page.jpg", b"<!DOCTYPE html><html><body>404 Not Found</body></html>", {"NOT_IMAGE"}),
        ("bmw.bmp", b"BMW is a maker of cars. This text begins with the letters of a bitmap." * 3, {"NOT_IMAGE"}),
        ("zeros.jpg", bytes(5000), {"CORRUPT"}),
        ("ones.png", b"\xff" * 5000, {"NOT_IMAGE"}),
        ("program.png", b"\x7fELF" + bytes(range(256)) * 4, {"NOT_IMAGE"}),
        ("archive.jpg", b"PK\x03\x04" + bytes(range(200)), {"NOT_IMAGE"}),
        # formats that are not read
        ("phone.heic", b"\x00\x00\x00\x18ftypheic" + bytes(100), {"UNSUPPORTED"}),
        ("phone2.heic", b"\x00\x00\x00\x18ftypmif1" + bytes(100), {"UNSUPPORTED"}),
        ("new.avif", b"\x00\x00\x00\x1cftypavif" + bytes(100), {"UNSUPPORTED"}),
        ("film.jpg", b"\x00\x00\x00\x1cftypisom" + bytes(100), {"UNSUPPORTED"}),
        ("wavelet.jp2", b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(100), {"UNSUPPORTED"}),
        ("layers.psd", b"8BPS\x00\x01" + bytes(100), {"UNSUPPORTED"}),
        ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", {"UNSUPPORTED"}),
        ("drawing2.svg", b"<?xml version='1.0'?><svg/>", {"UNSUPPORTED"}),
        ("paper.pdf", b"%PDF-1.7\n" + bytes(100), {"UNSUPPORTED"}),
        ("icon.ico", b"\x00\x00\x01\x00\x01\x00" + bytes(100), {"UNSUPPORTED"}),
        ("plain.ppm", b"P6\n4 4\n255\n" + bytes(48), {"UNSUPPORTED"}),
        ("render.exr", b"\x76\x2f\x31\x01" + bytes(100), {"UNSUPPORTED"}),
        # JPEG
        ("jpeg-only-start.jpg", b"\xff\xd8\xff\xe0", {"TRUNCATED"}),
        ("jpeg-no-frame.jpg", b"\xff\xd8\xff\xd9" + bytes(20), BROKEN),
        ("jpeg-scan-without-frame.jpg", b"\xff\xd8\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + bytes(90), BROKEN),
        ("jpeg-huffman.jpg", jpeg[: huffman + 5] + b"\xff" * 40 + jpeg[huffman + 45 :], ANY),
        ("jpeg-no-huffman.jpg", jpeg[:huffman] + jpeg[scan:], ANY),
        ("jpeg-quantisation.jpg", jpeg.replace(b"\xff\xdb\x00\x43\x00", b"\xff\xdb\x00\x43\x07"), ANY),
        ("jpeg-body-flipped.jpg", _flipped(jpeg, 0.5, 0.6, 0.7, 0.8), ANY),
        ("jpeg-body-random.jpg", jpeg[: scan + 20] + np.random.default_rng(3).bytes(3000), ANY),
        ("jpeg-zero-tail.jpg", encoded(noise(200, 200), "JPEG")[:9000] + bytes(20_000), {"TRUNCATED"}),
        ("jpeg-zero-height.jpg", resized_header("JPEG", 48, 0), BROKEN),
        ("jpeg-arithmetic.jpg", jpeg.replace(b"\xff\xc0", b"\xff\xc9"), {"ok", "CORRUPT", "TRUNCATED", "UNSUPPORTED"}),
        ("jpeg-lossless.jpg", jpeg.replace(b"\xff\xc0", b"\xff\xc3"), {"ok", "CORRUPT", "TRUNCATED", "UNSUPPORTED"}),
        ("jpeg-12-bit.jpg", jpeg.replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c"), {"UNSUPPORTED"}),
        ("jpeg-2-colours.jpg", jpeg.replace(b"\x00\x24\x00\x30\x03", b"\x00\x24\x00\x30\x02"), {"UNSUPPORTED"}),
        ("jpeg-two-frames.jpg", jpeg[:scan] + jpeg[jpeg.find(b"\xff\xc0") :], ANY),
        ("jpeg-junk-between.jpg", jpeg[:20] + b"junk" + jpeg[20:], OK),
        ("jpeg-padded.jpg", jpeg[:20] + b"\xff" * 40 + jpeg[20:], OK),
        ("jpeg-long-segment.jpg", jpeg[:2] + b"\xff\xe5\xff\xff" + jpeg[2:], BROKEN),
        ("jpeg-trailing.jpg", jpeg + b"\xff\xda" * 5000, OK),
        ("jpeg-cmyk.jpg", encoded(noise().convert("CMYK"), "JPEG"), OK),
        ("jpeg-grey.jpg", encoded(noise().convert("L"), "JPEG"), OK),
        ("jpeg-progressive.jpg", encoded(noise(), "JPEG", progressive=True), OK),
        ("jpeg-mpo.jpg", encoded(frames[0], "MPO", save_all=True, append_images=frames[1:]), OK),
        ("jpeg-exif-random.jpg", jpeg_with((0xE1, b"Exif\0\0" + np.random.default_rng(1).bytes(300))), OK),
        ("jpeg-exif-empty.jpg", jpeg_with((0xE1, b"Exif\0\0")), OK),
        ("jpeg-exif-far.jpg", jpeg_with((0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff")), OK),
        ("jpeg-exif-circle.jpg", jpeg_with((0xE1, b"Exif\0\0" + tiff_file({0x8769: (4, 1, 8)}, following=8))), OK),
        ("jpeg-exif-99.jpg", jpeg_with((0xE1, exif_block(99))), OK),
        ("jpeg-exif-huge-count.jpg", jpeg_with((0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(40))), OK),
        ("jpeg-icc.jpg", jpeg_with((0xE2, b"ICC_PROFILE\0\x01\x01" + b"rubbish" * 20)), OK),
        ("jpeg-icc-part.jpg", jpeg_with((0xE2, b"ICC_PROFILE\0\x01\x09" + b"rubbish" * 20)), OK),
        ("jpeg-photoshop.jpg", jpeg_with((0xED, b"Photoshop 3.0\x008BIM\x04\x04\xff")), OK),
        ("jpeg-mpf.jpg", jpeg_with((0xE2, b"MPF\0" + np.random.default_rng(2).bytes(90))), OK),
        # PNG
        ("png-no-data.png", png[:33], {"TRUNCATED"}),
        ("png-no-end.png", png[:-12], ANY),
        ("png-header-crc.png", png[:29] + b"\0\0\0\0" + png[33:], {"CORRUPT"}),
        ("png-zlib.png", png[:60] + b"\xff" * 200 + png[260:], BROKEN),
        ("png-zero-width.png", png_file(0, 4, 8, 2, bytes(52)), {"CORRUPT"}),
        ("png-mode.png", png_file(4, 4, 7, 5, bytes(52)), BROKEN | {"UNSUPPORTED"}),
        ("png-few-rows.png", png_file(40, 40, 8, 2, bytes(100)), BROKEN),
        ("png-no-palette.png", no_palette, ANY),
        ("png-short-palette.png", png_file(4, 1, 8, 3, b"\0\0\1\2\xff", png_chunk(b"PLTE", b"\xff\0\0")), ANY),
        ("png-huge-palette.png", png_file(4, 1, 8, 3, b"\0\0\1\2\xff", png_chunk(b"PLTE", bytes(3000))), ANY),
        ("png-odd-palette.png", png_file(4, 1, 8, 3, b"\0\0\1\2\xff", png_chunk(b"PLTE", bytes(7))), ANY),
        ("png-short-clear.png", png_file(4, 1, 8, 2, bytes(13), png_chunk(b"tRNS", b"\0")), BROKEN | {"ok"}),
        ("png-no-chunk-name.png", png[:33] + b"\0\0\0\1????" + png[33:], BROKEN),
        ("png-chunk-past-end.png", png[:33] + b"\x7f\xff\xff\xffIDAT" + png[41:], ANY),
        ("png-bad-text.png", png_with(png_chunk(b"zTXt", b"\xff\xfe\0\7\7"), png_chunk(b"iTXt", b"\xff")), OK),
        ("png-exif.png", png_with(png_chunk(b"eXIf", np.random.default_rng(1).bytes(200))), OK),
        ("png-icc.png", png_with(png_chunk(b"iCCP", b"name\0\x09garbage")), OK),
        ("png-animated.png", encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]), OK),
        ("png-bad-animation.png", png_with(png_chunk(b"acTL", b"\0\0\0\0\0\0\0\0"), png_chunk(b"fcTL", bytes(26))), OK),
        ("png-16-bit.png", encoded(Image.fromarray(grey), "PNG"), OK),
        ("png-1-bit.png", encoded(noise().convert("1"), "PNG"), OK),
        ("png-one-pixel.png", encoded(noise(1, 1), "PNG"), OK),
        ("png-trailing.png", png + b"something else" * 100, OK),
        # GIF
        ("gif-only-header.gif", gif[:13], {"TRUNCATED"}),
        ("gif-no-frame.gif", gif[: 13 + 768] + b";", {"CORRUPT"}),
        ("gif-lzw.gif", gif[: first_bits + 2] + b"\xff" * 200 + gif[first_bits + 202 :], ANY),
        ("gif-lzw-start.gif", gif[:first_bits] + b"\x63" + gif[first_bits + 1 :], BROKEN),
        ("gif-zero.gif", resized_header("GIF", 0, 0), {"CORRUPT"}),
        ("gif-frame-outside.gif", gif.replace(b",\0\0\0\0\x30\0\x24\0", b",\x40\0\x40\0\x30\0\x24\0"), ANY),
        ("gif-many-frames.gif", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), OK),
        ("gif-comments.gif", gif[: 13 + 768] + (b"!\xfe\xff" + b"c" * 255 + b"\0") * 4000 + gif[13 + 768 :], OK),
        ("gif-junk.gif", gif[: 13 + 768] + b"junk" * 20 + gif[13 + 768 :], ANY),
        # TIFF
        ("tiff-only-header.tif", tiff[:8], BROKEN),
        ("tiff-table-outside.tif", b"II*\0\xf0\xff\xff\x7f" + bytes(100), BROKEN),
        ("tiff-table-in-itself.tif", b"II*\0\x00\0\0\0" + bytes(100), BROKEN | {"UNSUPPORTED"}),
        ("tiff-circle.tif", tiff_file({**_RGB_TAGS, 273: (4, 1, 8), 279: (4, 1, 64)}, bytes(13_000), following=8), OK),
        ("tiff-huge-count.tif", tiff_file({**_RGB_TAGS, 273: (4, 2**31, 8)}, bytes(13_000)), BROKEN | {"BOMB"}),
        ("tiff-65535-tags.tif", b"II*\0\x08\0\0\0\xff\xff" + bytes(500), BROKEN | {"UNSUPPORTED"}),
        ("tiff-no-size.tif", tiff_file({258: (3, 1, 8)}, bytes(100)), BROKEN | {"UNSUPPORTED"}),
        ("tiff-zero-size.tif", tiff_picture(b"", 0, 0, 2, (8, 8, 8)), BROKEN),
        ("tiff-text-size.tif", tiff_picture(bytes(90), 4, 4, 2, (8, 8, 8), more={256: (2, 4, b"four")}), BROKEN),
        ("tiff-99-samples.tif", tiff_picture(bytes(900), 4, 4, 2, (8,) * 99), {"UNSUPPORTED"}),
        ("tiff-64-bit.tif", tiff_picture(bytes(128), 4, 4, 1, (64,)), {"UNSUPPORTED"}),
        (
            "tiff-compression.tif",
            tiff_picture(bytes(90), 4, 4, 2, (8, 8, 8), more={259: (3, 1, 4711)}),
            BROKEN | {"UNSUPPORTED"},
        ),
        ("tiff-zlib.tif", tiff_picture(b"rubbish" * 9, 4, 4, 2, (8, 8, 8), more={259: (3, 1, 8)}), BROKEN),
        ("tiff-lzma.tif", tiff_picture(b"rubbish" * 9, 4, 4, 2, (8, 8, 8), more={259: (3, 1, 34925)}), {"UNSUPPORTED"}),
        ("tiff-strip-outside.tif", tiff_file({**_RGB_TAGS, 273: (4, 1, 10**9), 279: (4, 1, 64)}, bytes(99)), BROKEN),
        ("tiff-lab.tif", tiff_picture(bytes(48), 4, 4, 8, (8, 8, 8)), {"ok", "UNSUPPORTED"}),
        ("tiff-pages.tif", encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]), OK),
        ("tiff-lzw.tif", encoded(noise(), "TIFF", compression="tiff_lzw"), OK),
        ("tiff-jpeg.tif", encoded(noise(), "TIFF", compression="jpeg"), OK),
        ("tiff-float.tif", encoded(Image.fromarray(grey.astype(np.float32)), "TIFF"), OK),
        ("tiff-not-a-number.tif", encoded(Image.fromarray(np.full((4, 4), np.nan, np.float32)), "TIFF"), OK),
        (
            "tiff-float-limits.tif",
            encoded(Image.fromarray(np.array([[3.4e38, -3.4e38], [np.inf, -np.inf]], np.float32)), "TIFF"),
            OK,
        ),
        # BMP
        ("bmp-only-header.bmp", bmp[:14], BROKEN),
        ("bmp-header-length.bmp", bmp[:16] + b"\xff\xff" + bmp[18:], BROKEN | {"UNSUPPORTED"}),
        ("bmp-zero.bmp", resized_header("BMP", 0, 0), BROKEN),
        ("bmp-negative.bmp", resized_header("BMP", -48, 36), BROKEN | {"BOMB"}),
        ("bmp-bits.bmp", bmp[:28] + b"\x05" + bmp[29:], BROKEN | {"UNSUPPORTED"}),
        ("bmp-compression.bmp", bmp[:30] + b"\x63" + bmp[31:], BROKEN | {"UNSUPPORTED"}),
        (
            "bmp-colours.bmp",
            (p := encoded(noise().convert("P"), "BMP"))[:46] + b"\xff\xff\xff\x7f" + p[50:],
            BROKEN | {"UNSUPPORTED"},
        ),
        # WebP
        ("webp-only-header.webp", webp[:16], {"TRUNCATED"}),
        ("webp-other-riff.webp", b"RIFF\x24\0\0\0WAVEfmt " + bytes(30), {"NOT_IMAGE"}),
        ("webp-body.webp", _flipped(webp, 0.2, 0.25, 0.3, 0.5), ANY),
        ("webp-kind.webp", webp.replace(b"VP8 ", b"VP9 "), {"CORRUPT"}),
        ("webp-animated.webp", encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:]), OK),
        ("webp-exif.webp", encoded(noise(), "WEBP", exif=b"Exif\0\0" + np.random.default_rng(1).bytes(99)), OK),
        # right contents, wrong name
        ("named-wrong.png", jpeg, OK),
        ("named-wrong.jpg", webp, OK),
        ("nameless", png, OK),
        ("two-dots..JPG", jpeg, OK),
    ]
    for form, data in good.items():
        for number, share in enumerate((0.02, 0.1, 0.35, 0.6, 0.9, 0.99)):
            cut = data[: max(3, int(share * len(data)))]
            files.append((f"cut-{number}.{SUFFIX[form]}", cut, BROKEN | ({"NOT_IMAGE"} if len(cut) < 12 else set())))
    return files


def broken_files(folder: Path) -> list[tuple[Path, set[str]]]:
    """Write every kind into `folder`: (path, what may become of it: reason codes, or "ok" for a picture that is read)."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, data, outcomes in _contents():
        (folder / name).write_bytes(data)
        written.append((folder / name, outcomes))
    unreadable = {"UNREADABLE"}
    (folder / "directory.jpg").mkdir()
    written += [(folder / "directory.jpg", unreadable), (folder / "missing.jpg", unreadable)]
    with open(folder / "large.jpg", "wb") as file:  # takes no room: a hole
        file.write(b"\xff\xd8\xff")
        file.truncate(300 * 2**20)
    written.append((folder / "large.jpg", {"TOO_LARGE"}))
    if os.name == "posix":
        os.mkfifo(folder / "pipe.jpg")
        (folder / "broken-link.jpg").symlink_to(folder / "nowhere.jpg")
        (folder / "link-to-itself.jpg").symlink_to(folder / "link-to-itself.jpg")
        written += [(folder / name, unreadable) for name in ("pipe.jpg", "broken-link.jpg", "link-to-itself.jpg")]
        if os.geteuid() != 0:
            (folder / "locked.jpg").write_bytes(b"\xff\xd8\xff")
            (folder / "locked.jpg").chmod(0)
            written.append((folder / "locked.jpg", unreadable))
    return written
