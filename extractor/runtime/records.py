"""The rows of the tables ``jobs`` and ``runs`` that the scheduler and the extractors share.

The scheduler writes a run and starts the container; the extractor claims the run, commits what it
loaded and closes it. Both sides use the types of this module, so neither can misread the other.

Keys
    ``jobs``: PartitionKey ``job``, RowKey the job's name.
    ``runs``: PartitionKey the job's name, RowKey the inverted time at which the run was created, so
    that Table Storage, which sorts by key and only upwards, lists the newest run first.

A property whose value is ``None`` is absent from its row. Times are aware and in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import Any

JOBS_TABLE = "jobs"
RUNS_TABLE = "runs"
JOB_PARTITION = "job"

_MAX_MICROSECONDS = 10**18
"""Above the microseconds of any four-digit year, and with a fixed number of digits below it."""

_EPOCH = datetime(1, 1, 1, tzinfo=UTC)


BACKFILL = "backfill"
"""Trigger of a run whose commit moves the job's ``backfill_position`` and not its ``watermark``."""

STAGING_FOLDER = "_staging"
"""Folder of the lake for files on their way; readers leave out what begins with an underscore."""


def lake_folders(job: str) -> tuple[str, str]:
    """The folders of the lake in which a job's extractor writes: for readers, and on the way."""
    return job, f"{STAGING_FOLDER}/{job}"


class RunStatus(StrEnum):
    """What has become of a run. The last six are final: a retry is a run of its own."""

    QUEUED = "queued"
    """Decided, and waiting for its turn to start."""
    STARTING = "starting"
    """The container was asked to start and has not claimed the run yet."""
    RUNNING = "running"
    """An extractor holds the claim."""
    SUCCEEDED = "succeeded"
    """The window is in the lake and the watermark has moved."""
    FAILED = "failed"
    """The extractor reported an error, or its container could not be started."""
    TIMED_OUT = "timed_out"
    """The run was still going at its deadline and was stopped."""
    ABANDONED = "abandoned"
    """The container ended without closing its run: killed, out of memory, or its host lost."""
    CANCELLED = "cancelled"
    """An operator, or a newer run in its place, ended the run; it is not tried again."""
    SKIPPED = "skipped"
    """The job was due and was not run; ``reason`` says why."""


class Failure(StrEnum):
    """Why a run could not be started or did not succeed."""

    TRANSITIONING = "transitioning"
    """Azure or a deployment was still changing the container group."""
    THROTTLED = "throttled"
    """Azure takes no more requests for now, or a quota is exhausted."""
    UNAVAILABLE = "unavailable"
    """Azure did not answer, with an error of its own, or did not know the scheduler's role yet."""
    REFUSED = "refused"
    """Azure refused the start."""
    IMAGE_PULL = "image_pull"
    """The container's image could not be pulled."""
    OUT_OF_MEMORY = "out_of_memory"
    """The container was killed, most often for want of memory."""
    CONTAINER = "container"
    """The container ended without a report."""
    LOST = "lost"
    """The container gave no sign of life any more, or is gone."""
    DEADLINE = "deadline"
    """A deadline has passed."""
    EXTRACTOR = "extractor"
    """The extractor reported an error."""


ACTIVE_STATUSES = frozenset({RunStatus.QUEUED, RunStatus.STARTING, RunStatus.RUNNING})
"""The statuses in which a run still holds its job."""


def run_row_key(created: datetime, run_id: str) -> str:
    """Row key of a run: sorts newest first, and differs for two runs of one instant."""
    microseconds = (created - _EPOCH) // (datetime.resolution)
    return f"{_MAX_MICROSECONDS - microseconds:018d}-{run_id}"


