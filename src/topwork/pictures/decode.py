"""The one way from a file's bytes to pixels; every route uses it: fit, predict, score, embed, serve, attack.

Size cap, format by its first bytes and an allow-list, pixel cap read from the header, full load, EXIF orientation, a stated
conversion to 8-bit RGB, then crop and resize in one pass. What cannot be used raises BadPicture with a reason code.

The decoder is handed only what makes pixels: texts, profiles and EXIF blocks are left out first, because small files hide
large things there, and a damaged comment must not cost a sound picture. The orientation, all that is wanted of EXIF, is
read here.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import stat
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

Pixels = NDArray[np.uint8]

DECODER_VERSION = 1
"""Part of the store's key: raise it when the same bytes give other pixels."""

MAX_BYTES = 256 * 2**20
"""A larger file is not read at all."""

MAX_PIXELS = 120_000_000
"""More pixels than this in the header, and the picture is not decoded (a 108-megapixel phone photo still is)."""

MAX_SIDE = 60_000
"""Longer than this on one side, and the picture is not decoded."""

FREE_PIXELS = 2**24
"""Up to here a picture costs at most 64 MiB, however small its file is."""

MAX_PIXELS_PER_BYTE = 10_000
"""Beyond FREE_PIXELS, a file that claims more pixels per byte than this is not decoded: no photo packs so tightly."""

MAX_SCAN_PIXELS = 3_000_000_000
"""Scans x pixels of a progressive JPEG; the usual ten scans of the largest picture stay below half of it."""


class Reason(StrEnum):
    """Why a picture cannot be used; EXT_MISMATCH is a warning, the picture is used."""

    EMPTY = "EMPTY"
    NOT_IMAGE = "NOT_IMAGE"
    TRUNCATED = "TRUNCATED"
    CORRUPT = "CORRUPT"
    TOO_LARGE = "TOO_LARGE"
    BOMB = "BOMB"
    UNSUPPORTED = "UNSUPPORTED"
    UNREADABLE = "UNREADABLE"
    EXT_MISMATCH = "EXT_MISMATCH"


class BadPicture(Exception):
    """A picture that cannot be used: `reason` is a code, `detail` tells it in words."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Geometry:
    """How a picture is brought to the network's size: part of a backbone's preprocessing."""

    size: int = 224
    """Side of the square the network sees, in pixels."""
    crop: float = 0.875
    """Share of the shorter side that the centred square keeps; with mode "squash", of both sides."""
    interpolation: Literal["bicubic", "bilinear", "lanczos", "nearest"] = "bicubic"
    mode: Literal["center", "squash"] = "center"
    """center: cut a centred square; squash: keep everything, give up the proportions."""

    def __post_init__(self) -> None:
        if self.size < 1 or not 0 < self.crop <= 1:
            raise ValueError(f"expected size >= 1 and 0 < crop <= 1, got size {self.size}, crop {self.crop}")


@dataclass(frozen=True)
class Picture:
    """A decoded picture: RGB at its own size, upright."""

    image: Image.Image
    width: int
    """Width in pixels as the file states it, upright."""
    height: int
    sha256: str
    """Of the file's bytes."""
    warning: str | None
    """EXT_MISMATCH in words, or None."""


_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}

_SUFFIXES = {
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "PNG": {".png"},
    "WEBP": {".webp"},
    "BMP": {".bmp", ".dib"},
    "GIF": {".gif"},
    "TIFF": {".tif", ".tiff"},
}

PICTURE_SUFFIXES = frozenset().union(*_SUFFIXES.values())
"""File endings of the formats that are read."""

_OTHER_FORMATS = (
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"8BPS", "Photoshop"),
    (0, b"%PDF", "PDF"),
    (0, b"%!PS", "PostScript"),
    (0, b"\x00\x00\x01\x00", "icon"),
    (0, b"P6\n", "PPM"),
    (0, b"P5\n", "PGM"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (0, b"qoif", "QOI"),
    (4, b"ftyphe", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"ftypmsf1", "HEIC"),
    (4, b"ftypavi", "AVIF"),
    (4, b"ftyp", "a film"),
    (0, b"<svg", "SVG"),
    (0, b"<?xml", "SVG or XML"),
)


