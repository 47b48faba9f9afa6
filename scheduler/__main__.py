"""``python -m scheduler``: tick until a signal ends it."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from datetime import UTC, datetime

from extractor.runtime import telemetry
from extractor.runtime.log import configure
from scheduler.declaration import declarations_from_environment
from scheduler.settings import Settings

_log = logging.getLogger(__name__)


def main() -> None:
    """Tick whenever the clock passes a multiple of the configured seconds."""
    configure()
    sending = telemetry.start("scheduler")
    settings = Settings.read(os.environ)
    declarations = declarations_from_environment(os.environ)
    scheduler = settings.scheduler()
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    _log.info("scheduler started jobs=%d tick_seconds=%d", len(declarations), settings.tick_seconds)
    while not stopping.is_set():
        try:
            scheduler.tick(declarations, datetime.now(UTC))
        except Exception:  # noqa: BLE001 - one tick must not end all
            # The tables can't be reached, say; the next tick catches up.
            _log.exception("tick failed")
        stopping.wait(settings.tick_seconds - time.time() % settings.tick_seconds)
    sending.close()


if __name__ == "__main__":
    main()
