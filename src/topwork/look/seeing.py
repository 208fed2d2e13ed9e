"""A picture's file as a network sees it, and where a figure of it may be written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from topwork.bundle import is_bundle
from topwork.classifier import Classifier
from topwork.errors import InputError
from topwork.features.extract import second_look
from topwork.look.sight import Maps
from topwork.pictures.decode import Geometry, Pixels, decode, read_bytes, to_pixels
from topwork.pictures.reasons import BadPicture


@dataclass(frozen=True)
class Seen:
    """A picture as a network sees it."""

    pixels: Pixels
    """(size, size, 3)."""
    image: Maps
    """(3, size, size) in [0, 1]."""
    second: Maps
    """The second look that some heads want, of the same shape."""


def see(picture: str, geometry: Geometry) -> Seen:
    """A picture's file as a network sees it. Raises InputError with the reason where it cannot be used."""
    try:
        image = decode(read_bytes(Path(picture)), picture, geometry).image
    except BadPicture as error:
        raise _unreadable(picture, error) from error
    looks = to_pixels(image, geometry), second_look(image, geometry)
    first, second = (one.transpose(2, 0, 1).astype(np.float32) / np.float32(255) for one in looks)
    return Seen(looks[0], first, second)


def check_picture(picture: str) -> None:
    """Raise InputError unless the file is there and may be read: before a network is opened."""
    try:
        read_bytes(Path(picture))
    except BadPicture as error:
        raise _unreadable(picture, error) from error


def check_png(out: Path, picture: str = "") -> None:
    """Raise InputError unless a PNG may be written at `out`, which is not the picture itself."""
    if out.suffix.lower() != ".png" or out.is_dir():
        raise InputError(f"{out}: expected the name of a file ending in .png.")
    if picture and out.exists() and out.samefile(picture):
        raise InputError(f"{out}: is the picture itself, and would be lost. Give another name.")
    if not out.absolute().parent.is_dir():
        raise InputError(f"{out}: the folder {out.absolute().parent} does not exist. Make it first.")


def classifier_at(source: str) -> Classifier | None:
    """The classifier of a bundle, None where `source` is the name of a backbone. Raises BundleError."""
    return Classifier.load(source) if is_bundle(Path(source)) or source.endswith(".topwork") else None


def _unreadable(picture: str, error: BadPicture) -> InputError:
    return InputError(f"{picture}: {error.reason.value}: {error.detail}. Expected a picture that can be read.")
