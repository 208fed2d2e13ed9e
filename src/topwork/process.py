"""This process: how its threads wait, what memory it holds and keeps."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

KEPT = 512 << 20
"""Bytes of freed memory that `keep_freed_memory` lets the process hold."""


def peak_memory() -> int:
    """The most bytes this process held in memory at once; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def keep_freed_memory() -> None:
    """Let this process hold up to KEPT of what it frees, for its next need. For glibc; elsewhere nothing happens.

    Where large arrays come and go, a fifth of the time goes into handing pages back and asking for them again.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        library = ctypes.CDLL(None)
        library.mallopt(-3, 32 << 20)  # M_MMAP_THRESHOLD, the most that glibc takes
        library.mallopt(-1, KEPT)  # M_TRIM_THRESHOLD


def wait_briefly() -> None:
    """Let the threads of libraries spin for some ten microseconds while they wait for each other, then sleep.

    To be called before torch is loaded. Spinning for a millisecond, as they do by themselves, takes two to three times as long
    beside other programs; sleeping at once makes a step of learning a fifth slower.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "20000")
