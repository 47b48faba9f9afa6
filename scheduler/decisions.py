"""What is due, and what to make of a run: pure functions of rows, states and the time."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import median

from extractor.runtime.records import BACKFILL, Failure, Run, RunStatus, run_row_key
from scheduler import backfill, capacity
from scheduler.capacity import WAITS
from scheduler.declaration import CatchUp, JobDeclaration, Overlap
from scheduler.job import Job, run_from_json, run_to_json
from scheduler.ports import BusyError, GroupState
from scheduler.retries import (
    MOST_POSTPONEMENTS,
    OUT_OF_MEMORY_EXIT_CODE,
    postponement,
    retry_delay,
)
from scheduler.upstream import Progress

MISFIRE_GRACE = timedelta(minutes=5)
"""With ``catchUp: none``, a fire time that is older than this was missed."""

BEATING = timedelta(seconds=45)
"""A run that has given a sign of life since then is alive: they are 30 seconds apart."""

PULL_PATIENCE = timedelta(minutes=2)
"""Azure tries again to pull an image; and a new identity's first token may be refused."""

SLOW_FACTOR = 3
SLOW_MARGIN = timedelta(minutes=1)
"""A run is slow that takes longer than so many times the median of those before, than that and this
margin, and than each of those before."""

_DURATIONS = 20
_FEWEST_DURATIONS = 5

RETRIED = frozenset({RunStatus.FAILED, RunStatus.ABANDONED, RunStatus.TIMED_OUT})


@dataclass(frozen=True)
class Verdict:
    """A run has to be given up.

    Args:
        status: the final status.
        reason: one sentence on why.
        stop: whether its container may still be going.
        failure: of what kind it is.
    """

    status: RunStatus
    reason: str
    stop: bool = False
    failure: Failure | None = None

    @property
    def has_ended(self) -> bool:
        """Whether its container has ended by itself, and its last words are the run's."""
        return self.failure in (Failure.CONTAINER, Failure.OUT_OF_MEMORY)


def reconciled(job: Job, declaration: JobDeclaration, now: datetime) -> Job:
    """The job after a deployment: what was declared changes, what has happened stays."""
    if job.declaration_hash == declaration.fingerprint and not job.retired:
        return job
    declared = replace(
        job,
        declaration=declaration.to_setting(),
        declaration_hash=declaration.fingerprint,
        retired=False,
        override_schedule=None,
        override_time_zone=None,
        held_until=None,
    )
    unchanged = (declared.schedule, declared.upstreams) == (job.schedule, job.upstreams)
    if unchanged and not job.retired:
        return declared
    if declared.upstreams:
        return replace(declared, scheduled_through=job.watermark, next_fire_at=None)
    # Fire times of the new schedule that lie in the past were never promised.
    through = max(job.scheduled_through, now) if job.last_run_id else job.scheduled_through
    return replace(
        declared,
        scheduled_through=through,
        next_fire_at=declared.schedule.next_fire(through),
    )


def decided(job: Job, now: datetime, upstream: Progress | None = None) -> Job:
    """The job with a new active run where one is due, and without a request that was met.

    A job that is paused, retired or busy keeps its fire times until it is not.

    Args:
        job: as read.
        now: the time.
        upstream: how far the jobs have come after which it runs; ``None`` where it runs by the
            clock.
    """
    if job.active_run or job.closing or job.retired:
        return job
    if job.run_requested_at:
        return _requested(job, now, upstream)
    if job.paused:
        return replace(job, queued_fire_at=None)
    held = job.held_until is not None and job.held_until > now
    if upstream:
        job = _followed(job, now, upstream)
    elif _due(job, now) and not held:
        job = _fired(job, now)
    return job if job.active_run else _backfilled(job, now)


def _backfilled(job: Job, now: datetime) -> Job:
    """The job with the next chunk of its backfill; what the live schedule asked for went first."""
    found = backfill.next_chunk(job, now)
    if found is None:
        return job
    window, attempt = found
    run = replace(new_run(job, window.end, now, trigger=BACKFILL), window_from=window.start)
    # Why the live schedule has nothing to do is still so.
    chunk = with_run(job, replace(run, attempt=attempt))
    return replace(chunk, reason=job.reason, held_until=job.held_until)


