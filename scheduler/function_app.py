"""The scheduler as an Azure Function (Functions v4, Python v2 model)."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime

import azure.functions as func

from extractor.runtime import telemetry
from scheduler import api
from scheduler.declaration import declarations_from_environment
from scheduler.pool import ON_THREAD
from scheduler.principal import caller
from scheduler.settings import Settings
from scheduler.tick import Scheduler

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
"""Keys would be shared secrets; App Service itself asks every caller but the health check for a
token of Microsoft Entra ID, and every function but the health check does so once more."""

_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


# The host sends the log, and of Azure's clients every request is a line at INFO.
logging.getLogger("azure.core").setLevel(logging.WARNING)
telemetry.start("scheduler", logs=False)


@functools.cache
def _settings() -> Settings:
    return Settings.read(os.environ)


@functools.cache
def _scheduler() -> Scheduler:
    return _settings().scheduler()


# In UTC, with all time zones left to the scheduler: the host's own are not available on Linux.
@app.timer_trigger(schedule="0 * * * * *", arg_name="timer", run_on_startup=False)
def tick(timer: func.TimerRequest, context: func.Context) -> None:  # noqa: ARG001 - binds the trigger
    """One tick; a late or doubled one does no harm."""

    def on_thread() -> None:
        # The host drops the log lines of a thread that does not say which invocation it is of.
        context.thread_local_storage.invocation_id = context.invocation_id  # type: ignore[attr-defined]

    ON_THREAD.set(on_thread)
    _scheduler().tick(declarations_from_environment(os.environ), datetime.now(UTC))


@app.route(route="health", methods=["GET"])
def health(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001 - binds the trigger
    """Whether the tables answer."""
    _scheduler().store.jobs()
    return func.HttpResponse("ok\n")


def _served(endpoint: api.Endpoint) -> Callable[[func.HttpRequest], func.HttpResponse]:
    def serve(request: func.HttpRequest) -> func.HttpResponse:
        asked = api.Request(
            caller=caller(request.headers, os.environ),
            content_type=request.headers.get("content-type", ""),
            route=request.route_params,
            query=request.params,
            body=request.get_body(),
        )
        store, price = _scheduler().store, _settings().price
        answer = api.respond(endpoint, store, asked, datetime.now(UTC), price)
        return func.HttpResponse(
            answer.body, status_code=answer.status, headers=_HEADERS, mimetype="application/json"
        )

    return serve


for _endpoint in api.ENDPOINTS:
    _route = app.route(_endpoint.route, methods=[_endpoint.method], trigger_arg_name="request")
    app.function_name(_endpoint.name)(_route(_served(_endpoint)))
