"""Jobs that run after others: what they may load, and declarations that can't be followed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from graphlib import CycleError, TopologicalSorter
from typing import Self

from scheduler.declaration import JobDeclaration
from scheduler.job import Job


@dataclass(frozen=True)
class Progress:
    """How far the jobs have come after which another one runs.

    Args:
        loaded_until: everything before it was loaded by all of them; ``None``: by none yet.
        reason: what the job waits for, if it has loaded as much.
    """

    loaded_until: datetime | None
    reason: str


@dataclass(frozen=True)
class Upstreams:
    """All jobs, as what others run after.

    Args:
        jobs: the rows by name, as read.
        obstacles: why jobs can't run after those that they name, see :func:`obstacles`.
    """

    jobs: Mapping[str, Job]
    obstacles: Mapping[str, str]

    @classmethod
    def of(cls, jobs: Mapping[str, Job], declared: Mapping[str, JobDeclaration]) -> Self:
        """Those of one tick."""
        after = {name: each.after for name, each in declared.items() if each.after}
        return cls(jobs, obstacles(after, declared))

    def progress(self, job: Job) -> Progress | None:
        """How far the upstreams of a job have come; ``None`` where it has none.

        That is the least of their watermarks. The watermark of a job that has not loaded anything
        is where it is to begin, and does not count.
        """
        if not job.upstreams:
            return None
        if job.name in self.obstacles:
            return Progress(None, self.obstacles[job.name])
        rows = [self.jobs[name] for name in job.upstreams if name in self.jobs]
        loaded = [each for each in rows if each.commit_run_id is not None]
        if len(loaded) < len(job.upstreams):
            missing = sorted({*job.upstreams} - {each.name for each in loaded})
            return Progress(None, f"It waits for the first load of {', '.join(missing)}.")
        slowest = min(loaded, key=lambda each: each.watermark)
        return Progress(slowest.watermark, f"It waits until {slowest.name} has loaded more.")


def unknown(names: Sequence[str], known: Collection[str]) -> list[str]:
    """The names of upstreams that are no declared jobs."""
    return [name for name in names if name not in known]


def circles(after: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """The circles among jobs, such as ``[a, b, a]`` where a runs after b and b after a.

    Of circles that share a job, one is found.

    Args:
        after: the upstreams of each job that has any.
    """
    rest, found = dict(after), []
    while True:
        try:
            TopologicalSorter(rest).prepare()
        except CycleError as error:
            # The sorter names what comes first at first.
            circle: list[str] = error.args[1][::-1]
            found.append(circle)
            for name in circle:
                rest.pop(name, None)
        else:
            return found


def obstacles(after: Mapping[str, Sequence[str]], known: Collection[str]) -> dict[str, str]:
    """Why jobs can't run after those that they name: a sentence for each such job.

    Args:
        after: the upstreams of each job that has any.
        known: the names of all declared jobs.
    """
    found = {
        name: f"It is to run after {', '.join(missing)}, and there is no such job."
        for name, names in after.items()
        if (missing := unknown(names, known))
    }
    for circle in circles(after):
        sentence = f"It is to run after itself: {' after '.join(circle)}."
        found |= dict.fromkeys(circle, sentence)
    return found