def _requested(job: Job, now: datetime, upstream: Progress | None) -> Job:
    loaded = upstream.loaded_until or job.watermark if upstream else now
    end = _window_end(job, min(now, loaded))
    met = replace(job, run_requested_at=None, run_requested_by=None)
    if end <= job.watermark:
        return replace(met, reason=_nothing_to_load(job, end))
    return with_run(met, new_run(met, end, now, trigger="manual"))


def _followed(job: Job, now: datetime, upstream: Progress) -> Job:
    if upstream.loaded_until is None:
        return replace(job, reason=upstream.reason)
    last = job.options.end
    loaded = min(upstream.loaded_until, last) if last else upstream.loaded_until
    end = _window_end(job, loaded)
    if end <= job.watermark:
        return replace(job, reason=upstream.reason)
    # What was tried in vain is not tried again until there is more. A success goes on with what
    # the longest window has left over.
    if loaded <= job.scheduled_through and job.last_status is not RunStatus.SUCCEEDED:
        return replace(job, reason=upstream.reason)
    through = max(loaded, job.scheduled_through)
    run = new_run(job, end, now, trigger="schedule")
    return with_run(replace(job, scheduled_through=through), run)


def _due(job: Job, now: datetime) -> bool:
    fire = job.next_fire_at
    # The delay is not looked up before the fire time: most jobs of most ticks end here.
    return fire is not None and fire <= now and job.due_at(fire) <= now


def _latest_due(job: Job, now: datetime) -> datetime | None:
    """The last fire time that is to be acted on by now, if it was not yet."""
    fire = job.schedule.latest_fire(now)
    while fire and fire > job.scheduled_through:
        if job.due_at(fire) <= now:
            return fire
        fire = job.schedule.latest_fire(fire - datetime.resolution)
    return None


def _fired(job: Job, now: datetime) -> Job:
    options = job.options
    catches_all = options.catch_up is CatchUp.ALL
    fire = job.next_fire_at if catches_all else _latest_due(job, now)
    if fire is None or fire <= job.scheduled_through:
        return replace(job, next_fire_at=job.schedule.next_fire(job.scheduled_through))
    missed = options.catch_up is CatchUp.NONE and now - job.due_at(fire) > MISFIRE_GRACE
    waited = job.queued_fire_at
    if waited and waited <= job.scheduled_through:
        waited = None
    end = _window_end(job, waited if missed and waited else fire)
    # With `all`, one fire time may take several windows.
    reached = not catches_all or end >= fire - options.lag
    through = fire if reached else job.scheduled_through
    passed = replace(
        job,
        scheduled_through=through,
        next_fire_at=job.schedule.next_fire(through),
        queued_fire_at=None,
        reason=None,
    )
    if missed and not waited:
        return replace(
            passed, reason=f"The fire time {_utc(fire)} was missed, and catchUp is none."
        )
    if end <= job.watermark:
        return replace(passed, reason=_nothing_to_load(job, end))
    return with_run(passed, new_run(passed, end, now, trigger="schedule"))


def _window_end(job: Job, moment: datetime) -> datetime:
    options = job.options
    end = moment - options.lag
    return min(end, job.watermark + options.max_window) if options.max_window else end


def new_run(job: Job, end: datetime, now: datetime, *, trigger: str) -> Run:
    """A run of the window from the watermark to ``end``."""
    run_id = uuid.uuid4().hex[:12]
    return Run(
        job=job.name,
        run_id=run_id,
        row_key=run_row_key(now, run_id),
        status=RunStatus.QUEUED,
        trigger=trigger,
        window_from=job.watermark,
        window_to=end,
        created_at=now,
    )


def with_run(job: Job, run: Run) -> Job:
    """The job, held by a run."""
    return replace(
        job,
        active_run=run.row_key,
        pending_run=run_to_json(run),
        fence=None,
        reason=None,
        held_until=None,
    )


