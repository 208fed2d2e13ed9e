"""Numbers as the reasons print them."""

from __future__ import annotations


def percent(share: float, digits: int = 1) -> str:
    """0.9883 as 98.8 %. Only what is all of it prints as 100 %, and only nothing as 0 %."""
    while digits < 4 and 0 < share < 1 and float(f"{100 * share:.{digits}f}") in (0.0, 100.0):
        digits += 1
    return f"{100 * share:.{digits}f} %"


def points(gain: float) -> str:
    """0.0352 as +3.5."""
    return f"{100 * gain:+.1f}"
