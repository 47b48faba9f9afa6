"""One tick: reconcile the declarations, look after the runs that go on, start what is due.

Each write is conditional on the row that the decision was made on, so two schedulers do no harm,
and each step can be done again after a crash between any two writes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from extractor.runtime.log import facts
from extractor.runtime.records import Run, RunStatus
from scheduler import audit, decisions, telemetry
from scheduler.declaration import JobDeclaration
from scheduler.job import Job, run_from_json
from scheduler.ports import BusyError, ConflictError, ContainerGroups, ContainersError, Store
from scheduler.retention import Retention
from scheduler.upstream import Upstreams

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scheduler:
    """The scheduler's one action is :meth:`tick`.

    Args:
        store: the tables.
        groups: the containers.
        retention: what deletes old rows; ``None``: they stay.
    """

    store: Store
    groups: ContainerGroups
    retention: Retention | None = None

    @telemetry.ticking()
    def tick(self, declarations: Iterable[JobDeclaration], now: datetime) -> None:
        """Bring every job up to ``now``. A job that fails is logged and does not stop the others.

        Args:
            declarations: all declared jobs; others in the table are retired.
            now: aware; what is due is decided against it.
        """
        begun = time.monotonic()
        declared = {each.name: each for each in declarations}
        jobs = {each.name: each for each in self.store.jobs()}
        telemetry.jobs_read(jobs.values(), now)
        upstreams = Upstreams.of(jobs, declared)
        for name in sorted(declared.keys() | jobs.keys()):
            try:
                self._advance(jobs.get(name), declared.get(name), upstreams, now)
            except ConflictError:
                # Another scheduler or an extractor wrote the row; the next tick sees what is left.
                _log.info("row changed meanwhile %s", facts(job=name))
            except Exception:  # noqa: BLE001 - one job must not stop the others
                _log.exception("job failed to advance %s", facts(job=name))
        self._purge(jobs, now)
        duration = f"{time.monotonic() - begun:.3f}"
        _log.info("tick finished %s", facts(jobs=len(jobs), duration_s=duration))

    def _purge(self, jobs: Iterable[str], now: datetime) -> None:
        if self.retention is None:
            return
        try:
            self.retention.purge(jobs, now)
        except Exception:  # noqa: BLE001 - what is left can go at the next tick
            _log.exception("old rows not deleted")

    def _advance(
        self,
        job: Job | None,
        declaration: JobDeclaration | None,
        upstreams: Upstreams,
        now: datetime,
    ) -> None:
        if job is None:
            if declaration is None:
                return
            job = self.store.create_job(Job.declared(declaration))
            _log.info("job declared %s", facts(job=job.name))
        job = self._reconcile(job, declaration, now)
        if job.closing:
            # A crash came between the decision and the stop; a container that has ended stays so.
            self._stop(job)
            job = self._close(job, run_from_json(job.closing), now)
        if job.active_run:
            job = self._supervise(job, now)
        if not job.active_run:
            job = self._write(job, decisions.decided(job, now, upstreams.progress(job)))
            if job.active_run:
                self._launch(job, self._active_run(job), now)
        job = self._write(job, replace(job, status=_status(job)))
        audit.moved(self.store, job)

    def _reconcile(self, job: Job, declaration: JobDeclaration | None, now: datetime) -> Job:
        if declaration is None:
            return self._write(job, replace(job, retired=True))
        return self._write(job, decisions.reconciled(job, declaration, now))

    def _write(self, job: Job, changed: Job) -> Job:
        return job if changed == job else self.store.update_job(changed)

    def _active_run(self, job: Job) -> Run:
        """The run that holds the job; its row is written here if a crash has come before."""
        # They are written together.
        assert job.active_run  # noqa: S101
        assert job.pending_run  # noqa: S101
        found = self.store.run(job.name, job.active_run)
        return found or self.store.create_run(run_from_json(job.pending_run))

    def _supervise(self, job: Job, now: datetime) -> Job:
        skip = decisions.skipped(job, now)
        if skip:
            passed, skipped_run = skip
            self.store.create_run(skipped_run)
            job = self._write(job, passed)
        job = self._write(job, decisions.queued(job, now))
        run = self._active_run(job)
        replaced = decisions.replaced(job, run, now) if run.active else None
        if replaced:
            return self._give_up(job, run, replaced, now)
        if run.status is RunStatus.QUEUED:
            self._launch(job, run, now)
            return job
        if run.active:
            return self._watch(job, now)
        return self._ended(job, run, now)

    def _watch(self, job: Job, now: datetime) -> Job:
        group = job.options.container_group
        # First the container, then the row: one that has closed its run and ended is seen as such.
        state = self.groups.state(group)
        run = self._active_run(job)
        if not run.active:
            return self._ended(job, run, now)
        verdict = decisions.judged(job, run, state, now)
        if verdict:
            return self._give_up(job, run, verdict, now)
        if run.status is RunStatus.STARTING and state is not None and state.terminated:
            # The start was lost in a crash, or met a container that was just ending.
            self._start(job, run)
        return job

    def _launch(self, job: Job, run: Run, now: datetime) -> None:
        held_back = job.paused and run.trigger != "manual"
        if held_back or (run.not_before and run.not_before > now):
            return
        run = self.store.update_run(replace(run, status=RunStatus.STARTING, starting_at=now))
        self._start(job, run)

    def _start(self, job: Job, run: Run) -> None:
        named = facts(job=job.name, run=run.run_id, attempt=run.attempt)
        try:
            self.groups.start(job.options.container_group)
        except BusyError as error:
            _log.info("start postponed %s", f"{named} {facts(why=error)}")
        except ContainersError as error:
            # The start deadline ends this, if nothing else does.
            _log.warning("start refused %s", f"{named} {facts(why=error)}")
        else:
            _log.info("run started %s", named)
            telemetry.run_started(run)

    def _give_up(self, job: Job, run: Run, verdict: decisions.Verdict, now: datetime) -> Job:
        group = job.options.container_group
        if verdict.status is RunStatus.TIMED_OUT:
            _log.warning("run overdue %s", facts(job=job.name, run=run.run_id))
        ended = not verdict.stop and run.status is not RunStatus.QUEUED
        line = self.groups.last_log_line(group) if ended else None
        job = self._write(job, decisions.given_up(job, replace(run, error=line), verdict, now))
        if verdict.stop:
            self._stop(job)
        assert job.closing is not None  # noqa: S101 - written above
        return self._close(job, run_from_json(job.closing), now)

    def _stop(self, job: Job) -> None:
        try:
            self.groups.stop(job.options.container_group)
        except (BusyError, ContainersError) as error:
            # It has lost its rights to write; what it still does has no effect.
            _log.warning("stop refused %s", facts(job=job.name, why=error))

    def _close(self, job: Job, final: Run, now: datetime) -> Job:
        present = self.store.run(final.job, final.row_key)
        if present is not None and present.active:
            self.store.update_run(replace(final, etag=present.etag))
        elif present is not None:
            final = present
        return self._ended(job, final, now)

    def _ended(self, job: Job, run: Run, now: datetime) -> Job:
        job = self._write(job, decisions.closed(job, run, now))
        named = facts(job=job.name, run=run.run_id, status=run.status.value)
        details = facts(rows=run.rows, duration_s=run.duration_s, why=run.reason)
        _log.info("run ended %s %s", named, details)
        telemetry.run_ended(run)
        if job.active_run:
            self._launch(job, self._active_run(job), now)
        return job


def _status(job: Job) -> str:
    if job.active_run:
        return "running"
    if job.retired:
        return "retired"
    return "paused" if job.paused else "idle"