def skipped(job: Job, now: datetime) -> tuple[Job, Run] | None:
    """A fire time that passed while a run was going, where such are skipped.

    Returns:
        The job with that fire time decided, and a run that says so; ``None`` where there is none.
        A chunk of a backfill makes a fire time wait, and never skips it.
    """
    if backfill.holds(job):
        return None
    if job.options.overlap is not Overlap.SKIP or job.options.catch_up is CatchUp.ALL:
        return None
    fire = _passed_fire(job, now)
    if fire is None:
        return None
    run_id = f"skipped-{fire:%Y%m%dT%H%M}"
    run = Run(
        job=job.name,
        run_id=run_id,
        row_key=run_row_key(fire, run_id),
        status=RunStatus.SKIPPED,
        trigger="schedule",
        window_from=job.watermark,
        window_to=max(job.watermark, _window_end(job, fire)),
        created_at=fire,
        ended_at=now,
        reason="The run before was still going, and overlap is skip.",
    )
    return replace(job, scheduled_through=fire, next_fire_at=job.schedule.next_fire(fire)), run


def queued(job: Job, now: datetime) -> Job:
    """The job with a fire time that passed while a run was going, where it has to be remembered.

    With ``catchUp: none`` it would be taken for a missed one when that run has ended.
    """
    waits = job.options.overlap is Overlap.QUEUE or backfill.holds(job)
    if not waits or job.options.catch_up is not CatchUp.NONE:
        return job
    fire = _passed_fire(job, now)
    if fire is None or now - job.due_at(fire) > MISFIRE_GRACE:
        return job
    return replace(job, queued_fire_at=fire)


def replaced(job: Job, run: Run, now: datetime) -> Verdict | None:
    """That the active run gives way to one of a fire time that has passed, where such replace."""
    if job.options.overlap is not Overlap.REPLACE or run.trigger == BACKFILL:
        return None
    fire = _passed_fire(job, now)
    if fire is None:
        return None
    reason = f"It was replaced by the run of the fire time {_utc(fire)}."
    return Verdict(RunStatus.CANCELLED, reason, stop=run.status is not RunStatus.QUEUED)


def gives_way(job: Job, run: Run, now: datetime, upstream: Progress | None) -> Verdict | None:
    """That a chunk of a backfill which still waits for its start ends, where the job has a run due.

    It is decided on anew when that run has ended.
    """
    if run.trigger != BACKFILL or run.status is not RunStatus.QUEUED:
        return None
    freed = replace(job, active_run=None, pending_run=None)
    instead = decided(freed, now, upstream)
    if instead.active_run is None or backfill.holds(instead):
        return None
    return Verdict(RunStatus.SKIPPED, "What was due went before this chunk of the backfill.")


def _passed_fire(job: Job, now: datetime) -> datetime | None:
    if job.paused or job.retired or not _due(job, now):
        return None
    return _latest_due(job, now)


def judged(job: Job, run: Run, state: GroupState | None, now: datetime) -> Verdict | None:
    """Whether a started run has to be given up.

    Args:
        job: its job.
        run: ``starting`` or ``running``, read after ``state``.
        state: what its container does; ``None`` where the group is gone.
        now: the time.
    """
    if run.status is RunStatus.RUNNING:
        return _running_judged(job.options, run, state, now)
    return _starting_judged(job.options, run, state, now)


def _running_judged(
    options: JobDeclaration, run: Run, state: GroupState | None, now: datetime
) -> Verdict | None:
    if state is None:
        return Verdict(RunStatus.ABANDONED, "Its container group is gone.", failure=Failure.LOST)
    # A view that lags behind may still show the end of the container before.
    since = run.starting_at or run.created_at
    if state.terminated and (state.started_at is None or _after(state, since)):
        reason = f"Its container ended{_with_code(state)} without closing the run."
        return Verdict(RunStatus.ABANDONED, reason, failure=_kind(state))
    if now - (run.started_at or run.created_at) > options.run_deadline:
        reason = f"It was still going after {options.run_deadline}."
        return Verdict(RunStatus.TIMED_OUT, reason, stop=True, failure=Failure.DEADLINE)
    if run.heartbeat_at and now - run.heartbeat_at > options.heartbeat_deadline:
        reason = f"It has given no sign of life for {options.heartbeat_deadline}."
        return Verdict(RunStatus.ABANDONED, reason, stop=True, failure=Failure.LOST)
    return None


