"""Who did what to a job, and when: the table ``audit``.

An entry is first written into the job's own row, in the very write that does what it tells of; so
there is never one without the other. Then it is copied to the table and taken off the row. Whoever
dies in between leaves it to the next tick, which copies it once more to the same key.

Keys: PartitionKey the job's name, RowKey the inverted time, as in ``runs``: newest first.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from extractor.runtime.records import known_properties, properties, run_row_key
from scheduler.job import Job
from scheduler.views import JobView

if TYPE_CHECKING:
    from scheduler.ports import Store

AUDIT_TABLE = "audit"

MOST_PENDING = 20
"""Entries on a job's row; with more of them it would come near the 64 KiB that Table Storage allows
for a property (https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model)."""


@dataclass(frozen=True)
class AuditEntry:
    """An operation.

    Args:
        job: name of the job.
        row_key: inverted time and a random part.
        at: when.
        by: who.
        operation: such as ``pause``.
        before: JSON of what it changed, as a caller of the HTTP functions sees it.
        after: JSON of the same afterwards.
    """

    job: str
    row_key: str
    at: datetime
    by: str
    operation: str
    before: str
    after: str

    def to_entity(self) -> dict[str, Any]:
        """The row's properties."""
        entity = properties(self, skip=("job", "row_key"))
        return {"PartitionKey": self.job, "RowKey": self.row_key} | entity

    @classmethod
    def from_entity(cls, entity: Mapping[str, Any]) -> Self:
        """Read a row as azure-data-tables returns it."""
        keys = {"job": entity["PartitionKey"], "row_key": entity["RowKey"]}
        return cls(**known_properties(cls, entity) | keys)


def recorded(before: Job, after: Job, operation: str, by: str, now: datetime) -> Job:
    """``after`` with an entry on its row of what has changed."""
    old, new = (JobView.of(each).model_dump(mode="json", by_alias=True) for each in (before, after))
    changed = [key for key in new if new[key] != old[key]]
    entry = AuditEntry(
        job=after.name,
        row_key=run_row_key(now, uuid.uuid4().hex[:12]),
        at=now,
        by=by,
        operation=operation,
        before=json.dumps({key: old[key] for key in changed}),
        after=json.dumps({key: new[key] for key in changed}),
    )
    return replace(after, pending_audit=_to_json([*pending(before), entry]))


def pending(job: Job) -> list[AuditEntry]:
    """The entries on a job's row, oldest first."""
    entities = json.loads(job.pending_audit or "[]")
    return [
        AuditEntry.from_entity(each | {"at": datetime.fromisoformat(each["at"])})
        for each in entities
    ]


def moved(store: Store, job: Job) -> Job:
    """The job without entries on its row, once they are in the table.

    Raises:
        ConflictError: the row was written meanwhile; the entries may be in the table already.
    """
    if not job.pending_audit:
        return job
    for entry in pending(job):
        store.append_audit(entry)
    return store.update_job(replace(job, pending_audit=None))


def _to_json(entries: Sequence[AuditEntry]) -> str:
    return json.dumps([each.to_entity() for each in entries], default=datetime.isoformat)
