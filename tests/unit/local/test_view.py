from __future__ import annotations

from local.view import job_changes

WEATHER = {"schedule": "0 6 * * *", "lag": "P5D"}


def test_the_same_declarations_are_no_change() -> None:
    assert list(job_changes({"jobs": {"weather": WEATHER}}, {"jobs": {"weather": WEATHER}})) == []


def test_a_changed_job_has_a_line_for_each_key() -> None:
    changed = {"schedule": "0 7 * * *", "cpu": 2.0}
    assert list(job_changes({"jobs": {"weather": WEATHER}}, {"jobs": {"weather": changed}})) == [
        "  job weather",
        "    cpu: its default → 2.0",
        '    lag: "P5D" → its default',
        '    schedule: "0 6 * * *" → "0 7 * * *"',
    ]


def test_jobs_that_come_and_go() -> None:
    assert list(job_changes({"jobs": {"old": WEATHER}}, {"jobs": {"new": WEATHER}})) == [
        '  new job new: {"schedule": "0 6 * * *", "lag": "P5D"}',
        '  job old would end: {"schedule": "0 6 * * *", "lag": "P5D"}',
    ]


def test_a_stack_that_was_never_deployed() -> None:
    assert len(list(job_changes({}, {"jobs": {"weather": WEATHER}}))) == 1
