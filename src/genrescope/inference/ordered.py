"""A function of many items, several at a time, with the results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def map_ordered(
    function: Callable[[_Item], _Result], items: Iterable[_Item], threads: int
) -> Iterator[_Result]:
    """Yield what a function returns for each item, in order; threads work ahead of what is taken.

    Parameters
    ----------
    function : callable
        What it raises is raised here, in its place.
    items : iterable
        Taken in the caller's thread, at most two for each thread ahead of the results.
    threads : int
        How many of them.
    """
    pending: deque[Future[_Result]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="genrescope") as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                while pending and (len(pending) >= 2 * threads or pending[0].done()):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for one in pending:
                one.cancel()
