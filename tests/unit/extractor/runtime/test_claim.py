"""The rights to a run, each taken away by another party at the worst moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from extractor.runtime import Window
from extractor.runtime.claim import Claim, FenceLostError, Outcome, take
from extractor.runtime.ports import ConflictError
from extractor.runtime.records import BACKFILL, Commit, Run, RunStatus
from extractor.runtime.testing import IMAGE_DIGEST, JOB, MemoryRunStore

WINDOW = Window(datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 3, tzinfo=UTC))
COMMIT = Commit("run", 3, 300, "job/window")


class Disturbed(MemoryRunStore):
    """A store in which somebody else acts right before this process's writes.

    Attributes:
        before_run: called before a run is written, and forgotten.
        before_job: the same for the job.
    """

    before_run: Callable[[], None] | None = None
    before_job: Callable[[], None] | None = None

    def write_run(self, run: Run) -> None:
        act, self.before_run = self.before_run, None
        if act:
            act()
        super().write_run(run)

    def update_job(self, name: str, changes: Mapping[str, object], etag: str) -> None:
        act, self.before_job = self.before_job, None
        if act:
            act()
        super().update_job(name, changes, etag)


@pytest.fixture
def store() -> Disturbed:
    return Disturbed()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extractor.runtime.claim.time.sleep", lambda _: None)


def claim_of(store: MemoryRunStore) -> Claim:
    claim = take(store, JOB, IMAGE_DIGEST)
    assert claim is not None
    return claim


def row(store: MemoryRunStore, run: Run) -> Run:
    return store.runs[run.job, run.row_key]


# Claiming


def test_a_started_run_is_claimed_and_the_job_fenced(store: Disturbed) -> None:
    started = store.start(WINDOW)
    claim = claim_of(store)
    run = row(store, started)
    assert run.status is RunStatus.RUNNING
    assert run.claim_token == claim.token == store.jobs[JOB]["fence"]
    assert run.image_digest == IMAGE_DIGEST
    assert run.started_at is not None
    assert run.heartbeat_at == run.started_at
    assert claim.window == WINDOW


def test_without_a_job_there_is_nothing_to_claim(store: Disturbed) -> None:
    assert take(store, JOB, IMAGE_DIGEST) is None
    assert store.writes == 0


def test_a_job_without_an_active_run_is_not_touched(store: Disturbed) -> None:
    store.put_job(status="idle")
    assert take(store, JOB, IMAGE_DIGEST) is None
    assert store.writes == 1


def test_a_run_that_is_not_there_is_not_claimed(store: Disturbed) -> None:
    store.put_job(active_run="gone")
    assert take(store, JOB, IMAGE_DIGEST) is None
    assert store.writes == 1


@pytest.mark.parametrize("status", sorted(set(RunStatus) - {RunStatus.STARTING}))
def test_only_a_started_run_is_claimed(store: Disturbed, status: RunStatus) -> None:
    run = store.start(WINDOW)
    store.put_run(replace(run, status=status))
    writes = store.writes
    assert take(store, JOB, IMAGE_DIGEST) is None
    assert store.writes == writes
    assert row(store, run).claim_token is None


def test_of_two_containers_one_gets_the_run(store: Disturbed) -> None:
    run = store.start(WINDOW)
    winner: list[Claim] = []
    store.before_run = lambda: winner.append(claim_of(store))
    assert take(store, JOB, IMAGE_DIGEST) is None
    assert row(store, run).claim_token == winner[0].token == store.jobs[JOB]["fence"]


def test_a_claim_that_was_overwritten_within_one_row_version_is_lost() -> None:
    class OneVersion(MemoryRunStore):
        """Lets a write pass that another one has preceded, as equal row versions do."""

        def write_run(self, run: Run) -> None:
            self.put_run(run)
            self.put_run(replace(run, claim_token="other"))

    store = OneVersion()
    store.start(WINDOW)
    assert take(store, JOB, IMAGE_DIGEST) is None
    assert "fence" not in store.jobs[JOB]


def test_a_claim_whose_answer_was_lost_is_held() -> None:
    class Forgetful(MemoryRunStore):
        """Writes, and reports the conflict that the client's second attempt meets."""

        def write_run(self, run: Run) -> None:
            super().write_run(run)
            raise ConflictError

    store = Forgetful()
    run = store.start(WINDOW)
    assert claim_of(store).token == row(store, run).claim_token


def test_a_job_that_has_turned_to_another_run_is_not_fenced(store: Disturbed) -> None:
    store.start(WINDOW)
    store.before_run = lambda: store.put_job(active_run="another")
    assert take(store, JOB, IMAGE_DIGEST) is None
    assert "fence" not in store.jobs[JOB]


