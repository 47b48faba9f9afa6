"""What a job's runs took and brought: pure functions of its runs, for people to compare.

Cost is an estimate. Azure Container Instances bills cores and memory by the second from the pull of
the image to the end of the container (https://azure.microsoft.com/pricing/details/container-instances/),
so here it is counted from the start that the scheduler asked for; at the size that the job has now.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from pydantic import Field

from extractor.runtime.records import Run, RunStatus
from scheduler.declaration import Declaration
from scheduler.views import View

MEDIAN, HIGH = 0.5, 0.95

_JUDGED = frozenset(
    {RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.TIMED_OUT, RunStatus.ABANDONED}
)
"""What counts for the rate of success: not what an operator ended, nor what never began."""


class Price(Declaration):
    """What a container costs.

    Args:
        currency: three letters.
        core_second: price of one core for a second.
        gb_second: price of one GB of memory for a second.
    """

    currency: str = Field(pattern="^[A-Z]{3}$")
    core_second: float = Field(ge=0)
    gb_second: float = Field(ge=0)


@dataclass(frozen=True)
class Rate:
    """What a second of a job's container costs.

    Args:
        currency: of the price.
        second: the price.
    """

    currency: str
    second: float

    @classmethod
    def of(cls, price: Price | None, cpu: float | None, memory: float | None) -> Self | None:
        """The rate of a container of ``cpu`` cores and ``memory`` GB, where all three are known."""
        if price is None or cpu is None or memory is None:
            return None
        return cls(price.currency, cpu * price.core_second + memory * price.gb_second)


class Spread(View):
    """Seconds, as percentiles: half of the runs took at most ``p50``, 19 of 20 at most ``p95``."""

    p50: float
    p95: float

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Self | None:
        """The spread by nearest rank; ``None`` of nothing."""
        ordered = sorted(seconds)
        return cls(p50=_rank(ordered, MEDIAN), p95=_rank(ordered, HIGH)) if ordered else None


class History(View):
    """Some runs of one job.

    Args:
        since: when the first of them was decided on.
        runs: how many ended, without those that were skipped.
        succeeded: how many of them succeeded.
        success_rate: that share of all that were not cancelled, from 0 to 1.
        duration_seconds: of those that succeeded, from claim to end.
        queue_seconds: from when a run might begin to its claim: waiting for a place, pulling the
            image, starting.
        rows: loaded in all.
        bytes: their size.
        cost: of all of them.
        currency: of the cost.
    """

    since: datetime | None
    runs: int
    succeeded: int
    success_rate: float | None
    duration_seconds: Spread | None
    queue_seconds: Spread | None
    rows: int
    bytes: int
    cost: float | None
    currency: str | None


def summary(runs: Iterable[Run], rate: Rate | None) -> History:
    """What runs of one job come to."""
    counted = [run for run in runs if run.status is not RunStatus.SKIPPED and not run.active]
    succeeded = [run for run in counted if run.status is RunStatus.SUCCEEDED]
    judged = sum(run.status in _JUDGED for run in counted)
    return History(
        since=min((run.created_at for run in counted), default=None),
        runs=len(counted),
        succeeded=len(succeeded),
        success_rate=len(succeeded) / judged if judged else None,
        duration_seconds=Spread.of(
            run.duration_s for run in succeeded if run.duration_s is not None
        ),
        queue_seconds=Spread.of(wait for run in counted if (wait := queue_s(run)) is not None),
        rows=sum(run.rows or 0 for run in counted),
        bytes=sum(run.bytes or 0 for run in counted),
        cost=sum(cost(run, rate) or 0.0 for run in counted) if rate else None,
        currency=rate.currency if rate else None,
    )


def queue_s(run: Run) -> float | None:
    """Seconds from when a run might begin to its claim; ``None`` where there was no claim."""
    if run.started_at is None:
        return None
    return (run.started_at - (run.not_before or run.created_at)).total_seconds()


def cost(run: Run, rate: Rate | None) -> float | None:
    """What a run's container cost; nothing where none was started, ``None`` where it is unknown."""
    if rate is None or run.ended_at is None:
        return None
    begun = run.starting_at or run.started_at
    return max(0.0, (run.ended_at - begun).total_seconds()) * rate.second if begun else 0.0


def _rank(ordered: Sequence[float], share: float) -> float:
    return ordered[math.ceil(share * len(ordered)) - 1]
