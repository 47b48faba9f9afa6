"""The scheduler as an Azure Function (Functions v4, Python v2 model)."""

from __future__ import annotations

import functools
import os
from datetime import UTC, datetime

import azure.functions as func

from scheduler.declaration import declarations_from_environment
from scheduler.settings import Settings
from scheduler.tick import Scheduler

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
"""Keys would be shared secrets; App Service itself asks every caller but the health check for a
token of Microsoft Entra ID."""


@functools.cache
def _scheduler() -> Scheduler:
    return Settings.read(os.environ).scheduler()


# In UTC, with all time zones left to the scheduler: the host's own are not available on Linux.
@app.timer_trigger(schedule="0 * * * * *", arg_name="timer", run_on_startup=False)
def tick(timer: func.TimerRequest) -> None:  # noqa: ARG001 - the name binds the trigger
    """One tick; a late or doubled one does no harm."""
    _scheduler().tick(declarations_from_environment(os.environ), datetime.now(UTC))


@app.route(route="health", methods=["GET"])
def health(_: func.HttpRequest) -> func.HttpResponse:
    """Whether the tables answer."""
    _scheduler().store.jobs()
    return func.HttpResponse("ok\n")
