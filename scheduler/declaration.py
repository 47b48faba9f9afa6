"""What a stack declares about a job: the part of its configuration that the scheduler acts on.

The Pulumi program validates a declaration at preview and hands it to the scheduler as a setting;
the scheduler reconciles it into the table ``jobs`` at its next tick. So a schedule changes without
a rebuild, and a deployment needs no access to the tables.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cache, cached_property, lru_cache
from typing import Annotated, Any, Self
from zoneinfo import available_timezones

from cronsim import CronSim, CronSimError
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

SETTING_PREFIX = "JOB__"
"""Each declared job is one environment variable of the scheduler: ``JOB__0``, ``JOB__1`` …"""

CRON_FIELDS = 5

SCHEDULE_KEYS = ("schedule", "every", "at", "after")
"""What makes a job due: exactly one of them is declared."""

COMBINATION_ERROR = "combination"
"""Type of the error of keys that are each right and do not go together; its text needs only the
name of what holds them in front."""

_LONGEST_JITTER = timedelta(hours=1)


class CatchUp(StrEnum):
    """What becomes of fire times that passed while nothing could run."""

    LATEST = "latest"
    """One run covers all that was missed, up to ``max_window``; what is left waits for the next
    fire times, one run each."""
    ALL = "all"
    """Runs follow one another, oldest window first, until nothing is left. Each covers one interval
    between fire times, or ``max_window`` where that is set."""
    NONE = "none"
    """Nothing runs before the next fire time; that run's window still begins at the watermark."""


class Overlap(StrEnum):
    """What happens when a job is due while a run of it is still going."""

    SKIP = "skip"
    """The fire time is recorded as a skipped run."""
    QUEUE = "queue"
    """One further run waits until the present one has ended."""
    REPLACE = "replace"
    """The present run is stopped and ends as cancelled; a new one loads its window and more."""


