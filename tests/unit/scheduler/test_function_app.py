"""The HTTP functions, as the Functions host calls them."""

from __future__ import annotations

import base64
import functools
import inspect
import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import azure.functions as func
import pytest

from extractor.runtime.records import RunStatus
from scheduler import api, function_app
from scheduler.job import Job
from scheduler.settings import Settings
from scheduler.tick import Scheduler
from tests.unit.scheduler.world import (
    NAME,
    START,
    Container,
    Fate,
    FaultyStore,
    World,
    declare,
    hour,
)

OBJECT_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
PRINCIPAL = {
    "auth_typ": "aad",
    "claims": [
        {"typ": "http://schemas.microsoft.com/identity/claims/objectidentifier", "val": OBJECT_ID},
        {"typ": "preferred_username", "val": "anna@example.com"},
    ],
    "name_typ": "preferred_username",
    "role_typ": "roles",
}
HEADERS = {
    "X-MS-CLIENT-PRINCIPAL-ID": OBJECT_ID,
    "X-MS-CLIENT-PRINCIPAL-NAME": "anna@example.com",
    "X-MS-CLIENT-PRINCIPAL-IDP": "aad",
}
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World()
    made.tick(START)
    monkeypatch.setenv("WEBSITE_AUTH_ENABLED", "True")
    settings = Settings(
        tables_endpoint="",
        subscription_id="",
        resource_group="",
        price='{"currency": "EUR", "coreSecond": 0.001, "gbSecond": 0.0001}',
    )
    with (
        mock.patch.object(function_app, "_scheduler", return_value=made.scheduler),
        mock.patch.object(function_app, "_settings", return_value=settings),
    ):
        yield made


@functools.cache  # the app can be asked once
def functions() -> dict[str, func.Function]:
    return {str(each.get_function_name()): each for each in function_app.app.get_functions()}


def call(
    name: str,
    *,
    job: str = NAME,
    headers: dict[str, str] | None = None,
    body: object = None,
    query: dict[str, str] | None = None,
) -> tuple[int, Any]:
    trigger = functions()[name].get_dict_repr()["bindings"][0]
    (method,) = trigger["methods"]
    sent = HEADERS | (JSON if method.value == "POST" else {}) if headers is None else headers
    request = func.HttpRequest(
        method.value,
        "/api/" + trigger["route"],
        headers=sent,
        params=query or {},
        route_params={"name": job} if "{name}" in trigger["route"] else {},
        body=body if isinstance(body, bytes) else json.dumps(body or {}).encode(),
    )
    serve: Callable[..., func.HttpResponse] = functions()[name].get_user_function()
    answer = serve(request)
    assert answer.mimetype == "application/json"
    return answer.status_code, json.loads(answer.get_body())


# What the host finds


def test_the_functions_have_their_routes_and_methods() -> None:
    found = {
        (each["methods"][0].value, each["route"])
        for function in functions().values()
        if (each := function.get_dict_repr()["bindings"][0])["type"] == "httpTrigger"
    }
    assert found == {
        ("GET", "health"),
        ("GET", "jobs"),
        ("GET", "jobs/{name}"),
        ("GET", "jobs/{name}/runs"),
        ("GET", "jobs/{name}/history"),
        ("GET", "jobs/{name}/audit"),
        ("POST", "jobs/{name}/start"),
        ("POST", "jobs/{name}/pause"),
        ("POST", "jobs/{name}/resume"),
        ("POST", "jobs/{name}/cancel"),
        ("POST", "jobs/{name}/watermark"),
        ("POST", "jobs/{name}/schedule"),
        ("POST", "jobs/{name}/backfill"),
        ("POST", "jobs/{name}/backfill/cancel"),
    }


def test_no_function_asks_for_a_key_and_each_takes_what_its_trigger_gives() -> None:
    for function in functions().values():
        described = function.get_dict_repr()
        # The host's worker refuses an app in which these differ; a context it gives to all.
        given = {each["name"] for each in described["bindings"]} - {"$return"}
        asked = set(inspect.signature(function.get_user_function()).parameters)
        assert asked - {"context"} == given
        assert described["bindings"][0].get("authLevel") in (None, func.AuthLevel.ANONYMOUS)


