"""The one way from a file's bytes to pixels; every route uses it: fit, predict, score, embed, serve, attack.

Size cap, format by its first bytes and an allow-list, pixel cap read from the header, full load, EXIF orientation, a stated
conversion to 8-bit RGB, then crop and resize in one pass. What cannot be used raises BadPicture with a reason code.

The decoder is handed only what makes pixels, see `topwork.pictures.lean`.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import BmpImagePlugin, GifImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from topwork.pictures.colours import to_rgb
from topwork.pictures.lean import check_size, exif_orientation, lean_gif, lean_jpeg, lean_png, lean_tiff, webp_size
from topwork.pictures.reasons import BadPicture, Reason

Pixels = NDArray[np.uint8]

DECODER_VERSION = 1
"""Part of the store's key: raise it when the same bytes give other pixels."""

MAX_BYTES = 256 * 2**20
"""A larger file is not read at all."""


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


FILTERS = {
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
            image = to_rgb(image)
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
    side = geometry.size, geometry.size
    return np.array(image.resize(side, FILTERS[geometry.interpolation], box=kept_box(*image.size, geometry)))


def kept_box(width: int, height: int, geometry: Geometry) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of what `geometry` keeps of a picture."""
    if geometry.mode == "center":
        kept_width = kept_height = min(width, height) * geometry.crop
    else:
        kept_width, kept_height = width * geometry.crop, height * geometry.crop
    left, top = (width - kept_width) / 2, (height - kept_height) / 2
    return left, top, left + kept_width, top + kept_height


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
        data, orientation = lean_jpeg(data)
    elif found == "PNG":
        data, orientation = lean_png(data)
    elif found == "TIFF":
        data, orientation = lean_tiff(data)
    elif found == "GIF":
        data = lean_gif(data)
    elif found == "WEBP":
        check_size(*webp_size(data), len(data))  # its decoder makes room for the canvas as soon as it opens the file
    image = _OPENERS[found](io.BytesIO(data))
    width, height = image.size
    check_size(width, height, len(data))
    if found == "WEBP":
        orientation = exif_orientation(image.info.get("exif") or b"")
    if found == "JPEG" and wanted is not None and image.mode in ("RGB", "L"):
        # Ask for twice the side that the kept square needs, so that the final resize still averages real pixels.
        need = round(2 * wanted.size / wanted.crop)
        scale = max(1, min(width, height) // need)
        if scale > 1:
            image.draft(image.mode, (width // scale, height // scale))
    image.load()
    return image, width, height, _TURNS.get(orientation)


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
    return BadPicture(Reason.NOT_IMAGE, "the first bytes are not those of a picture (JPEG, PNG, WebP, BMP, GIF or TIFF)")


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
