"""Old rows of ``runs`` and ``audit`` go, a few at each tick.

A job's newest run stays however old it is, and so does one that is going.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from extractor.runtime.records import run_row_key
from scheduler.ports import Store

BATCH = 100
"""Rows of one transaction of Table Storage
(https://learn.microsoft.com/rest/api/storageservices/performing-entity-group-transactions)."""

JOBS_PER_TICK = 10

INTERVAL = timedelta(days=1)
"""How often a job is looked at. A process that is new looks at all of them once more."""

_LAST_ID = "~"
"""Sorts behind every id of a run."""


@dataclass
class Retention:
    """Deletes what is older than ``keep``.

    Args:
        store: the tables.
        keep: how long rows are kept.
    """

    store: Store
    keep: timedelta
    _looked_at: dict[str, datetime] = field(default_factory=dict)

    def purge(self, jobs: Iterable[str], now: datetime) -> None:
        """Delete old rows of some of the jobs; the other ones come later."""
        for job in self._due(jobs, now):
            runs, entries = self._old_runs(job, now), self._old_entries(job, now)
            if runs:
                self.store.delete_runs(job, runs)
            if entries:
                self.store.delete_audit(job, entries)
            # Where there may be more, the next tick goes on.
            if max(len(runs), len(entries)) < BATCH - 1:
                self._looked_at[job] = now

    def _due(self, jobs: Iterable[str], now: datetime) -> list[str]:
        due = (job for job in jobs if now - self._looked_at.get(job, now - INTERVAL) >= INTERVAL)
        return [job for job, _ in zip(due, range(JOBS_PER_TICK), strict=False)]

    def _old_runs(self, job: str, now: datetime) -> list[str]:
        old = self.store.runs(job, after=self._last_kept(now), limit=BATCH)
        if not old:
            return []
        newest = self.store.runs(job, limit=1)
        return [run.row_key for run in old if not run.active and run.row_key != newest[0].row_key]

    def _old_entries(self, job: str, now: datetime) -> list[str]:
        old = self.store.audit(job, after=self._last_kept(now), limit=BATCH)
        return [entry.row_key for entry in old]

    def _last_kept(self, now: datetime) -> str:
        return run_row_key(now - self.keep, _LAST_ID)
