"""Work shared by the cores: threads of our own, each with a linear algebra library kept to one thread.

Left to itself the library's own threads wait for each other by spinning, several times a millisecond; on a machine with
anything else to do that costs up to ten times the work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

from topwork.runtime import cores

Result = TypeVar("Result")


def in_parallel(work: Iterable[Callable[[], Result]]) -> list[Result]:
    """The results of all calls, in their order."""
    calls = list(work)
    if len(calls) < 2 or cores() < 2:
        return [call() for call in calls]
    return list(_pool().map(lambda call: call(), calls))


def one_thread_algebra() -> Any:
    """A context in which the linear algebra library runs on the thread that calls it."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, user_api="blas")


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores(), "topwork-algebra")
