"""What follows a failure, by its kind: how long to wait, and whether it counts as an attempt.

=============  ======================================  ======  ===================================
kind           what has happened                       counts  wait, doubled each time
=============  ======================================  ======  ===================================
transitioning  409 or 404: Azure or a deployment is    no      15 seconds, at most 5 minutes
               still changing the group
throttled      429, or a quota is exhausted            no      what Azure says, or 1 minute, at
                                                               most 15 minutes
unavailable    5xx, no answer, or 403: a role that is  no      30 seconds, at most 10 minutes
               new takes minutes to be known
refused        Azure refuses the start for good        yes     ``retryDelay``, at most 6 hours
image_pull     the image can't be pulled               yes     ``retryDelay``, at least 5 minutes,
                                                               at most 6 hours
out_of_memory  exit code 137                           yes     ``retryDelay``, at most 6 hours
container      any other end without a report          yes     ``retryDelay``, at most 6 hours
lost           no sign of life, or the group is gone   yes     ``retryDelay``, at most 6 hours
deadline       a start or run deadline has passed      yes     ``retryDelay``, at most 6 hours
extractor      the extractor reported an error         yes     ``retryDelay``, at most 6 hours
=============  ======================================  ======  ===================================

What does not count leaves the run as it is, and it waits for its next start. After
:data:`MOST_POSTPONEMENTS` of these it has failed. Each wait has a jitter of a quarter.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import timedelta

from extractor.runtime.records import Failure, Run
from scheduler.declaration import JobDeclaration

LONGEST_RETRY_DELAY = timedelta(hours=6)

MOST_POSTPONEMENTS = 20
"""About an hour and a half of a group in transition, and five hours of throttling."""

OUT_OF_MEMORY_EXIT_CODE = 137
"""128 and the number of SIGKILL, which is what a container gets that takes too much memory."""

_MOST_DOUBLINGS = 20
"""Beyond it any delay is longer than the longest; and a duration has a largest value."""

_IMAGE_PULL_DELAY = timedelta(minutes=5)


@dataclass(frozen=True)
class Backoff:
    """A wait that doubles.

    Args:
        first: the first wait.
        longest: what no wait exceeds, but for its jitter.
    """

    first: timedelta
    longest: timedelta = LONGEST_RETRY_DELAY

    def delay(self, number: int, seed: str) -> timedelta:
        """The wait after failure ``number``, from 1; the same for the same seed."""
        doubled = self.first * int(2 ** min(number - 1, _MOST_DOUBLINGS))
        return min(doubled, self.longest) * random.Random(seed).uniform(0.75, 1.25)  # noqa: S311


POSTPONED = {
    Failure.TRANSITIONING: Backoff(timedelta(seconds=15), timedelta(minutes=5)),
    Failure.THROTTLED: Backoff(timedelta(minutes=1), timedelta(minutes=15)),
    Failure.UNAVAILABLE: Backoff(timedelta(seconds=30), timedelta(minutes=10)),
}
"""The kinds that do not count as an attempt."""


def retry_delay(options: JobDeclaration, run: Run) -> timedelta:
    """Wait before the attempt after ``run``, which has failed."""
    pull = run.failure is Failure.IMAGE_PULL
    first = max(options.retry_delay, _IMAGE_PULL_DELAY) if pull else options.retry_delay
    return Backoff(first).delay(run.attempt, run.run_id)


def postponement(run: Run, failure: Failure, retry_after: timedelta | None) -> timedelta:
    """Wait before the next start of ``run``, which could not be started.

    Args:
        run: with the number of the postponements before this one.
        failure: one of :data:`POSTPONED`.
        retry_after: what Azure says of the time, if anything.
    """
    number = run.postponed + 1
    own = POSTPONED[failure].delay(number, f"{run.run_id} {number}")
    return max(own, retry_after) if retry_after else own
