"""Do the same to many things at once, by threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import ContextVar, copy_context
from queue import Empty, SimpleQueue
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def _nothing() -> None:
    pass


ON_THREAD: ContextVar[Callable[[], None]] = ContextVar("ON_THREAD", default=_nothing)
"""What a thread does before it works for the caller: tell others for whom it works, say."""


class Pool:
    """Threads that are started when they are first needed, and kept.

    Args:
        workers: how many; with one, the caller does all by itself, one thing after the other.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._executor = ThreadPoolExecutor(workers, "worker") if workers > 1 else None

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """What the function makes of each item, in the order of the items.

        All threads have the caller's context variables, its trace among them. What the function
        raises ends the work of its thread, and is raised here once the others are done.
        """
        if self._executor is None:
            return [function(item) for item in items]
        todo: SimpleQueue[tuple[int, Item]] = SimpleQueue()
        for numbered in enumerate(items):
            todo.put(numbered)
        done: dict[int, Result] = {}

        def work() -> None:
            ON_THREAD.get()()
            # A future for each item would cost more than what is to do for most.
            while numbered := _next(todo):
                number, item = numbered
                done[number] = function(item)

        threads = min(self._workers, todo.qsize())
        futures = [self._executor.submit(copy_context().run, work) for _ in range(threads)]
        wait(futures)
        for future in futures:
            future.result()
        return [done[number] for number in sorted(done)]


def _next(todo: SimpleQueue[Item]) -> Item | None:
    try:
        return todo.get_nowait()
    except Empty:
        return None
