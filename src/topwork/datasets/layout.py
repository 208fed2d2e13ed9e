"""What a data set looks like when it is unpacked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """Pictures as class folders."""

    paths: tuple[str, ...]
    """CLASS/FILE or SPLIT/CLASS/FILE, below the folder."""
    species: Mapping[str, str]
    """Of each class: cat or dog."""
    notes: tuple[str, ...] = ()
    """What was left out, in words."""