def _starting_judged(
    options: JobDeclaration, run: Run, state: GroupState | None, now: datetime
) -> Verdict | None:
    started_at = run.starting_at or run.created_at
    if state and state.terminated and state.exit_code and _after(state, started_at):
        reason = f"Its container ended{_with_code(state)} before it claimed the run."
        return Verdict(RunStatus.FAILED, reason, failure=_kind(state))
    if state and _pull_fails(state, started_at) and now - started_at > PULL_PATIENCE:
        reason = f"Its image can't be pulled: {state.pull_error}"
        return Verdict(RunStatus.FAILED, reason, stop=True, failure=Failure.IMAGE_PULL)
    if now - started_at > options.start_deadline:
        reason = f"Its container did not claim the run within {options.start_deadline}."
        return Verdict(RunStatus.FAILED, reason, stop=True, failure=Failure.DEADLINE)
    return None


def _pull_fails(state: GroupState, since: datetime) -> bool:
    return state.pull_failed_at is not None and state.pull_failed_at >= since


def _kind(state: GroupState) -> Failure:
    killed = state.exit_code == OUT_OF_MEMORY_EXIT_CODE
    return Failure.OUT_OF_MEMORY if killed else Failure.CONTAINER


def refused(text: str) -> Verdict:
    """That a run has failed which Azure does not start, with what Azure says."""
    return Verdict(RunStatus.FAILED, f"Azure refused the start: {text}", failure=Failure.REFUSED)


def postponed(run: Run, error: BusyError, now: datetime) -> Run | Verdict:
    """The run, waiting for its next start; or that it has waited in vain for the last time."""
    if run.postponed >= MOST_POSTPONEMENTS:
        reason = f"Azure could not start it {run.postponed + 1} times: {error}"
        return Verdict(RunStatus.FAILED, reason, failure=error.failure)
    return replace(
        run,
        status=RunStatus.QUEUED,
        reason=f"{WAITS} for Azure: {error}",
        failure=error.failure,
        postponed=run.postponed + 1,
        not_before=now + postponement(run, error.failure, error.retry_after),
        starting_at=None,
    )


def may_start(job: Job, run: Run, now: datetime) -> bool:
    """Whether a run waits for nothing but its turn."""
    held_back = job.paused and run.trigger != "manual"
    due = run.not_before is None or run.not_before <= now
    return run.status is RunStatus.QUEUED and due and not held_back


def turn(job: Job, run: Run) -> tuple[bool, int, datetime, str]:
    """What runs that wait are sorted by: higher priority first, then what has waited longest.

    Backfills are last, whatever their jobs' priority.
    """
    since = run.not_before or run.created_at
    return run.trigger == BACKFILL, -job.options.priority, since, job.name


def started(job: Job, now: datetime) -> Job:
    """The job with a start that counts against the limits."""
    waited = job.reason is not None and job.reason.startswith(WAITS)
    reason = None if waited else job.reason
    return replace(job, starts=capacity.recorded(job.starts, now), reason=reason)


def beats(run: Run, now: datetime) -> bool:
    """Whether a run is alive for certain, so that its container needs not be looked at."""
    running = run.status is RunStatus.RUNNING
    return running and run.heartbeat_at is not None and now - run.heartbeat_at <= BEATING


def slow(job: Job, run: Run, now: datetime) -> Job | None:
    """The job with a mark on a run that takes far longer than those before it did.

    Returns:
        ``None`` where it does not, or has its mark already.
    """
    durations = durations_of(job)
    if run.trigger == BACKFILL or run.started_at is None:
        return None
    if job.slow_run == run.run_id or len(durations) < _FEWEST_DURATIONS:
        return None
    usual = median(durations)
    limit = max(SLOW_FACTOR * usual, usual + SLOW_MARGIN.total_seconds(), *durations)
    if (now - run.started_at).total_seconds() <= limit:
        return None
    took = f"{timedelta(seconds=round(limit))}"
    reason = (
        f"Its run is slow: it is going for more than {took}; the median of the last "
        f"{len(durations)} is {timedelta(seconds=round(usual))}."
    )
    return replace(job, slow_run=run.run_id, reason=reason)