_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"GIF87a", b"GIF89a", b"II*\x00", b"MM\x00*", b"BM")
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)


def sniff(head: bytes) -> str | None:
    """The format that the first 16 bytes announce (Pillow's name), or None if it is none of the allowed ones."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")):
        return "TIFF"
    # Two letters are little proof: the length of the header that follows them must be one of those in use.
    if head.startswith(b"BM") and (len(head) < 16 or (head[14] in _BMP_HEADERS and head[15] == 0)):
        return "BMP"
    return None


def read_bytes(path: Path) -> bytes:
    """A picture file's bytes. Raises BadPicture: UNREADABLE, EMPTY or TOO_LARGE."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise BadPicture(Reason.UNREADABLE, "not a regular file")
            if status.st_size > MAX_BYTES:
                raise BadPicture(Reason.TOO_LARGE, f"{status.st_size / 2**20:.0f} MiB, at most {MAX_BYTES >> 20} are read")
            data = file.read(status.st_size)
    except (OSError, ValueError) as error:
        raise BadPicture(Reason.UNREADABLE, getattr(error, "strerror", None) or str(error)) from error
    if not data:
        raise BadPicture(Reason.EMPTY, "0 bytes")
    return data


def _open_at_once(path: str, flags: int) -> int:
    """Opening a named pipe must not wait for a writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def decode(data: bytes, name: str = "", wanted: Geometry | None = None) -> Picture:
    """The picture in `data`, upright, as 8-bit RGB. `name` only serves the check of the file's ending.

    With `wanted`, a JPEG much larger than the network needs is decoded at 1/2, 1/4 or 1/8 of its size, never below twice
    what `wanted` will keep. Conversions: 16-bit greys are scaled by 1/257, 16-bit colours give their high byte, floating-point
    greys are scaled from [0, 1] (or their own range, if wider); transparency is laid over white; of several frames the first
    counts. Raises BadPicture.
    """
    if not data:
        raise BadPicture(Reason.EMPTY, "0 bytes")
    found = sniff(data[:16])
    if found is None:
        raise _refuse_unknown(data)
    try:
        with _quiet_decoders():
            image, width, height, turn = _open(data, found, wanted)
            image = _to_rgb(image)
            if turn is not None:
                image = image.transpose(turn)
                if turn in _SIDEWAYS:
                    width, height = height, width
    except BadPicture:
        raise
    except Exception as error:
        raise _translate(error, data, found) from error
    return Picture(image, width, height, hashlib.sha256(data).hexdigest(), mismatch(name, data))


def mismatch(name: str, data: bytes) -> str | None:
    """In words, when a file's ending announces another format than its first bytes do; None when they agree."""
    found, suffix = sniff(data[:16]), Path(name).suffix.lower()
    if found is None or not suffix or suffix in _SUFFIXES[found]:
        return None
    return f"the file is named {suffix} but holds a {found} picture; it is read as what it holds"


def to_pixels(image: Image.Image, geometry: Geometry) -> Pixels:
    """RGB picture -> uint8 (size, size, 3), writable: crop and resize in one pass."""
    width, height = image.size
    if geometry.mode == "center":
        kept_width = kept_height = min(width, height) * geometry.crop
    else:
        kept_width, kept_height = width * geometry.crop, height * geometry.crop
    left, top = (width - kept_width) / 2, (height - kept_height) / 2
    side = geometry.size, geometry.size
    box = left, top, left + kept_width, top + kept_height
    return np.array(image.resize(side, _FILTERS[geometry.interpolation], box=box))


_OPENERS: dict[str, Callable[[io.BytesIO], Image.Image]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
}

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = {_TURNS[code] for code in (5, 6, 7, 8)}


