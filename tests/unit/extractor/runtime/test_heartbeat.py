from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from extractor.runtime import Window
from extractor.runtime.claim import Claim, take
from extractor.runtime.heartbeat import Heartbeat
from extractor.runtime.records import Run, RunStatus
from extractor.runtime.testing import IMAGE_DIGEST, JOB, MemoryRunStore

OFTEN_S = 0.001
SOON_S = 5.0
WINDOW = Window(datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 2, tzinfo=UTC))


class Awaited(MemoryRunStore):
    """Tells when it was written the ``goal``-th time, and fails the writes in ``failing``."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts = 0
        self.goal = 0
        self.failing: set[int] = set()
        self.reached = threading.Event()

    def write_run(self, run: Run) -> None:
        self.attempts += 1
        if self.attempts in self.failing:
            raise ConnectionError("no network")
        super().write_run(run)
        if self.attempts >= self.goal:
            self.reached.set()


def claimed(store: Awaited) -> Claim:
    store.start(WINDOW)
    claim = take(store, JOB, IMAGE_DIGEST)
    assert claim is not None
    store.attempts = 0
    store.reached.clear()
    return claim


def test_a_run_beats_until_the_end() -> None:
    store = Awaited()
    store.goal = 3
    claim = claimed(store)
    with Heartbeat(claim, OFTEN_S) as heartbeat:
        assert store.reached.wait(SOON_S)
    present = store.read_run(JOB, claim.run.row_key)
    assert present is not None
    assert present.heartbeat_at is not None
    assert claim.run.heartbeat_at is not None
    assert present.heartbeat_at > claim.run.heartbeat_at
    assert not heartbeat.lost
    writes = store.writes
    assert not threading.Event().wait(20 * OFTEN_S)
    assert store.writes == writes


def test_a_beat_that_fails_is_logged_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    store = Awaited()
    store.goal = 3
    claim = claimed(store)
    store.failing = {1, 2}
    with Heartbeat(claim, OFTEN_S) as heartbeat:
        assert store.reached.wait(SOON_S)
    assert not heartbeat.lost
    assert [record.message.split()[0] for record in caplog.records] == ["heartbeat", "heartbeat"]


def test_a_beat_notices_that_the_run_was_given_up() -> None:
    store = Awaited()
    claim = claimed(store)
    given_up = replace(claim.run, status=RunStatus.ABANDONED)
    with Heartbeat(claim, OFTEN_S) as heartbeat:
        store.put_run(given_up)
        heartbeat._thread.join(SOON_S)
        assert heartbeat.lost
    assert store.read_run(JOB, claim.run.row_key) == given_up
