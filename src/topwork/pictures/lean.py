"""Picture files without what makes no pixels, and their size before anything is decoded.

Texts, profiles and EXIF blocks are left out, because small files hide large things there, and a damaged comment must not cost
a sound picture. The orientation, all that is wanted of EXIF, is read here.
"""

from __future__ import annotations

import re
import struct
import zlib
from typing import Literal

from topwork.pictures.reasons import BadPicture, Reason

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


def check_size(width: int, height: int, length: int) -> None:
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


def lean_jpeg(data: bytes) -> tuple[bytes, int]:
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
            orientation = exif_orientation(segment[4:])
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


def lean_png(data: bytes) -> tuple[bytes, int]:
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
            orientation = exif_orientation(data[at + 8 : end - 4])
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


def lean_gif(data: bytes) -> bytes:
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
            check_size(max(screen_width, left + width), max(screen_height, top + height), len(data))
            return head + control + data[at:]
        end = at + 2
        while end < len(data) and data[end]:
            end += 1 + data[end]
        if data[at + 1 : at + 2] == b"\xf9":
            control = data[at : end + 1]
        at = end + 1
    raise BadPicture(Reason.TRUNCATED, "ends before its first frame")


_WEBP_WHOLE = 30  # bytes that hold the size in all three kinds of WebP


def webp_size(data: bytes) -> tuple[int, int]:
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


def lean_tiff(data: bytes) -> tuple[bytes, int]:
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


def exif_orientation(block: bytes) -> int:
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
