"""Jobs that run after others: a pipeline of containers from extraction to a report."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import pytest

from extractor.runtime.records import RunStatus
from scheduler.declaration import JobDeclaration
from scheduler.job import Job
from scheduler.memory import MemoryStore
from scheduler.ports import ContainerGroups, GroupState
from scheduler.tick import Scheduler
from scheduler.upstream import circles
from tests.unit.scheduler.world import START, TICK, declare, hour


class Pipeline(ContainerGroups):
    """A scheduler and containers that do their work at once, or fail at it."""

    def __init__(self, *declarations: JobDeclaration) -> None:
        self.declarations = list(declarations)
        self.store = MemoryStore()
        self.scheduler = Scheduler(self.store, self)
        self.failing: set[str] = set()
        self.loaded: list[tuple[str, datetime, datetime]] = []
        self.now = START

    def start(self, name: str) -> None:
        job = self.job(name)
        run = self.store.run(name, job.active_run or "")
        assert run is not None
        failed = name in self.failing
        ended = RunStatus.FAILED if failed else RunStatus.SUCCEEDED
        self.store.update_run(replace(run, status=ended, ended_at=self.now))
        if not failed:
            self.loaded.append((name, run.window_from, run.window_to))
            self.store.update_job(replace(job, watermark=run.window_to, commit_run_id=run.run_id))

    def stop(self, name: str) -> None:
        raise AssertionError("nothing runs for long")

    def state(self, name: str) -> GroupState | None:
        return GroupState(terminated=True, exit_code=0)

    def last_log_line(self, name: str) -> str | None:
        return None

    def job(self, name: str) -> Job:
        job = self.store.job(name)
        assert job is not None
        return job

    def run_until(self, end: datetime) -> None:
        while self.now < end:
            self.now += TICK
            self.scheduler.tick(self.declarations, self.now)


def after(name: str, *upstreams: str) -> JobDeclaration:
    return declare(name, schedule=None, after=upstreams, max_attempts=1)


def test_a_pipeline_runs_in_its_order_and_loads_the_same_windows() -> None:
    # Names are such that the order of the alphabet is the wrong one.
    pipeline = Pipeline(
        declare("z-orders"), after("m-clean", "z-orders"), after("a-report", "m-clean")
    )
    pipeline.run_until(hour(2.9))
    for number in (0, 1):
        windows = [each for each in pipeline.loaded if each[1] == hour(number)]
        assert [name for name, *_ in windows] == ["z-orders", "m-clean", "a-report"]
        assert {end for *_, end in windows} == {hour(number + 1)}
    assert len(pipeline.loaded) == 6


def test_of_several_the_slowest_counts() -> None:
    pipeline = Pipeline(
        declare("orders"),
        declare("prices", schedule="30 */2 * * *"),
        after("join", "orders", "prices"),
    )
    pipeline.run_until(hour(0.9))
    assert pipeline.job("join").reason == "It waits for the first load of orders."
    pipeline.run_until(hour(2.9))
    joined = [each for each in pipeline.loaded if each[0] == "join"]
    assert joined == [("join", START, hour(0.5)), ("join", hour(0.5), hour(2))]
    assert pipeline.job("join").reason == "It waits until orders has loaded more."


def test_a_failure_upstream_holds_the_rest_back_until_it_is_made_up_for() -> None:
    pipeline = Pipeline(declare("orders", max_attempts=1), after("clean", "orders"))
    pipeline.failing.add("orders")
    pipeline.run_until(hour(2.5))
    assert pipeline.loaded == []
    pipeline.failing.clear()
    pipeline.run_until(hour(3.5))
    assert pipeline.loaded == [("orders", START, hour(3)), ("clean", START, hour(3))]


def test_a_follower_that_fails_is_not_started_over_and_over() -> None:
    pipeline = Pipeline(declare("orders"), after("clean", "orders"))
    pipeline.failing.add("clean")
    pipeline.run_until(hour(2.9))
    assert len(pipeline.store.runs("clean")) == 2
    pipeline.failing.clear()
    pipeline.run_until(hour(3.5))
    assert pipeline.loaded[-1] == ("clean", START, hour(3))


def test_a_circle_is_not_run_and_says_why() -> None:
    pipeline = Pipeline(declare("orders"), after("a", "b", "orders"), after("b", "a"))
    pipeline.run_until(hour(1.5))
    assert [name for name, *_ in pipeline.loaded] == ["orders"]
    assert pipeline.job("a").reason in (
        "It is to run after itself: a after b after a.",
        "It is to run after itself: b after a after b.",
    )


def test_a_job_after_one_that_there_is_not_says_so_until_there_is() -> None:
    pipeline = Pipeline(after("clean", "orders"))
    pipeline.run_until(hour(1.5))
    sentence = "It is to run after orders, and there is no such job."
    assert pipeline.job("clean").reason == sentence
    pipeline.declarations.append(declare("orders"))
    pipeline.run_until(hour(2.5))
    assert [name for name, *_ in pipeline.loaded] == ["orders", "clean"] * 2


def test_an_operators_schedule_takes_the_place_of_the_upstreams() -> None:
    pipeline = Pipeline(declare("orders"), after("clean", "orders"))
    pipeline.run_until(START + TICK)
    overridden = replace(pipeline.job("clean"), override_schedule="30 * * * *")
    pipeline.store.update_job(
        replace(overridden, next_fire_at=overridden.schedule.next_fire(pipeline.now))
    )
    pipeline.run_until(hour(0.6))
    assert pipeline.loaded == [("clean", START, hour(0.5))]


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({"a": ["b"], "b": ["c"]}, []),
        ({"a": ["a"]}, [{"a"}]),
        ({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]}, [{"a", "b", "c"}]),
        ({"a": ["b"], "b": ["a"], "c": ["d"], "d": ["c"]}, [{"a", "b"}, {"c", "d"}]),
    ],
)
def test_circles(graph: Mapping[str, Sequence[str]], expected: list[set[str]]) -> None:
    found = circles(graph)
    assert sorted(map(sorted, map(set, found))) == sorted(map(sorted, expected))
    for circle in found:
        assert circle[0] == circle[-1]
        assert all(second in graph[first] for first, second in itertools.pairwise(circle))
