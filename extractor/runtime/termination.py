"""SIGTERM: how Azure Container Instances and Docker ask a container to stop."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StoppedError(BaseException):
    """The container was asked to stop.

    Not an ``Exception``, so that an extractor which catches those does not go on.
    """


class Termination:
    """Turns SIGTERM into :class:`StoppedError`, at places where stopping leaves nothing half-done.

    Elsewhere the signal is remembered: what remains to do there takes seconds, and the grace period
    before SIGKILL is longer. Use it in the main thread, where Python delivers signals.
    """

    def __init__(self) -> None:
        self.requested = False
        self._raising = False

    @contextmanager
    def handled(self) -> Iterator[None]:
        """Handle SIGTERM within; as process 1 of a container, Python would ignore it."""
        before = signal.signal(signal.SIGTERM, self._on_signal)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    @contextmanager
    def stoppable(self) -> Iterator[None]:
        """Raise within.

        Raises:
            StoppedError: the signal came, or had come before.
        """
        self._raising = True
        try:
            if self.requested:
                raise StoppedError
            yield
        finally:
            self._raising = False

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True
        if self._raising:
            self._raising = False  # once: a second signal must not interrupt the clean-up
            raise StoppedError
