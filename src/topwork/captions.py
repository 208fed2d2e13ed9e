"""Names of the user's classes and files as figures show them."""

from __future__ import annotations


def caption(name: str, longest: int = 0) -> str:
    """The name in at most `longest` letters (0: whole), its dollars escaped: between two, matplotlib would set a formula."""
    short = name if not longest or len(name) <= longest else f"{name[: longest - 1]}…"
    return short.replace("$", r"\$")