def test_fencing_outlasts_a_write_of_the_scheduler(store: Disturbed) -> None:
    store.start(WINDOW)
    store.before_job = lambda: store.put_job(reason="busy")
    claim = claim_of(store)
    assert store.jobs[JOB]["fence"] == claim.token
    assert store.jobs[JOB]["reason"] == "busy"


# Committing


def test_a_commit_moves_the_watermark_and_says_which_load_did(store: Disturbed) -> None:
    store.start(WINDOW)
    claim_of(store).commit(COMMIT)
    assert store.jobs[JOB]["watermark"] == WINDOW.end
    assert store.jobs[JOB]["commit_run_id"] == "run"
    assert store.jobs[JOB]["commit_rows"] == 3
    assert store.jobs[JOB]["commit_bytes"] == 300
    assert store.jobs[JOB]["commit_lake_path"] == "job/window"


def test_a_commit_of_a_backfill_moves_its_position_and_not_the_watermark(
    store: Disturbed,
) -> None:
    run = store.start(WINDOW)
    store.put_run(replace(run, trigger=BACKFILL))
    store.put_job(watermark=WINDOW.start)
    claim = claim_of(store)
    claim.commit(COMMIT)
    row = store.jobs[JOB]
    assert (row["watermark"], row["backfill_position"]) == (WINDOW.start, WINDOW.end)
    assert row["commit_run_id"] == "run"
    store.put_job(fence=None)
    with pytest.raises(FenceLostError):
        claim.commit(COMMIT)


def test_a_commit_outlasts_a_write_of_others(store: Disturbed) -> None:
    store.start(WINDOW)
    claim = claim_of(store)
    store.before_job = lambda: store.put_job(paused=True)
    claim.commit(COMMIT)
    assert store.jobs[JOB]["watermark"] == WINDOW.end
    assert store.jobs[JOB]["paused"] is True


def test_a_commit_that_loses_the_fence_right_before_its_write_changes_nothing(
    store: Disturbed,
) -> None:
    store.start(WINDOW)
    claim = claim_of(store)
    store.before_job = lambda: store.put_job(fence=None)
    with pytest.raises(FenceLostError):
        claim.commit(COMMIT)
    assert "watermark" not in store.jobs[JOB]
    assert "commit_run_id" not in store.jobs[JOB]


def test_a_commit_gives_up_on_a_row_that_never_rests() -> None:
    class Restless(MemoryRunStore):
        refusing = False

        def update_job(self, name: str, changes: Mapping[str, object], etag: str) -> None:
            if self.refusing:
                raise ConflictError
            super().update_job(name, changes, etag)

    store = Restless()
    store.start(WINDOW)
    claim = claim_of(store)
    store.refusing = True
    with pytest.raises(ConflictError, match="job changed 20 times in a row"):
        claim.commit(COMMIT)


# Closing and beating


def test_closing_outlasts_a_heartbeat_at_the_same_time(store: Disturbed) -> None:
    run = store.start(WINDOW)
    claim = claim_of(store)
    store.before_run = claim.beat
    claim.close(Outcome(RunStatus.SUCCEEDED, rows=3, bytes=300, lake_path="job/window"))
    closed = row(store, run)
    assert closed.status is RunStatus.SUCCEEDED
    assert (closed.rows, closed.bytes, closed.lake_path) == (3, 300, "job/window")
    assert closed.started_at is not None
    assert closed.ended_at is not None
    assert closed.duration_s == (closed.ended_at - closed.started_at).total_seconds()


@pytest.mark.parametrize("act", ["close", "beat"])
@pytest.mark.parametrize("change", [{"status": RunStatus.TIMED_OUT}, {"claim_token": "other"}])
def test_a_run_of_somebody_else_is_left_alone(
    store: Disturbed, act: str, change: dict[str, RunStatus | str]
) -> None:
    run = store.start(WINDOW)
    claim = claim_of(store)
    taken = replace(row(store, run), **change)  # type: ignore[arg-type]  # names of two fields
    store.put_run(taken)
    with pytest.raises(FenceLostError):
        claim.close(Outcome(RunStatus.SUCCEEDED)) if act == "close" else claim.beat()
    assert row(store, run) == taken


def test_a_beat_says_when(store: Disturbed) -> None:
    run = store.start(WINDOW)
    claim = claim_of(store)
    before = datetime.now(UTC)
    claim.beat()
    beaten = row(store, run).heartbeat_at
    assert beaten is not None
    assert beaten >= before
