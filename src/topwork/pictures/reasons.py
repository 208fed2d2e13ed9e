"""Why a picture cannot be used."""

from __future__ import annotations

from enum import StrEnum


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