def _five_fields(expression: str) -> str:
    fields = expression.split()
    if len(fields) != CRON_FIELDS:
        raise ValueError(
            "a cron expression of five fields (minute, hour, day of month, month, day of week), "
            f"not of {len(fields)}"
        )
    try:
        CronSim(expression, datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ValueError(
            f"a cron expression of five fields such as '0 6 * * *' ({error})"
        ) from error
    return " ".join(fields)


@cache
def _zones() -> frozenset[str]:
    # Looking for the names takes tens of milliseconds, and a tick may read thousands of jobs.
    return frozenset(available_timezones())


def _known_zone(name: str) -> str:
    # ZoneInfo also opens names such as 'posixrules' or a path's parts; the list is what IANA names.
    if name not in _zones():
        raise ValueError("an IANA time zone such as 'UTC' or 'Europe/Berlin'")
    return name


def _positive(duration: timedelta) -> timedelta:
    if duration <= timedelta(0):
        raise ValueError("a duration above zero such as 'PT10M' or 'P1D'")
    return duration


def _several(names: tuple[str, ...]) -> tuple[str, ...]:
    if not names or len(set(names)) < len(names):
        raise ValueError("a list of names, at least one, and each once")
    return names


def _small(jitter: timedelta) -> timedelta:
    if not timedelta(0) <= jitter <= _LONGEST_JITTER:
        raise ValueError("a duration from PT0S to PT1H")
    return jitter


# What the JSON Schema says for editors, which can't run the functions above.
_NOT_ZERO: JsonDict = {"not": {"pattern": "^[^1-9]*$"}}
_CRON: JsonDict = {
    "pattern": r"^\s*[0-9A-Za-z*,/#?-]+(\s+[0-9A-Za-z*,/#?-]+){4}\s*$",
    "patternErrorMessage": "allowed is a cron expression of five fields such as '0 6 * * *'",
}
_ONE_OR_MORE: JsonDict = {"minItems": 1, "uniqueItems": True}
_ONE_SCHEDULE: JsonDict = {"oneOf": [{"required": [key]} for key in SCHEDULE_KEYS]}
_TIME_ZONE: JsonDict = {"format": "time-zone"}

PositiveDuration = Annotated[
    timedelta, AfterValidator(_positive), Field(json_schema_extra=_NOT_ZERO)
]
CronExpression = Annotated[str, AfterValidator(_five_fields), Field(json_schema_extra=_CRON)]
TimeZone = Annotated[str, AfterValidator(_known_zone), Field(json_schema_extra=_TIME_ZONE)]
Upstreams = Annotated[
    tuple[str, ...], AfterValidator(_several), Field(json_schema_extra=_ONE_OR_MORE)
]


def _all_of(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _combination(given: str, allowed: str) -> PydanticCustomError:
    return PydanticCustomError(
        COMBINATION_ERROR, "has {given}; allowed is {allowed}", {"given": given, "allowed": allowed}
    )


class Declaration(BaseModel):
    """Base of what people write in configuration: unknown keys are errors, keys are camelCase."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True
    )


class JobOptions(Declaration):
    """How a job is scheduled. Durations are ISO 8601 (``PT10M``) and times carry an offset.

    Exactly one of ``schedule``, ``every``, ``at`` and ``after`` says when it is due.

    Args:
        schedule: cron expression of five fields, evaluated in ``time_zone``.
        every: time between two fire times, counted from ``anchor``.
        at: the only fire time.
        after: names of other jobs. The job is due when all of them have loaded more than it has:
            its window ends at the least of their watermarks.
        time_zone: IANA name. What becomes of the hours that are skipped and doubled when clocks
            change is told in docs/schedules.md.
        anchor: a fire time of ``every``; the others follow from it. Without it, ``start``.
        start: where the first run's window begins: the watermark of a job that never ran.
        end: the last moment that may be a fire time, or the end of a window of ``after``.
        jitter: a fire time is acted on with a delay of up to this, the same for one job and fire
            time; the window does not change.
        lag: how far a window's upper bound stays behind the fire time, for data that arrives late.
        max_window: longest window that one run loads; without it, one run loads all there is.
        catch_up: see :class:`CatchUp`.
        overlap: see :class:`Overlap`.
        start_deadline: a started container that has not claimed its run by then has failed.
        run_deadline: a run that is still going by then is stopped.
        heartbeat_deadline: a run that has given no sign of life for so long is stopped; the
            runtime gives one every 30 seconds.
        priority: of jobs that wait for a start, those with the highest come first.
        max_attempts: how often one run is tried in all.
        retry_delay: wait before the second attempt; doubled for each further one, with jitter.
            More of it, by the kind of failure, is told in docs/schedules.md.
        paused: whether a job that is new to the table starts paused. Later changes have no effect:
            pausing belongs to operators.
    """

    model_config = ConfigDict(json_schema_extra=_ONE_SCHEDULE)

    schedule: CronExpression | None = None
    every: PositiveDuration | None = None
    at: AwareDatetime | None = None
    after: Upstreams | None = None
    time_zone: TimeZone = "UTC"
    anchor: AwareDatetime | None = None
    start: AwareDatetime
    end: AwareDatetime | None = None
    jitter: Annotated[timedelta, AfterValidator(_small)] = timedelta(0)
    lag: Annotated[timedelta, Field(ge=timedelta(0))] = timedelta(0)
    max_window: PositiveDuration | None = None
    catch_up: CatchUp = CatchUp.LATEST
    overlap: Overlap = Overlap.SKIP
    start_deadline: PositiveDuration = timedelta(minutes=10)
    run_deadline: PositiveDuration = timedelta(hours=1)
    heartbeat_deadline: PositiveDuration = timedelta(minutes=10)
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    retry_delay: PositiveDuration = timedelta(minutes=1)
    paused: bool = False

    @field_validator("schedule", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        return value.strip() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        present = [key for key in SCHEDULE_KEYS if getattr(self, key) is not None]
        if len(present) != 1:
            raise _combination(self._given(present), f"exactly one of {_all_of(SCHEDULE_KEYS)}")
        for key, companion in (("time_zone", "schedule"), ("anchor", "every")):
            if self._changed(key) and getattr(self, companion) is None:
                raise _combination(
                    self._given([key, *present]), f"{to_camel(key)} with {companion}"
                )
        if self.after and self._changed("jitter"):
            raise _combination(self._given(["jitter", "after"]), "jitter with a fire time")
        if self.overlap is Overlap.REPLACE:
            # Each would stop the run that makes up for what was missed, over and over.
            if self.after:
                raise _combination(self._given(["overlap", "after"]), "replace with a fire time")
            if self.catch_up is CatchUp.ALL:
                allowed = "catchUp latest or none with replace"
                raise _combination(self._given(["overlap", "catch_up"]), allowed)
        for key in ("at", "end"):
            moment: datetime | None = getattr(self, key)
            if moment is not None and moment <= self.start:
                raise _combination(self._given([key, "start"]), f"{key} later than start")
        return self

    def _changed(self, key: str) -> bool:
        return bool(getattr(self, key) != type(self).model_fields[key].default)

    def _given(self, keys: Sequence[str]) -> str:
        values = self.model_dump(mode="json", include=set(keys))
        written = [f"{to_camel(key)} {json.dumps(values[key])}" for key in keys]
        return _all_of(written) if keys else f"none of {_all_of(SCHEDULE_KEYS)}"

    @property
    def described(self) -> str:
        """When it is due, for people: the cron expression, or another key with its value."""
        if self.schedule:
            return self.schedule
        (key,) = (key for key in SCHEDULE_KEYS if getattr(self, key) is not None)
        value: Any = self.model_dump(mode="json", include={key})[key]
        return f"{key} {value if isinstance(value, str) else ', '.join(value)}"


class JobDeclaration(JobOptions):
    """A job as the scheduler receives it.

    Args:
        name: the job's name, also that of its extractor.
        container_group: name of the Azure container group that runs it.
        cpu: cores of the container, for what its runs cost.
        memory: its memory in GB, for the same.
    """

    name: str
    container_group: str
    cpu: float | None = None
    memory: float | None = None

    def to_setting(self) -> str:
        """One line of JSON without defaults, so that a new default reaches every job."""
        return self.model_dump_json(by_alias=True, exclude_defaults=True)

    @cached_property
    def fingerprint(self) -> str:
        """Hash that changes with the declaration."""
        return hashlib.sha256(self.to_setting().encode()).hexdigest()

    @staticmethod
    def from_setting(setting: str) -> JobDeclaration:
        """The inverse of :meth:`to_setting`.

        Raises:
            pydantic.ValidationError: the text is no declaration.
        """
        return _read(setting)


# A tick reads all of them, and hardly any has changed since the one before.
@lru_cache(maxsize=2**18)
def _read(setting: str) -> JobDeclaration:
    return JobDeclaration.model_validate(json.loads(setting))


def declarations_from_environment(environment: Mapping[str, str]) -> list[JobDeclaration]:
    """All declared jobs, in the order of their names."""
    settings = (value for key, value in environment.items() if key.startswith(SETTING_PREFIX))
    return sorted((JobDeclaration.from_setting(value) for value in settings), key=lambda d: d.name)
