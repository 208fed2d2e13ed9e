"""Numbers as the reasons print them."""

from __future__ import annotations


def percent(share: float, digits: int = 1) -> str:
    """0.9883 as 98.8 %."""
    return f"{100 * share:.{digits}f} %"


def points(gain: float) -> str:
    """0.0352 as +3.5."""
    return f"{100 * gain:+.1f}"
