"""The HTTP functions without HTTP: what operators ask of the tables, and what they are answered.

``function_app.py`` serves :data:`ENDPOINTS`. Answers are JSON with keys in camelCase and times in
ISO 8601, UTC. Only ``POST`` changes anything, and it has to say that its body is JSON: a page of
another site can't make a browser send that without asking first, and nobody answers such a
question (https://developer.mozilla.org/docs/Web/HTTP/Guides/CORS#simple_requests).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

import pydantic
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
)

from extractor.runtime.window import Window
from scheduler import history, operations
from scheduler.declaration import CronExpression, Declaration, PositiveDuration, TimeZone
from scheduler.history import Price
from scheduler.job import Job
from scheduler.ports import Store
from scheduler.schedule import Schedule
from scheduler.sentences import sentence
from scheduler.views import AuditView, JobView, RunView, View

GET, POST = "GET", "POST"

_OK = 200
_BAD_REQUEST = 400
_UNAUTHORIZED = 401
_NOT_FOUND = 404
_CONFLICT = 409
_UNSUPPORTED_MEDIA_TYPE = 415

_JSON = "application/json"

_Model = TypeVar("_Model", bound=BaseModel)


class BadRequestError(Exception):
    """The request is wrong; the text has one sentence for each mistake."""


@dataclass(frozen=True)
class Request:
    """What a caller sent.

    Args:
        caller: who it is; ``None`` where nobody knows.
        content_type: of the body.
        route: parts of the path, by their names in the endpoint's route.
        query: parameters behind the question mark.
        body: as sent.
    """

    caller: str | None
    content_type: str = ""
    route: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Response:
    """What the caller gets: a status of HTTP and JSON."""

    status: int
    body: str


@dataclass(frozen=True)
class Call:
    """A request that may be answered.

    Args:
        store: the tables.
        by: who calls.
        now: the time.
        job: the job's name, where the path has one.
        query: parameters.
        body: the object that was sent.
        price: what containers cost, where that is known.
    """

    store: Store
    by: str
    now: datetime
    job: str
    query: Mapping[str, str]
    body: Mapping[str, Any]
    price: Price | None


@dataclass(frozen=True)
class Endpoint:
    """An HTTP function.

    Args:
        name: of the function.
        method: ``GET`` or ``POST``.
        route: its path below ``/api/``.
        answer: does what is asked for.
    """

    name: str
    method: str
    route: str
    answer: Callable[[Call], View]


def respond(
    endpoint: Endpoint,
    store: Store,
    request: Request,
    now: datetime,
    price: Price | None = None,
) -> Response:
    """Answer a request; what goes wrong with the tables is raised."""
    if request.caller is None:
        return _problem(_UNAUTHORIZED, "Sign in with Microsoft Entra ID first.")
    if endpoint.method == POST and _media_type(request) != _JSON:
        sent = json.dumps(request.content_type)
        return _problem(_UNSUPPORTED_MEDIA_TYPE, f"Content-Type is {sent}; allowed is {_JSON}.")
    try:
        call = Call(
            store=store,
            by=request.caller,
            now=now,
            job=request.route.get("name", ""),
            query=request.query,
            body=_object(request.body) if endpoint.method == POST else {},
            price=price,
        )
        return Response(_OK, endpoint.answer(call).model_dump_json(by_alias=True))
    except BadRequestError as error:
        return _problem(_BAD_REQUEST, str(error))
    except operations.UnknownJobError as error:
        return _problem(_NOT_FOUND, str(error))
    except operations.OperationError as error:
        return _problem(_CONFLICT, str(error))


def _media_type(request: Request) -> str:
    return request.content_type.partition(";")[0].strip().lower()


def _object(body: bytes) -> Mapping[str, Any]:
    """The object that was sent; nothing is an empty one."""
    try:
        value = json.loads(body or b"{}")
    except ValueError as error:
        raise BadRequestError(f"The body is not JSON ({error}); allowed is an object.") from error
    if not isinstance(value, dict):
        raise BadRequestError(f"The body is {json.dumps(value)}; allowed is an object.")
    return value


def _read(model: type[_Model], values: Mapping[str, Any]) -> _Model:
    try:
        return model.model_validate(values)
    except pydantic.ValidationError as error:
        details = error.errors()
        raise BadRequestError(" ".join(sentence("", model, each) for each in details)) from None


def _problem(status: int, text: str) -> Response:
    return Response(status, json.dumps({"error": text}))


# What is read

MOST_ROWS = 1000
"""Of one answer, and of one answer of Table Storage."""


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


Moment = Annotated[AwareDatetime, AfterValidator(_utc)]


class Nothing(Declaration):
    """No parameters."""


class PageQuery(Declaration):
    """Which part of a long list.

    Args:
        limit: most rows of the answer.
        after: ``next`` of the answer before.
    """

    limit: Annotated[int, Field(ge=1, le=MOST_ROWS)] = 50
    after: Annotated[str, StringConstraints(max_length=100)] = ""


class HistoryQuery(Declaration):
    """How far back to look, in days; at most :data:`MOST_ROWS` runs are taken into account."""

    days: Annotated[int, Field(ge=1, le=3650)] = 30


class WatermarkBody(Declaration):
    """What to load from next."""

    watermark: Moment


class ScheduleBody(Declaration):
    """Another schedule.

    Args:
        schedule: cron expression of five fields; ``null`` returns to what was declared.
        time_zone: IANA name; without it, the declared one.
    """

    schedule: CronExpression | None
    time_zone: TimeZone | None = None


class BackfillBody(Declaration):
    """A range of the past to load.

    Args:
        start: ``from`` in the body.
        to: end of the range.
        chunk: how much one run loads; without it, as much as a run of the live schedule does.
        overlap: whether the folders of windows that do not fit into the chunks were deleted.
    """

    start: Annotated[Moment, Field(alias="from")]
    to: Moment
    chunk: PositiveDuration | None = None
    overlap: bool = False

    @field_validator("to")
    @classmethod
    def _later(cls, to: datetime, info: ValidationInfo) -> datetime:
        start = info.data.get("start")
        if start is not None and to <= start:
            raise ValueError("a time later than from")
        return to


class Jobs(View):
    """All jobs, by name."""

    jobs: Sequence[JobView]


class Runs(View):
    """Some runs of a job, newest first; ``next`` asks for older ones, if it is there."""

    runs: Sequence[RunView]
    next: str | None


class Audit(View):
    """Some of what operators did to a job, newest first; ``next`` as in :class:`Runs`."""

    entries: Sequence[AuditView]
    next: str | None


def _list_jobs(call: Call) -> Jobs:
    _read(Nothing, call.query)
    jobs = sorted(call.store.jobs(), key=lambda job: job.name)
    return Jobs(jobs=[JobView.of(job) for job in jobs])


def _show_job(call: Call) -> JobView:
    _read(Nothing, call.query)
    return JobView.of(_job(call))


def _list_runs(call: Call) -> Runs:
    page = _read(PageQuery, call.query)
    job = _job(call)
    runs = call.store.runs(job.name, after=page.after, limit=page.limit)
    rate = _rate(call, job)
    full = len(runs) == page.limit
    views = [RunView.of(run, history.queue_s(run), history.cost(run, rate)) for run in runs]
    return Runs(runs=views, next=runs[-1].row_key if full else None)


def _show_history(call: Call) -> history.History:
    since = call.now - timedelta(days=_read(HistoryQuery, call.query).days)
    job = _job(call)
    runs = call.store.runs(job.name, limit=MOST_ROWS)
    return history.summary((run for run in runs if run.created_at >= since), _rate(call, job))


def _rate(call: Call, job: Job) -> history.Rate | None:
    return history.Rate.of(call.price, job.options.cpu, job.options.memory)


def _list_audit(call: Call) -> Audit:
    page = _read(PageQuery, call.query)
    entries = call.store.audit(_job(call).name, after=page.after, limit=page.limit)
    views = [
        AuditView(
            at=each.at,
            by=each.by,
            operation=each.operation,
            before=json.loads(each.before),
            after=json.loads(each.after),
        )
        for each in entries
    ]
    full = len(entries) == page.limit
    return Audit(entries=views, next=entries[-1].row_key if full else None)


_JOB_NAME = re.compile(r"[a-z0-9-]{1,63}")


def _job(call: Call) -> Job:
    job = call.store.job(call.job) if _JOB_NAME.fullmatch(call.job) else None
    return job or operations.unknown(call.store, call.job)


# What is done


def _start(call: Call) -> JobView:
    return _done(call, operations.run_now)


def _pause(call: Call) -> JobView:
    return _done(call, operations.pause)


def _resume(call: Call) -> JobView:
    return _done(call, operations.resume)


def _cancel(call: Call) -> JobView:
    return _done(call, operations.cancel)


def _done(call: Call, operation: Callable[..., Job]) -> JobView:
    """Do what needs no more than to be asked for."""
    _read(Nothing, call.body)
    return JobView.of(operation(call.store, _job(call).name, by=call.by, now=call.now))


def _set_watermark(call: Call) -> JobView:
    body = _read(WatermarkBody, call.body)
    name = _job(call).name
    changed = operations.set_watermark(call.store, name, body.watermark, by=call.by, now=call.now)
    return JobView.of(changed)


def _set_schedule(call: Call) -> JobView:
    body = _read(ScheduleBody, call.body)
    job = _job(call)
    schedule = (
        Schedule(body.schedule, body.time_zone or job.options.time_zone) if body.schedule else None
    )
    changed = operations.override_schedule(call.store, job.name, schedule, by=call.by, now=call.now)
    return JobView.of(changed)


def _start_backfill(call: Call) -> JobView:
    body = _read(BackfillBody, call.body)
    changed = operations.start_backfill(
        call.store,
        _job(call).name,
        Window(body.start, body.to),
        body.chunk,
        overlap=body.overlap,
        by=call.by,
        now=call.now,
    )
    return JobView.of(changed)


def _cancel_backfill(call: Call) -> JobView:
    return _done(call, operations.cancel_backfill)


ENDPOINTS = (
    Endpoint("list_jobs", GET, "jobs", _list_jobs),
    Endpoint("show_job", GET, "jobs/{name}", _show_job),
    Endpoint("list_runs", GET, "jobs/{name}/runs", _list_runs),
    Endpoint("show_history", GET, "jobs/{name}/history", _show_history),
    Endpoint("list_audit", GET, "jobs/{name}/audit", _list_audit),
    Endpoint("start_job", POST, "jobs/{name}/start", _start),
    Endpoint("pause_job", POST, "jobs/{name}/pause", _pause),
    Endpoint("resume_job", POST, "jobs/{name}/resume", _resume),
    Endpoint("cancel_run", POST, "jobs/{name}/cancel", _cancel),
    Endpoint("set_watermark", POST, "jobs/{name}/watermark", _set_watermark),
    Endpoint("set_schedule", POST, "jobs/{name}/schedule", _set_schedule),
    Endpoint("start_backfill", POST, "jobs/{name}/backfill", _start_backfill),
    Endpoint("cancel_backfill", POST, "jobs/{name}/backfill/cancel", _cancel_backfill),
)