@dataclass(frozen=True)
class Run:
    """One run of a job: a row of ``runs``.

    Args:
        job: name of the job.
        run_id: names the run within its job.
        row_key: see :func:`run_row_key`.
        status: see :class:`RunStatus`.
        trigger: ``schedule``, ``manual`` or ``backfill``.
        window_from: inclusive lower bound of the data to load, UTC.
        window_to: exclusive upper bound, UTC, fixed when the run was created.
        created_at: when the scheduler decided on the run, UTC.
        attempt: 1, or one more than that of the run which this one tries again.
        reason: one sentence on why the run is in its status.
        failure: of what kind the failure was that ``reason`` tells of.
        postponed: how often Azure could not start it yet; these are no attempts.
        not_before: a queued run waits until then: the backoff of a retry or a postponed start.
        starting_at: when the container was last asked to start.
        started_at: when the extractor claimed it.
        heartbeat_at: when the extractor last said that it is alive.
        ended_at: when it reached its final status.
        duration_s: seconds from ``started_at`` to ``ended_at``.
        rows: rows loaded.
        bytes: size of the loaded files.
        image_digest: digest of the image that ran, ``sha256:…``.
        lake_path: folder of the lake that holds the window's files.
        error: the exception's last line, where the extractor failed.
        claim_token: random token of the extractor that holds the run.
        etag: version of the row as read; ``None`` before it was written.
    """

    job: str
    run_id: str
    row_key: str
    status: RunStatus
    trigger: str
    window_from: datetime
    window_to: datetime
    created_at: datetime
    attempt: int = 1
    reason: str | None = None
    failure: Failure | None = None
    postponed: int = 0
    not_before: datetime | None = None
    starting_at: datetime | None = None
    started_at: datetime | None = None
    heartbeat_at: datetime | None = None
    ended_at: datetime | None = None
    duration_s: float | None = None
    rows: int | None = None
    bytes: int | None = None
    image_digest: str | None = None
    lake_path: str | None = None
    error: str | None = None
    claim_token: str | None = None
    etag: str | None = field(default=None, compare=False)

    @property
    def active(self) -> bool:
        return self.status in ACTIVE_STATUSES

    def to_entity(self) -> dict[str, Any]:
        """The row's properties; ``None`` is left out, so write with replace, not merge."""
        entity = properties(self, skip=("job", "row_key", "etag"))
        return {"PartitionKey": self.job, "RowKey": self.row_key} | entity

    @classmethod
    def from_entity(cls, entity: Mapping[str, Any]) -> Run:
        """Read a row as azure-data-tables returns it."""
        known = known_properties(cls, entity)
        failure = known.get("failure")
        return cls(
            **known
            | {
                "job": entity["PartitionKey"],
                "row_key": entity["RowKey"],
                "status": RunStatus(entity["status"]),
                "failure": Failure(failure) if failure else None,
                "etag": entity_etag(entity),
            }
        )


@dataclass(frozen=True)
class Commit:
    """The load that last moved a job's watermark: part of a row of ``jobs``.

    It is written in the same single-row update as the watermark, so a crash leaves both or neither.
    The scheduler closes a run whose container died after its commit as succeeded.
    """

    commit_run_id: str
    commit_rows: int
    commit_bytes: int
    commit_lake_path: str


def properties(record: Any, *, skip: tuple[str, ...] = ()) -> dict[str, Any]:
    """The dataclass's fields as table properties, without ``skip`` and without ``None``."""
    values = {f.name: getattr(record, f.name) for f in fields(record) if f.name not in skip}
    return {
        name: value.value if isinstance(value, StrEnum) else value
        for name, value in values.items()
        if value is not None
    }


def known_properties(record: type, entity: Mapping[str, Any]) -> dict[str, Any]:
    """The entity's properties that are fields of the dataclass, times as plain ``datetime``."""
    names = _names(record)
    return {name: _plain(value) for name, value in entity.items() if name in names}


@cache
def _names(record: type) -> frozenset[str]:
    # Asked for at each row of ten thousand.
    return frozenset(f.name for f in fields(record))


def entity_etag(entity: Mapping[str, Any]) -> str | None:
    """The ETag that azure-data-tables keeps in an entity's metadata."""
    metadata: Mapping[str, Any] = getattr(entity, "metadata", {})
    return metadata.get("etag")


def _plain(value: Any) -> Any:
    # TablesEntityDatetime is a datetime that also keeps the service's text; EntityProperty wraps an
    # Int64, which the service returns apart from Int32.
    if isinstance(value, datetime):
        return datetime.fromtimestamp(value.timestamp(), tz=UTC)
    return getattr(value, "value", value) if type(value).__name__ == "EntityProperty" else value
