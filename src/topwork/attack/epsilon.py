"""Strengths as people write them: 8/255, 0.03."""

from __future__ import annotations

import math

from topwork.errors import InputError

LEVELS = 255
"""Steps of brightness of an 8-bit file."""

ROUNDING = 1e-6


USUAL = {"linf": 8 / LEVELS, "l2": 2.0}
"""The strength where none is given."""


def read_epsilon(text: str, norm: str = "linf") -> float:
    """The strength that `8/255` or `0.03` means: up to 1, full brightness, for linf. Raises InputError."""
    above, slash, below = text.strip().partition("/")
    try:
        value = float(above) / float(below) if slash else float(above)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not math.isfinite(value) or value <= 0:
        raise InputError(f"epsilon {text}: expected a strength above 0, such as 8/255 or 0.03.")
    if value > 1 and norm == "linf":
        meant = f" Did you mean {above.strip()}/255?" if not slash and value <= LEVELS else ""
        raise InputError(f"epsilon {text}: expected at most 1, full brightness: more than that changes nothing more.{meant}")
    return value


def read_epsilons(text: str, norm: str = "linf") -> tuple[float, ...]:
    """Strengths separated by commas, in order of size, each once. Raises InputError."""
    found = sorted({read_epsilon(part, norm) for part in text.split(",") if part.strip()})
    if not found:
        raise InputError("epsilon: expected one strength or more, such as 1/255,2/255,4/255.")
    return tuple(found)


def whole_levels(epsilon: float) -> float:
    """The largest strength up to epsilon that an 8-bit file can hold; 0 below 1/255."""
    return math.floor(epsilon * LEVELS + ROUNDING) / LEVELS


def room(epsilon: float, values: int, norm: str) -> float:
    """The strength to search with, so that a change of `values` values is within epsilon when it is rounded to 8 bits.

    Rounding adds 1/12 of a squared level to each value, whatever its change (Bennett 1948); a change much smaller than that is
    lost, and half of epsilon is kept for those that are on few values.
    """
    if norm == "linf":
        return epsilon
    return math.sqrt(max(epsilon**2 - values / 12 / LEVELS**2, epsilon**2 / 4))


def told(epsilon: float) -> str:
    """As a fraction of 255: 8/255, 0.5/255."""
    levels = epsilon * LEVELS
    return f"{round(levels)}/255" if levels >= 10 or abs(levels - round(levels)) < 1e-3 else f"{levels:.2g}/255"


def told_distance(epsilon: float, norm: str) -> str:
    """The strength with its unit: a fraction of 255 for linf, a length for l2."""
    return told(epsilon) if norm == "linf" else f"{epsilon:.3g} (l2)"
