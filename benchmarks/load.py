"""The jobs that every scheduler of the benchmark gets, and what is measured of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

SIZES = (1_000, 10_000, 100_000)
DUE_ONE_IN = 100

DUE = datetime(2026, 3, 10, 6, tzinfo=UTC)
BEFORE = DUE - timedelta(minutes=30)
"""When the jobs are declared; none is due between the two."""


@dataclass(frozen=True)
class Cron:
    """A job of the benchmark: its name, and the minute and hour of every day at which it is due."""

    name: str
    minute: int
    hour: int

    @property
    def expression(self) -> str:
        return f"{self.minute} {self.hour} * * *"


@dataclass
class Measured:
    """What a scheduler took for the tick at ``DUE``.

    Args:
        scheduler: its name.
        jobs: how many it knows.
        started: how many it started.
        cpu_s: CPU seconds of the process.
        requests: to a storage that bills them; ``None`` where there is none.
        idle_cpu_s: of the same without any job due, where that was measured.
        idle_requests: of the same.
    """

    scheduler: str
    jobs: int
    started: int = 0
    cpu_s: float = 0.0
    requests: int | None = None
    idle_cpu_s: float | None = None
    idle_requests: int | None = None


class Stopwatch:
    """CPU seconds of this process within the ``with`` block, without what is taken off."""

    def __init__(self) -> None:
        self.cpu_s = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        begun = time.process_time()
        try:
            yield
        finally:
            self.cpu_s += time.process_time() - begun

    @contextmanager
    def stopped(self) -> Iterator[None]:
        begun = time.process_time()
        try:
            yield
        finally:
            self.cpu_s -= time.process_time() - begun


def crons(number: int) -> list[Cron]:
    """One in a hundred is due at ``DUE``; the others are spread over the rest of the day."""
    return [
        Cron(f"job-{n:06d}", 0, 6)
        if n % DUE_ONE_IN == 0
        else Cron(f"job-{n:06d}", n % 60, 7 + n % 16)
        for n in range(number)
    ]
