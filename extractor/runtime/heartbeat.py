"""The sign of life that a run gives while it loads."""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Self

from extractor.runtime.claim import Claim, FenceLostError
from extractor.runtime.log import facts

INTERVAL_S = 30.0

logger = logging.getLogger(__name__)


class Heartbeat:
    """Says every ``interval_s`` seconds that the run is alive, until the ``with`` block is left.

    A beat that fails changes nothing: the load is worth more than the sign of it.
    """

    def __init__(self, claim: Claim, interval_s: float = INTERVAL_S) -> None:
        self._claim = claim
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._lost = threading.Event()
        # A daemon, so that a beat stuck in the network does not keep a finished container alive.
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    @property
    def lost(self) -> bool:
        """Whether a beat found that the run is no longer this process's own."""
        return self._lost.is_set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(self._interval_s)

    def _beat(self) -> None:
        while not self._stop.wait(self._interval_s):
            try:
                self._claim.beat()
            except FenceLostError:
                self._lost.set()
                return
            except Exception:
                logger.exception("heartbeat failed %s", facts(run=self._claim.run.run_id))