def test_every_line_of_a_tick_says_which_invocation_it_is_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Crowd(Container):
        def start(self, name: str) -> None:
            everybody.wait()

    store, names, everybody = FaultyStore(), "abcd", threading.Barrier(4, timeout=20)
    scheduler = Scheduler(store, Crowd(store), workers=4)
    declared = [declare(name, schedule="* * * * *") for name in names]
    monkeypatch.setattr(function_app, "_scheduler", lambda: scheduler)
    monkeypatch.setattr(function_app, "declarations_from_environment", lambda _: declared)
    context = mock.Mock(invocation_id="1234", thread_local_storage=threading.local())
    # The host's worker tells the thread that it calls itself.
    context.thread_local_storage.invocation_id = "1234"
    told: list[tuple[str, str | None]] = []

    class Sent(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            line = record.getMessage()
            told.append((line, getattr(context.thread_local_storage, "invocation_id", None)))

    with logged(Sent()):
        functions()["tick"].get_user_function()(mock.Mock(), context)
    assert sum(line.startswith("run started") for line, _ in told) == len(names)
    assert {invocation for _, invocation in told} == {"1234"}


@contextmanager
def logged(handler: logging.Handler) -> Iterator[None]:
    logger = logging.getLogger("scheduler")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield
    logger.removeHandler(handler)
    logger.setLevel(level)


# Who calls


@pytest.mark.parametrize("name", [each.name for each in api.ENDPOINTS])
def test_nobody_calls_anonymously(world: World, name: str) -> None:
    before = world.job
    assert call(name, headers=JSON)[0] == 401
    assert call(name, headers=JSON | {"X-MS-CLIENT-PRINCIPAL": "!"})[0] == 401
    assert call(name, headers=JSON | {"X-MS-CLIENT-PRINCIPAL-NAME": "anna"})[0] == 401
    assert world.job == before


def test_headers_prove_nothing_where_app_service_does_not_authenticate(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WEBSITE_AUTH_ENABLED")
    assert call("list_jobs")[0] == 401


def test_health_answers_everybody(world: World) -> None:
    request = func.HttpRequest("GET", "/api/health", body=b"")
    assert functions()["health"].get_user_function()(request).status_code == 200


@pytest.mark.parametrize(
    ("headers", "by"),
    [
        (HEADERS, f"anna@example.com ({OBJECT_ID})"),
        ({"x-ms-client-principal-id": OBJECT_ID}, OBJECT_ID),
        (
            {"X-MS-CLIENT-PRINCIPAL": base64.b64encode(json.dumps(PRINCIPAL).encode()).decode()},
            f"anna@example.com ({OBJECT_ID})",
        ),
    ],
)
def test_the_caller_is_in_the_audit(world: World, headers: dict[str, str], by: str) -> None:
    assert call("pause_job", headers=headers | JSON)[0] == 200
    status, answer = call("list_audit")
    assert status == 200
    (entry,) = answer["entries"]
    assert (entry["by"], entry["operation"], entry["after"]) == (by, "pause", {"paused": True})


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_a_form_of_another_site_changes_nothing(world: World, content_type: str) -> None:
    status, answer = call("pause_job", headers=HEADERS | {"Content-Type": content_type})
    assert status == 415
    assert answer["error"].endswith("allowed is application/json.")
    assert not world.job.paused


def test_only_post_changes_anything(world: World) -> None:
    before = world.job
    for each in api.ENDPOINTS:
        if each.method == "GET":
            assert call(each.name)[0] == 200
    assert world.job == before


# What is read


def test_the_jobs_are_listed(world: World) -> None:
    world.run_until(hour(1.5))
    status, answer = call("list_jobs")
    assert status == 200
    (job,) = answer["jobs"]
    assert job == call("show_job")[1]
    assert (job["name"], job["status"], job["paused"]) == (NAME, "idle", False)
    assert (job["watermark"], job["nextRunAt"]) == ("2026-03-10T01:00:00Z", "2026-03-10T02:00:00Z")
    assert (job["schedule"], job["timeZone"]) == ("0 * * * *", "UTC")
    assert job["lastRun"]["status"] == "succeeded"
    assert not {"fence", "etag", "pendingRun", "closing"} & job.keys()


def test_the_runs_are_paged_newest_first(world: World) -> None:
    world.run_until(hour(5.5))
    seen: list[str] = []
    after: str | None = ""
    for expected in (2, 2, 1):
        assert after is not None
        status, answer = call("list_runs", query={"limit": "2", "after": after})
        assert status == 200
        seen += [each["window"]["to"] for each in answer["runs"]]
        assert len(answer["runs"]) == expected
        after = answer["next"]
    assert after is None
    assert seen == [f"2026-03-10T0{number}:00:00Z" for number in (5, 4, 3, 2, 1)]


def test_a_run_says_why_it_failed_and_not_whose_claim_it_is(world: World) -> None:
    world.container.fates = [Fate.REPORTS_AN_ERROR]
    world.run_until(hour(1.5))
    failed = call("list_runs")[1]["runs"][1]
    assert (failed["status"], failed["reason"]) == ("failed", "told: failed")
    assert not {"claimToken", "rowKey", "etag"} & failed.keys()


def test_a_run_says_what_it_took_and_cost(world: World) -> None:
    world.declaration = declare(cpu=2, memory=4)
    world.run_until(hour(1.5))
    (run,) = call("list_runs")[1]["runs"]
    assert run["queueSeconds"] == 20
    assert run["cost"] == pytest.approx(20 * (2 * 0.001 + 4 * 0.0001))
    with mock.patch.object(function_app, "datetime", mock.Mock(now=lambda _: hour(2))):
        status, seen = call("show_history", query={"days": "1"})
        assert status == 200
    assert (seen["runs"], seen["successRate"], seen["rows"]) == (1, 1.0, 7)
    assert (seen["queueSeconds"], seen["currency"]) == ({"p50": 20.0, "p95": 20.0}, "EUR")
    with mock.patch.object(function_app, "datetime", mock.Mock(now=lambda _: hour(26))):
        assert call("show_history", query={"days": "1"})[1]["runs"] == 0


# What is done


def test_a_run_is_started(world: World) -> None:
    world.now = hour(0.5)
    with mock.patch.object(function_app, "datetime", mock.Mock(now=lambda _: hour(0.5))):
        status, answer = call("start_job")
    assert (status, answer["startRequestedBy"]) == (200, f"anna@example.com ({OBJECT_ID})")
    world.tick()
    world.tick()
    assert [(run.trigger, run.status) for run in world.runs] == [("manual", RunStatus.SUCCEEDED)]


def test_a_job_is_paused_and_resumed(world: World) -> None:
    assert call("pause_job")[1]["paused"] is True
    assert call("resume_job")[1]["paused"] is False


def test_a_run_is_cancelled(world: World) -> None:
    assert call("cancel_run") == (409, {"error": "weather has no run to cancel."})
    world.container.fates = [Fate.HANGS]
    world.tick(hour(1))
    assert call("cancel_run")[1]["activeRun"] is None
    world.tick()
    assert world.statuses() == [RunStatus.CANCELLED]


def test_the_watermark_is_set(world: World) -> None:
    status, answer = call("set_watermark", body={"watermark": "2026-03-01T01:00:00+01:00"})
    assert (status, answer["watermark"]) == (200, "2026-03-01T00:00:00Z")
    world.container.fates = [Fate.HANGS]
    world.tick(hour(1))
    status, answer = call("set_watermark", body={"watermark": "2026-03-01T00:00:00Z"})
    assert status == 409
    assert "is running" in answer["error"]


def test_the_schedule_is_set_and_given_back(world: World) -> None:
    body = {"schedule": "30 6 * * *", "timeZone": "Europe/Berlin"}
    answer = call("set_schedule", body=body)[1]
    assert (answer["schedule"], answer["timeZone"]) == ("30 6 * * *", "Europe/Berlin")
    assert answer["scheduleOverridden"] is True
    answer = call("set_schedule", body={"schedule": None})[1]
    assert (answer["schedule"], answer["scheduleOverridden"]) == ("0 * * * *", False)


def test_the_declared_time_zone_is_that_of_a_schedule_without_one(world: World) -> None:
    world.store.create_job(Job.declared(declare("other", time_zone="Asia/Tokyo")))
    answer = call("set_schedule", job="other", body={"schedule": "0 6 * * *"})[1]
    assert (answer["schedule"], answer["timeZone"]) == ("0 6 * * *", "Asia/Tokyo")


def test_a_range_is_backfilled_and_its_progress_seen(world: World) -> None:
    body = {"from": "2026-03-01T00:00:00+01:00", "to": "2026-03-01T00:00:00Z", "chunk": "PT30M"}
    answer = call("start_backfill", body=body)[1]
    seen = {
        "status": "waiting",
        "reason": None,
        "range": {"from": "2026-02-28T23:00:00Z", "to": "2026-03-01T00:00:00Z"},
        "position": "2026-02-28T23:00:00Z",
        "share": 0.0,
        "chunk": "PT30M",
        "requestedBy": f"anna@example.com ({OBJECT_ID})",
    }
    assert answer["backfill"].items() >= seen.items()
    world.tick()
    assert call("show_job")[1]["backfill"]["status"] == "running"
    half = {"position": "2026-02-28T23:30:00Z", "share": 0.5}
    assert call("show_job")[1]["backfill"].items() >= half.items()
    assert call("start_backfill", body=body)[0] == 409
    answer = call("cancel_backfill")[1]
    assert answer["backfill"]["status"] == "stopped"
    assert answer["backfill"]["reason"] == f"Cancelled by anna@example.com ({OBJECT_ID})."
    assert call("cancel_backfill") == (409, {"error": "weather has no backfill to cancel."})


# What is wrong


@pytest.mark.parametrize("name", [each.name for each in api.ENDPOINTS if "{" in each.route])
@pytest.mark.parametrize("job", ["nobody", "a/b'c", ""])
def test_an_unknown_job_is_not_found(world: World, name: str, job: str) -> None:
    bodies = {
        "set_watermark": {"watermark": "2026-03-01T00:00:00Z"},
        "set_schedule": {"schedule": None},
        "start_backfill": {"from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00Z"},
    }
    status, answer = call(name, job=job, body=bodies.get(name))
    assert (status, answer["error"]) == (404, f'The job is "{job}"; allowed is one of {NAME}.')


def test_table_storage_is_not_asked_for_what_can_be_no_jobs_name(world: World) -> None:
    with mock.patch.object(world.store, "job") as asked:
        assert call("show_job", job="a/b'c")[0] == 404
    asked.assert_not_called()


@pytest.mark.parametrize(
    ("name", "body", "error"),
    [
        ("set_watermark", {}, "watermark is missing; it is required."),
        (
            "set_watermark",
            {"watermark": "yesterday"},
            (
                'watermark is "yesterday"; allowed is a time with an offset such as '
                "2024-01-01T00:00:00Z."
            ),
        ),
        (
            "set_watermark",
            {"watermark": "2026-03-01T00:00:00"},
            (
                'watermark is "2026-03-01T00:00:00"; allowed is a time with an offset such as '
                "2024-01-01T00:00:00Z."
            ),
        ),
        (
            "set_schedule",
            {"schedule": "0 6 * *"},
            (
                'schedule is "0 6 * *"; allowed is a cron expression of five fields (minute, hour, '
                "day of month, month, day of week), not of 4."
            ),
        ),
        (
            "set_schedule",
            {"schedule": "0 6 * * *", "timeZone": "Mars"},
            "timeZone is \"Mars\"; allowed is an IANA time zone such as 'UTC' or 'Europe/Berlin'.",
        ),
        (
            "start_backfill",
            {"from": "2026-03-01T00:00:00Z", "to": "2026-03-01T00:00:00Z"},
            'to is "2026-03-01T00:00:00Z"; allowed is a time later than from.',
        ),
        (
            "start_backfill",
            {"from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00Z", "chunk": "PT0S"},
            "chunk is \"PT0S\"; allowed is a duration above zero such as 'PT10M' or 'P1D'.",
        ),
        ("start_backfill", {"to": "2026-03-01T00:00:00Z"}, "from is missing; it is required."),
        (
            "pause_job",
            {"paused": True},
            "paused is not a known key; allowed are none.",
        ),
        ("pause_job", [1], "The body is [1]; allowed is an object."),
        (
            "pause_job",
            b"{",
            (
                "The body is not JSON (Expecting property name enclosed in double quotes: line 1 "
                "column 2 (char 1)); allowed is an object."
            ),
        ),
    ],
)
def test_a_wrong_body_is_one_sentence(world: World, name: str, body: object, error: str) -> None:
    before = world.job
    assert call(name, body=body) == (400, {"error": error})
    assert world.job == before


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"limit": "0"}, 'limit is "0"; allowed is at least 1.'),
        ({"limit": "1001"}, 'limit is "1001"; allowed is at most 1000.'),
        ({"limit": "all"}, 'limit is "all"; allowed is a whole number.'),
        ({"top": "1"}, "top is not a known key; allowed are after, limit."),
    ],
)
def test_a_wrong_query_is_one_sentence(world: World, query: dict[str, str], error: str) -> None:
    assert call("list_runs", query=query) == (400, {"error": error})