def durations_of(job: Job) -> list[int]:
    """Seconds that the last successful runs took, oldest first."""
    return [int(each) for each in (job.durations or "").split()]


def given_up(job: Job, run: Run, verdict: Verdict, now: datetime) -> Job:
    """The job after a run's rights are taken away; a load that it committed counts."""
    final = replace(
        run,
        status=verdict.status,
        reason=verdict.reason,
        failure=verdict.failure,
        ended_at=now,
        duration_s=(now - run.started_at).total_seconds() if run.started_at else None,
    )
    if job.commit_run_id == run.run_id:
        final = replace(
            final,
            status=RunStatus.SUCCEEDED,
            reason=None,
            failure=None,
            rows=job.commit_rows,
            bytes=job.commit_bytes,
            lake_path=job.commit_lake_path,
        )
    return replace(job, active_run=None, pending_run=None, fence=None, closing=run_to_json(final))


def closed(job: Job, run: Run, now: datetime) -> Job:
    """The job after a run has ended, held by a retry where one is due.

    A chunk of a backfill is none of the live schedule's runs, and its retry does not hold the job.
    """
    freed = replace(job, active_run=None, pending_run=None, closing=None, fence=None, reason=None)
    final = _cancelled(job) or run.status not in RETRIED or run.attempt >= job.options.max_attempts
    if run.trigger == BACKFILL:
        retry_at = None if final else now + retry_delay(job.options, run)
        return backfill.ended(freed, run, retry_at)
    ended = replace(
        freed,
        last_run_id=run.run_id,
        last_status=run.status,
        last_run_at=run.ended_at or now,
        last_success_at=(
            run.ended_at if run.status is RunStatus.SUCCEEDED else job.last_success_at
        ),
        durations=_with_duration(job, run),
        slow_run=None,
    )
    return _held(ended, run, now) if final else with_run(ended, _retry(ended, run, now))


def _held(job: Job, run: Run, now: datetime) -> Job:
    """The job after its run's last attempt: what it has to catch up with waits for a fire time.

    Without that, a window that always fails would be begun anew at each tick.
    """
    if run.status is RunStatus.SUCCEEDED or job.options.catch_up is not CatchUp.ALL:
        return job
    until = job.schedule.next_fire(now)
    if until is None:
        return job
    reason = f"Its last run ended {run.status.value}; it goes on at the fire time {_utc(until)}."
    return replace(job, held_until=until, reason=reason)


def _with_duration(job: Job, run: Run) -> str | None:
    if run.status is not RunStatus.SUCCEEDED or run.duration_s is None:
        return job.durations
    latest = [*durations_of(job), round(run.duration_s)][-_DURATIONS:]
    return " ".join(map(str, latest))


def _cancelled(job: Job) -> bool:
    """Whether an operator has ended its run, whatever the extractor still said of it."""
    return job.closing is not None and run_from_json(job.closing).status is RunStatus.CANCELLED


def _retry(job: Job, run: Run, now: datetime) -> Run:
    # A committed load has moved the watermark; what is left of the window may be none of it.
    end = max(run.window_to, job.watermark)
    return replace(
        new_run(job, end, now, trigger=run.trigger),
        attempt=run.attempt + 1,
        not_before=now + retry_delay(job.options, run),
    )


def _after(state: GroupState, moment: datetime) -> bool:
    return state.started_at is not None and state.started_at >= moment


def _with_code(state: GroupState) -> str:
    if state.exit_code is None:
        return ""
    killed = " (killed, most often for want of memory)"
    code = f" with exit code {state.exit_code}"
    return f"{code}{killed}" if _kind(state) is Failure.OUT_OF_MEMORY else code


def _nothing_to_load(job: Job, end: datetime) -> str:
    return f"Nothing to load: the watermark is {_utc(job.watermark)}, the window's end {_utc(end)}."


def _utc(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