def _open(data: bytes, found: str, wanted: Geometry | None) -> tuple[Image.Image, int, int, Image.Transpose | None]:
    """The loaded picture, perhaps at a part of its size; the width and height its header states; how to turn it upright."""
    orientation = 1
    if found == "JPEG":
        data, orientation = _lean_jpeg(data)
    elif found == "PNG":
        data, orientation = _lean_png(data)
    elif found == "TIFF":
        data, orientation = _lean_tiff(data)
    elif found == "GIF":
        data = _lean_gif(data)
    elif found == "WEBP":
        _check_size(*_webp_size(data), len(data))  # its decoder makes room for the canvas as soon as it opens the file
    image = _OPENERS[found](io.BytesIO(data))
    width, height = image.size
    _check_size(width, height, len(data))
    if found == "WEBP":
        orientation = _exif_orientation(image.info.get("exif") or b"")
    if found == "JPEG" and wanted is not None and image.mode in ("RGB", "L"):
        # Ask for twice the side that the kept square needs, so that the final resize still averages real pixels.
        need = round(2 * wanted.size / wanted.crop)
        scale = max(1, min(width, height) // need)
        if scale > 1:
            image.draft(image.mode, (width // scale, height // scale))
    image.load()
    return image, width, height, _TURNS.get(orientation)


def _check_size(width: int, height: int, length: int) -> None:
    """Raise BadPicture if a picture of this size is not to be decoded from a file of `length` bytes."""
    pixels = width * height
    if width < 1 or height < 1:
        raise BadPicture(Reason.CORRUPT, f"{width} x {height} pixels")
    if pixels > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise BadPicture(
            Reason.BOMB, f"{width} x {height} pixels; at most {MAX_PIXELS // 10**6} megapixels and {MAX_SIDE} a side are read"
        )
    if pixels > FREE_PIXELS and pixels > length * MAX_PIXELS_PER_BYTE:
        raise BadPicture(Reason.BOMB, f"{width} x {height} pixels out of {length} bytes")


def _lean_jpeg(data: bytes) -> tuple[bytes, int]:
    """(the JPEG without comments and application segments, but for those that tell its colours; EXIF orientation)."""
    kept, orientation, at, pixels, components, many_scans = [data[:2]], 1, 2, 0, 0, False
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 4 > len(data):
            raise BadPicture(Reason.TRUNCATED, "ends before its pixels begin")
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD8:  # no segment follows
            at += 2
            continue
        segment = data[at : at + 2 + int.from_bytes(data[at + 2 : at + 4])]
        if marker == 0xD9 or len(segment) < 4:
            raise BadPicture(Reason.CORRUPT, "the header ends without pixels")
        if marker == 0xDA:
            many_scans |= len(segment) > 4 and segment[4] < components
            break
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and len(segment) >= 10:
            bits, height, width, components = struct.unpack(">BHHB", segment[4:10])
            pixels, many_scans = width * height, marker not in (0xC0, 0xC1)
            if bits != 8 or components not in (1, 3, 4):
                raise BadPicture(Reason.UNSUPPORTED, f"JPEG with {bits} bits and {components} colours")
        if marker == 0xE1 and segment[4:10] == b"Exif\0\0" and orientation == 1:
            orientation = _exif_orientation(segment[4:])
        dropped = 0xE0 <= marker <= 0xEF or marker == 0xFE
        if not dropped or (len(segment) >= 16 and (segment[4:8] == b"JFIF" or segment[4:9] == b"Adobe")):
            kept.append(segment)
        at += len(segment)
    head = b"".join(kept)
    if not pixels or len(head) > 2**20:
        raise BadPicture(Reason.CORRUPT, "no frame header" if not pixels else f"a header of {len(head)} bytes")
    if many_scans and (scans := _jpeg_scans(data, at)) * max(pixels, 10**6) > MAX_SCAN_PIXELS:
        raise BadPicture(Reason.BOMB, f"{scans} scans")
    if len(data) - at > 8192 and not any(data[-4096:]) and data.find(b"\xff\xd9", at) < 0:
        raise BadPicture(Reason.TRUNCATED, "the end of the file is zeros")
    return b"".join((head, memoryview(data)[at:])), orientation


_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")


def _jpeg_scans(data: bytes, at: int) -> int:
    """Scans of a progressive JPEG whose first one begins at `at`."""
    scans = 0
    while (place := _JPEG_MARKER.search(data, at)) and data[place.start() + 1] != 0xD9:
        scans += data[place.start() + 1] == 0xDA
        at = place.end() + int.from_bytes(data[place.end() : place.end() + 2])
    return scans


def _lean_png(data: bytes) -> tuple[bytes, int]:
    """(the PNG with only the chunks that make the first picture, EXIF orientation)."""
    kept, orientation, at, header = [data[:8]], 1, 8, b""
    while at + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        end = at + 12 + length
        if kind == b"IHDR":
            header = data[at + 8 : end - 4]
            if length != 13:
                raise BadPicture(Reason.CORRUPT, f"a header of {length} bytes, not 13")
        if kind == b"eXIf":
            orientation = _exif_orientation(data[at + 8 : end - 4])
        if kind == b"tRNS":
            kept.append(_clear_colour(data[at:end], header))
        elif kind in (b"IHDR", b"PLTE", b"IDAT", b"IEND"):
            kept.append(data[at:end])
        at = end
        if kind == b"IEND" or not kind.isalpha():
            break
    if not header:
        raise BadPicture(Reason.TRUNCATED if len(data) < 33 else Reason.CORRUPT, "no header")
    if len(kept) < 3:
        raise BadPicture(Reason.TRUNCATED, "ends before its pixels begin")
    return b"".join(kept), orientation


def _clear_colour(chunk: bytes, header: bytes) -> bytes:
    """The tRNS chunk with its colour on the scale that Pillow gives the pixels: 8 bits, but for 16-bit greys."""
    bits, colours = (header[8], header[9]) if header else (8, 0)
    values = chunk[8:-4]
    if colours == 0 and bits in (2, 4) and len(values) >= 2:
        values = struct.pack(">H", (int.from_bytes(values[:2]) & ((1 << bits) - 1)) * (255 // ((1 << bits) - 1)))
    elif colours == 2 and bits == 16 and len(values) >= 6:
        values = struct.pack(">3H", *(value >> 8 for value in struct.unpack(">3H", values[:6])))
    else:
        return chunk
    return struct.pack(">I4s", len(values), b"tRNS") + values + struct.pack(">I", zlib.crc32(b"tRNS" + values))


_GIF_BLOCK = re.compile(rb"[!,;]")


def _lean_gif(data: bytes) -> bytes:
    """The GIF without what stands before its first frame, but for that frame's own settings."""
    if len(data) < 13:
        raise BadPicture(Reason.TRUNCATED, f"only {len(data)} bytes")
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    head, control = data[:at], b""
    while place := _GIF_BLOCK.search(data, at):
        at = place.start()
        if data[at] == 0x3B:
            raise BadPicture(Reason.CORRUPT, "no frame")
        if data[at] == 0x2C:
            if at + 11 > len(data):
                break
            left, top, width, height = struct.unpack("<4H", data[at + 1 : at + 9])
            screen_width, screen_height = struct.unpack("<2H", data[6:10])
            _check_size(max(screen_width, left + width), max(screen_height, top + height), len(data))
            return head + control + data[at:]
        end = at + 2
        while end < len(data) and data[end]:
            end += 1 + data[end]
        if data[at + 1 : at + 2] == b"\xf9":
            control = data[at : end + 1]
        at = end + 1
    raise BadPicture(Reason.TRUNCATED, "ends before its first frame")


_WEBP_WHOLE = 30  # bytes that hold the size in all three kinds of WebP


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height of the canvas, from the header."""
    if len(data) < _WEBP_WHOLE:
        raise BadPicture(Reason.TRUNCATED, f"only {len(data)} bytes")
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    raise BadPicture(Reason.CORRUPT, "announces WEBP but its header cannot be read")


_TIFF_KEPT = {254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 332, 338, 339}
_TIFF_KEPT |= {347, *range(512, 522), 529, 530, 531, 532}
"""Tags that say how pixels are stored; 34887 and the like would only name values for other programs."""

_TIFF_COUNT = 2**17
"""Most values of one tag that are read: 131,072 strips."""


def _lean_tiff(data: bytes) -> tuple[bytes, int]:
    """(the TIFF with only its first page and the tags that make pixels, orientation)."""
    order, at, entries, wide = _tags(data)
    if not entries:
        raise BadPicture(Reason.TRUNCATED if at >= len(data) else Reason.CORRUPT, "the table of tags cannot be read")
    kept: dict[int, int] = {}
    numbers: dict[int, int] = {}
    for place in entries:
        tag, kind = (int.from_bytes(data[place + k : place + k + 2], order) for k in (0, 2))
        count = int.from_bytes(data[place + 4 : place + (12 if wide else 8)], order)
        size = {3: 2, 4: 4, 16: 8}.get(kind, 1)
        value = place + (12 if wide else 8)
        numbers.setdefault(tag, int.from_bytes(data[value : value + size], order))
        if tag in _TIFF_KEPT:
            kept.setdefault(tag, place)
            if count > _TIFF_COUNT:
                raise BadPicture(Reason.BOMB, f"{count} values in tag {tag}")
    if numbers.get(322, 0) * numbers.get(323, 0) > FREE_PIXELS:
        raise BadPicture(Reason.BOMB, f"tiles of {numbers[322]} x {numbers[323]} pixels")
    if numbers.get(277, 1) > 6:
        raise BadPicture(Reason.UNSUPPORTED, f"TIFF with {numbers[277]} values a pixel")
    if numbers.get(259) == 34925:
        raise BadPicture(Reason.UNSUPPORTED, "TIFF packed with LZMA")
    width, height = (20, 8) if wide else (12, 2)
    table = b"".join(data[place : place + width] for place in kept.values())
    # No further page: the zeros after the last tag. The new table is no longer than the old one, or nothing follows it.
    new = len(kept).to_bytes(height, order) + table + bytes(8 if wide else 4)
    whole = memoryview(data)
    return b"".join((whole[:at], new, whole[at + len(new) :])), numbers.get(274, 1)


def _tags(data: bytes) -> tuple[Literal["little", "big"], int, list[int], bool]:
    """(byte order, place of the first table of tags, place of each whole entry, is it a BigTIFF) of a TIFF or EXIF block."""
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    wide = int.from_bytes(data[2:4], order) == 43
    at = int.from_bytes(data[8:16] if wide else data[4:8], order)
    head, size = (8, 20) if wide else (2, 12)
    count = int.from_bytes(data[at : at + head], order)
    whole = max(0, (len(data) - at - head) // size)
    return order, at, [at + head + k * size for k in range(min(count, whole, 65535))], wide


def _exif_orientation(block: bytes) -> int:
    """The orientation 1..8 that an EXIF block states; 1 where it states none or cannot be read."""
    block = block.removeprefix(b"Exif\0\0")
    if block[:2] not in (b"II", b"MM"):
        return 1
    order, _, entries, wide = _tags(block)
    for place in entries:
        if int.from_bytes(block[place : place + 2], order) == 0x112:
            value = place + (12 if wide else 8)
            size = 2 if int.from_bytes(block[place + 2 : place + 4], order) == 3 else 4
            return int.from_bytes(block[value : value + size], order)
    return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I") or image.mode == "F":
        return _grey_to_rgb(image)
    if image.mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in image.info:
        clear = image.convert("RGBA")
        white = Image.new("RGBA", clear.size, "white")
        white.alpha_composite(clear)
        return white.convert("RGB")
    return image.convert("RGB")


_BITS, _PHOTOMETRIC = 258, 262  # TIFF tags


def _grey_to_rgb(image: Image.Image) -> Image.Image:
    """Greys of more than 8 bits, scaled and not clipped."""
    stored = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    full = 1.0 if image.mode == "F" else 4095.0 if tags.get(_BITS) == (12,) else 65535.0
    values = np.nan_to_num(stored.astype(np.float32), copy=False, nan=0.0, posinf=full, neginf=0.0)
    low, high = min(float(values.min()), 0.0), max(float(values.max()), full)
    scale = 255 / (high - low)
    values *= scale
    values -= low * scale
    grey = np.clip(np.rint(values, out=values), 0, 255, out=values).astype(np.uint8)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        grey[stored == clear] = 255
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero; Pillow turns 8-bit greys itself
        grey = 255 - grey
    return Image.fromarray(grey).convert("RGB")


_quiet_lock = threading.Lock()
_quiet_depth = 0
_quiet_filters = warnings.catch_warnings()


@contextlib.contextmanager
def _quiet_decoders() -> Iterator[None]:
    """Pillow's own warnings silenced; several threads may be inside, the last one out restores the filters.

    Decoders warn of odd metadata; whatever matters shows itself as an error. catch_warnings alone is not for threads:
    two that overlap can leave the filters changed for good.
    """
    global _quiet_depth, _quiet_filters
    with _quiet_lock:
        if _quiet_depth == 0:
            _quiet_filters = warnings.catch_warnings()
            _quiet_filters.__enter__()
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _quiet_depth += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_depth -= 1
            if _quiet_depth == 0:
                _quiet_filters.__exit__(None, None, None)


def _refuse_unknown(data: bytes) -> BadPicture:
    for offset, magic, name in _OTHER_FORMATS:
        if data[offset : offset + len(magic)] == magic:
            return BadPicture(Reason.UNSUPPORTED, f"{name}; JPEG, PNG, WebP, BMP, GIF and TIFF are read")
    if not any(data[:64]):
        return BadPicture(Reason.CORRUPT, "the file begins with zeros")
    if any(magic.startswith(data) for magic in _MAGIC) or (len(data) < 12 and data.startswith(b"RIFF")):
        return BadPicture(Reason.TRUNCATED, f"only {len(data)} bytes")
    return BadPicture(Reason.NOT_IMAGE, "the first bytes are not those of a picture")


def _translate(error: Exception, data: bytes, found: str) -> BadPicture:
    """A decoder may raise nearly anything; every kind becomes one reason code."""
    text = str(error) or type(error).__name__
    lower = text.lower()
    if isinstance(error, Image.DecompressionBombError):
        return BadPicture(Reason.BOMB, text)
    if isinstance(error, MemoryError):
        return BadPicture(Reason.BOMB, "more memory needed than there is")
    if isinstance(error, NotImplementedError) or any(word in lower for word in _UNSUPPORTED_WORDS):
        return BadPicture(Reason.UNSUPPORTED, f"{found}: {text}")
    if isinstance(error, EOFError) or any(word in lower for word in _TRUNCATED_WORDS) or _ends_early(data, found):
        return BadPicture(Reason.TRUNCATED, f"{found}: {text}")
    return BadPicture(Reason.CORRUPT, f"{found}: {text}")


_UNSUPPORTED_WORDS = ("unsupported", "not supported", "not yet supported", "cannot handle", "unknown pixel mode")
_TRUNCATED_WORDS = ("truncated", "not enough", "unexpected end")


def _ends_early(data: bytes, found: str) -> bool:
    """Whether the file is shorter than it says itself."""
    if found == "WEBP":
        return int.from_bytes(data[4:8], "little") + 8 > len(data)
    if found == "BMP":
        return int.from_bytes(data[2:6], "little") > len(data)
    if found == "PNG":
        return data.rfind(b"IEND") < 0
    return found == "GIF" and data.rfind(b";") < 0
