"""The claim on a run: who may load it, commit it and close it.

Whatever was decided elsewhere can be undone elsewhere: the scheduler may give up on a run while its
container still works. So the rights are two tokens in the tables, and each is checked in the very
write that needs it:

claim token, in ``runs``
    Of two containers that start for one run, one gets it.
fence, in ``jobs``
    Names the claim token that may move the watermark. The scheduler takes it away before it gives
    up on a run, so a container that it believed dead cannot commit any more.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

from extractor.runtime.log import facts
from extractor.runtime.ports import ConflictError, JobRow, RunStore
from extractor.runtime.records import BACKFILL, Commit, Failure, Run, RunStatus
from extractor.runtime.window import Window

logger = logging.getLogger(__name__)

_ATTEMPTS = 20
_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 1.0


class FenceLostError(Exception):
    """The scheduler has given up on this run, or another container has it: stop, write nothing."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended: fields of its row, see :class:`~extractor.runtime.records.Run`."""

    status: RunStatus
    reason: str | None = None
    error: str | None = None
    rows: int | None = None
    bytes: int | None = None
    lake_path: str | None = None

    def applied_to(self, run: Run, now: datetime) -> Run:
        """The run's row as it is to be written at ``now``."""
        return replace(
            run,
            status=self.status,
            reason=self.reason,
            failure=Failure.EXTRACTOR if self.status is RunStatus.FAILED else None,
            error=self.error,
            rows=self.rows,
            bytes=self.bytes,
            lake_path=self.lake_path,
            ended_at=now,
            duration_s=(now - run.started_at).total_seconds() if run.started_at else None,
        )


@dataclass(frozen=True)
class Claim:
    """A run that this process, and no other one, loads.

    Args:
        store: the tables.
        run: the run's row at the moment it was claimed.
        token: the claim token, random.
    """

    store: RunStore
    run: Run
    token: str

    @property
    def window(self) -> Window:
        return Window(self.run.window_from, self.run.window_to)

    def check_fence(self) -> None:
        """Make sure that this process may still change what readers see.

        Raises:
            FenceLostError: it may not.
        """
        self._fenced_job()

    def beat(self) -> None:
        """Say that this process is alive.

        Raises:
            FenceLostError: the run is no longer its own.
            ConflictError: somebody wrote the row at the same time; the next beat will do.
        """
        self.store.write_run(replace(self._own_run(), heartbeat_at=datetime.now(UTC)))

    def commit(self, commit: Commit) -> None:
        """Move the job's watermark to the window's end, and say which load did it, in one write.

        A run of a backfill moves the backfill's position and leaves the watermark where it is.

        Raises:
            FenceLostError: nothing has moved and must not.
            ConflictError: the row was written by others at every one of many attempts.
        """
        moved = "backfill_position" if self.run.trigger == BACKFILL else "watermark"
        changes = {moved: self.run.window_to, **asdict(commit)}
        for _ in _attempts():
            job = self._fenced_job()
            try:
                return self.store.update_job(self.run.job, changes, job.etag)
            except ConflictError:
                continue
        raise ConflictError(f"The row of job {self.run.job} changed {_ATTEMPTS} times in a row.")

    def close(self, outcome: Outcome) -> None:
        """Give the run its final status, if it is still this process's own.

        Raises:
            FenceLostError: the run is no longer its own, and has not been touched.
            ConflictError: the row was written by others at every one of many attempts.
        """
        for _ in _attempts():
            run = self._own_run()
            try:
                return self.store.write_run(outcome.applied_to(run, datetime.now(UTC)))
            except ConflictError:
                continue
        raise ConflictError(f"The row of run {self.run.run_id} changed {_ATTEMPTS} times in a row.")

    def _own_run(self) -> Run:
        run = self.store.read_run(self.run.job, self.run.row_key)
        if run is None or run.claim_token != self.token or run.status is not RunStatus.RUNNING:
            raise FenceLostError(f"Run {self.run.run_id} is no longer this container's.")
        return run

    def _fenced_job(self) -> JobRow:
        job = self.store.read_job(self.run.job)
        if job is None or job.fence != self.token:
            raise FenceLostError(f"The fence of job {self.run.job} is no longer this container's.")
        return job


def take(store: RunStore, job: str, image_digest: str) -> Claim | None:
    """Claim the run that the scheduler has started this container for.

    Args:
        store: the tables.
        job: the job's name.
        image_digest: of the image that runs, for the run's row.

    Returns:
        The claim; ``None`` where there is no run to do, as after a deployment, or another container
        has it. Nothing was written then, but for the claim of a run that was given up meanwhile.
    """
    run = _startable(store, job)
    if run is None:
        return None
    claim = _claimed(store, run, image_digest)
    if claim is None:
        logger.info("lost the race %s", facts(job=job, run=run.run_id))
        return None
    if not _set_fence(claim):
        logger.info("given up before it began %s", facts(job=job, run=run.run_id))
        return None
    return claim


def _startable(store: RunStore, job: str) -> Run | None:
    row = store.read_job(job)
    run = store.read_run(job, row.active_run) if row and row.active_run else None
    if run is None:
        logger.info("nothing to do %s", facts(job=job))
        return None
    if run.status is not RunStatus.STARTING:
        logger.info("nothing to do %s", facts(job=job, run=run.run_id, status=run.status))
        return None
    return run


def _claimed(store: RunStore, run: Run, image_digest: str) -> Claim | None:
    token = str(uuid.uuid4())
    now = datetime.now(UTC)
    claimed = replace(
        run,
        status=RunStatus.RUNNING,
        claim_token=token,
        started_at=now,
        heartbeat_at=now,
        image_digest=image_digest,
        reason=None,
        failure=None,
    )
    # A conflict: another container was first; or the write arrived and its answer did not, and the
    # client tried again. The row tells.
    with contextlib.suppress(ConflictError):
        store.write_run(claimed)
    # Read it again in any case: a store whose row versions are times lets two writes of the same
    # millisecond both pass, and keeps the second.
    present = store.read_run(run.job, run.row_key)
    if present is None or present.claim_token != token:
        return None
    return Claim(store, present, token)


def _set_fence(claim: Claim) -> bool:
    """Fence the job for this claim, unless the scheduler has turned to another run."""
    for _ in _attempts():
        job = claim.store.read_job(claim.run.job)
        if job is None or job.active_run != claim.run.row_key:
            return False
        try:
            claim.store.update_job(claim.run.job, {"fence": claim.token}, job.etag)
        except ConflictError:
            continue
        return True
    return False


def _attempts() -> Iterator[int]:
    """Numbers of attempts, with a growing random pause between them."""
    for number in range(_ATTEMPTS):
        yield number
        pause = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**number)
        time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - nobody gains by guessing it
