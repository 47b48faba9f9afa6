"""One tick: reconcile the declarations, look after the runs that go on, start what is due.

Each write is conditional on the row that the decision was made on, so two schedulers do no harm,
and each step can be done again after a crash between any two writes. Only the limits are shared by
the jobs, and these are given out in turn; all else is done to many jobs at once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, partial
from typing import TypeVar

from extractor.runtime.log import facts
from extractor.runtime.records import BACKFILL, Run, RunStatus
from scheduler import audit, capacity, decisions, telemetry
from scheduler.capacity import DEFAULT_LIMITS, Capacity, Limits
from scheduler.decisions import Verdict
from scheduler.declaration import JobDeclaration
from scheduler.job import Job, run_from_json
from scheduler.pool import Pool
from scheduler.ports import (
    BusyError,
    ConflictError,
    ContainerGroups,
    ContainersError,
    GroupState,
    Store,
)
from scheduler.retention import Retention
from scheduler.upstream import Upstreams

Result = TypeVar("Result")

_log = logging.getLogger(__name__)

_FAULT = "The scheduler failed on it: "
"""Begins the reason of a job that could not be advanced; the next tick that can takes it away."""


@dataclass
class _Case:
    """A job in a tick.

    Args:
        stored: its row as it is in the table.
        job: its row as it is to be.
        run: the run that holds it.
        unwritten: that run has no row yet.
        refusal: why the run may not start in this tick, where others come first.
    """

    stored: Job
    job: Job
    run: Run | None = None
    unwritten: bool = False
    refusal: str | None = None

    @property
    def held(self) -> Run:
        """The run, where there is one for certain."""
        assert self.run is not None  # noqa: S101
        return self.run

    @property
    def has_container(self) -> bool:
        """Whether a container runs for it, or may do so."""
        return self.run is not None and self.run.status is not RunStatus.QUEUED

    def may_start(self, now: datetime) -> bool:
        """Whether nothing is left but to start its run."""
        return self.run is not None and decisions.may_start(self.job, self.run, now)


@dataclass(frozen=True)
class Scheduler:
    """The scheduler's one action is :meth:`tick`.

    Args:
        store: the tables.
        groups: the containers.
        retention: what deletes old rows; ``None``: they stay.
        limits: how many containers may run, and be started.
        workers: how many jobs are attended to at once.
    """

    store: Store
    groups: ContainerGroups
    retention: Retention | None = None
    limits: Limits = DEFAULT_LIMITS
    workers: int = 1

    @cached_property
    def _pool(self) -> Pool:
        return Pool(self.workers)

    @telemetry.ticking()
    def tick(self, declarations: Iterable[JobDeclaration], now: datetime) -> None:
        """Bring every job up to ``now``. A job that fails says so and does not stop the others.

        First every job is looked after; then those that may start do so in the order of their
        priority and due time, as far as the limits allow.

        Args:
            declarations: all declared jobs; others in the table are retired.
            now: aware; what is due is decided against it.
        """
        begun = time.monotonic()
        declared = {each.name: each for each in declarations}
        jobs = {each.name: each for each in self.store.jobs()}
        telemetry.jobs_read(jobs.values(), now)
        waiting, running = self._look_after(jobs, declared, now)
        starts = (start for job in jobs.values() for start in capacity.read(job.starts))
        self._start_in_turn(waiting, Capacity(self.limits, running, starts, now), now)
        self._purge(jobs, now)
        duration = f"{time.monotonic() - begun:.3f}"
        _log.info("tick finished %s", facts(jobs=len(jobs), duration_s=duration))

    def _look_after(
        self, jobs: Mapping[str, Job], declared: Mapping[str, JobDeclaration], now: datetime
    ) -> tuple[list[_Case], int]:
        """Bring every job so far that nothing is left but to start its run.

        Returns:
            The jobs of which that is left, and how many others have a container that runs.
        """
        upstreams = Upstreams.of(jobs, declared)

        def look_after(name: str) -> _Case:
            case = self._case(jobs.get(name), declared.get(name), now)
            self._advance(case, upstreams, now)
            if not case.may_start(now):
                self._settle(case)
            return case

        names = sorted(declared.keys() | jobs.keys())
        attended = self._pool.map(
            lambda name: self._guarded(name, partial(look_after, name)), names
        )
        cases = [case for case in attended if case]
        # One that can't be looked after counts as it was.
        running = {name for name, job in jobs.items() if job.active_run}
        without = {case.job.name for case in cases if not case.has_container}
        return [case for case in cases if case.may_start(now)], len(running - without)

    def _start_in_turn(self, waiting: Iterable[_Case], left: Capacity, now: datetime) -> None:
        """Share out what is left of the limits by turn, then start all that have got a share."""

        def launch(case: _Case) -> None:
            if case.refusal:
                case.job = replace(case.job, reason=case.refusal)
            else:
                self._launch(case, now)
            self._settle(case)

        in_turn = sorted(waiting, key=lambda each: decisions.turn(each.job, each.held))
        for case in in_turn:
            case.refusal = left.take(backfill=case.held.trigger == BACKFILL)
        self._pool.map(lambda case: self._guarded(case.job.name, partial(launch, case)), in_turn)

    def _purge(self, jobs: Iterable[str], now: datetime) -> None:
        if self.retention is None:
            return
        try:
            self.retention.purge(jobs, now)
        except Exception:  # noqa: BLE001 - what is left can go at the next tick
            _log.exception("old rows not deleted")

    def _guarded(self, name: str, action: Callable[[], Result]) -> Result | None:
        """Do something for a job; there is no result where that fails."""
        try:
            return action()
        except ConflictError:
            # Another scheduler or an extractor wrote the row; the next tick sees what is left.
            _log.info("row changed meanwhile %s", facts(job=name))
        except Exception as error:  # noqa: BLE001 - one job must not stop the others
            _log.exception("job failed to advance %s", facts(job=name))
            self._note(name, f"{_FAULT}{type(error).__name__}: {error}")
        return None

    def _note(self, name: str, reason: str) -> None:
        """Say on a job's row, where operators look, why it could not be advanced."""
        try:
            job = self.store.job(name)
            if job and job.reason != reason:
                self.store.update_job(replace(job, reason=reason))
        except Exception:  # noqa: BLE001 - it is in the log, and the next tick tries again
            _log.warning("reason not written %s", facts(job=name))

    def _case(self, job: Job | None, declaration: JobDeclaration | None, now: datetime) -> _Case:
        if job is None:
            # A name without a row is that of a declaration.
            assert declaration is not None  # noqa: S101
            job = self.store.create_job(Job.declared(declaration))
            _log.info("job declared %s", facts(job=job.name))
        case = _Case(stored=job, job=job)
        if job.reason and job.reason.startswith(_FAULT):
            case.job = replace(job, reason=None)
        if declaration is not None:
            case.job = decisions.reconciled(case.job, declaration, now)
        elif not job.retired:
            case.job = replace(case.job, retired=True)
        return case

    def _advance(self, case: _Case, upstreams: Upstreams, now: datetime) -> None:
        """Decide what becomes of a job, and do all of it but for a start."""
        if case.job.closing:
            # A crash came between the decision and the stop; a container that has ended stays so.
            self._stop(case.job)
            self._close(case, run_from_json(case.job.closing), now)
        if case.job.active_run and not case.run:
            self._supervise(case, upstreams, now)
        if not case.job.active_run:
            case.job = decisions.decided(case.job, now, upstreams.progress(case.job))
            self._hold(case)

    def _hold(self, case: _Case) -> None:
        """Turn to the run that a decision has given the job, if it has."""
        pending = case.job.pending_run
        case.run = run_from_json(pending) if pending else None
        case.unwritten = case.run is not None

    def _save(self, case: _Case) -> None:
        """Write what has changed: the job first, which names the run that may not be there yet."""
        status = _status(case.job)
        if case.job.status != status:
            case.job = replace(case.job, status=status)
        if case.job is not case.stored and case.job != case.stored:
            case.stored = case.job = self.store.update_job(case.job)
        if case.run and case.unwritten:
            case.run = self.store.create_run(case.run)
            case.unwritten = False

    def _settle(self, case: _Case) -> None:
        self._save(case)
        if case.job.pending_audit:
            audit.moved(self.store, case.job)

    def _supervise(self, case: _Case, upstreams: Upstreams, now: datetime) -> None:
        skip = decisions.skipped(case.job, now)
        if skip:
            case.job, skipped_run = skip
            self.store.create_run(skipped_run)
        case.job = decisions.queued(case.job, now)
        case.run = self._active_run(case.job)
        verdict = self._displaced(case, upstreams, now) if case.run.active else None
        if verdict:
            self._give_up(case, verdict, now)
        elif not case.run.active:
            self._ended(case, case.run, now)
        elif case.run.status is not RunStatus.QUEUED:
            self._watch(case, now)

    def _displaced(self, case: _Case, upstreams: Upstreams, now: datetime) -> Verdict | None:
        """Why the active run makes room for another one, if it does."""
        progress = upstreams.progress(case.job)
        return decisions.replaced(case.job, case.held, now) or decisions.gives_way(
            case.job, case.held, now, progress
        )

    def _active_run(self, job: Job) -> Run:
        """The run that holds the job; its row is written here if a crash has come before."""
        # They are written together.
        assert job.active_run  # noqa: S101
        assert job.pending_run  # noqa: S101
        found = self.store.run(job.name, job.active_run)
        return found or self.store.create_run(run_from_json(job.pending_run))

    def _watch(self, case: _Case, now: datetime) -> None:
        if decisions.beats(case.held, now):
            state: GroupState | None = GroupState(terminated=False)
        else:
            state = self._state(case.job)
        if state is None or state.terminated:
            # Read again: one that has closed its run and then ended is seen as such.
            case.run = self._active_run(case.job)
            if not case.run.active:
                return self._ended(case, case.run, now)
        verdict = decisions.judged(case.job, case.held, state, now)
        if verdict:
            return self._give_up(case, verdict, now)
        if case.held.status is RunStatus.STARTING and state is not None and state.terminated:
            # The start was lost in a crash, or met a container that was just ending.
            return self._start(case, now)
        return self._flag(case, now)

    def _state(self, job: Job) -> GroupState | None:
        try:
            return self.groups.state(job.options.container_group)
        except (BusyError, ContainersError) as error:
            # Deadlines are kept all the same.
            _log.warning("state unknown %s", facts(job=job.name, why=error))
            return GroupState(terminated=False)

    def _flag(self, case: _Case, now: datetime) -> None:
        slow = decisions.slow(case.job, case.held, now)
        if slow:
            case.job = slow
            self._save(case)
            _log.warning("run slow %s", facts(job=case.job.name, run=case.held.run_id))

    def _launch(self, case: _Case, now: datetime) -> None:
        case.job = decisions.started(case.job, now)
        starting = replace(
            case.held, status=RunStatus.STARTING, starting_at=now, reason=None, failure=None
        )
        if case.unwritten:
            case.run = starting
            self._save(case)
            if case.run != starting:
                # Another scheduler wrote the row first, and may have ended the run meanwhile.
                raise ConflictError(f"The run {starting.run_id} was begun meanwhile.")
        else:
            self._save(case)
            case.run = self.store.update_run(starting)
        self._start(case, now)

    def _start(self, case: _Case, now: datetime) -> None:
        run = case.held
        named = facts(job=case.job.name, run=run.run_id, attempt=run.attempt)
        try:
            self.groups.start(case.job.options.container_group)
        except BusyError as error:
            _log.info("start postponed %s", f"{named} {facts(kind=error.failure, why=error)}")
            self._postpone(case, error, now)
        except ContainersError as error:
            _log.warning("start refused %s", f"{named} {facts(why=error)}")
            self._give_up(case, decisions.refused(str(error)), now)
        else:
            _log.info("run started %s", named)
            telemetry.run_started(run)

    def _postpone(self, case: _Case, error: BusyError, now: datetime) -> None:
        later = decisions.postponed(case.held, error, now)
        if isinstance(later, Verdict):
            return self._give_up(case, later, now)
        case.run = self.store.update_run(later)
        case.job = replace(case.job, reason=later.reason)
        return None

    def _give_up(self, case: _Case, verdict: Verdict, now: datetime) -> None:
        job, run = case.job, case.held
        if verdict.status is RunStatus.TIMED_OUT:
            _log.warning("run overdue %s", facts(job=job.name, run=run.run_id))
        group = job.options.container_group
        line = self.groups.last_log_line(group) if verdict.has_ended else None
        case.job = decisions.given_up(job, replace(run, error=line), verdict, now)
        case.run = None
        self._save(case)
        if verdict.stop:
            self._stop(case.job)
        assert case.job.closing is not None  # noqa: S101 - written above
        self._close(case, run_from_json(case.job.closing), now)

    def _stop(self, job: Job) -> None:
        try:
            self.groups.stop(job.options.container_group)
        except (BusyError, ContainersError) as error:
            # It has lost its rights to write; what it still does has no effect.
            _log.warning("stop refused %s", facts(job=job.name, why=error))

    def _close(self, case: _Case, final: Run, now: datetime) -> None:
        present = self.store.run(final.job, final.row_key)
        if present is not None and present.active:
            self.store.update_run(replace(final, etag=present.etag))
        elif present is not None:
            final = present
        self._ended(case, final, now)

    def _ended(self, case: _Case, run: Run, now: datetime) -> None:
        case.job = decisions.closed(case.job, run, now)
        self._hold(case)
        self._save(case)
        named = facts(job=case.job.name, run=run.run_id, status=run.status.value)
        details = facts(rows=run.rows, duration_s=run.duration_s, why=run.reason, kind=run.failure)
        _log.info("run ended %s %s", named, details)
        telemetry.run_ended(run)


def _status(job: Job) -> str:
    if job.active_run:
        return "running"
    if job.retired:
        return "retired"
    return "paused" if job.paused else "idle"
