"""Celery beat, with its schedules in memory: it sends a message for each that is due."""

from __future__ import annotations

import time_machine
from celery import Celery
from celery.beat import Scheduler
from celery.schedules import crontab

from benchmarks.load import BEFORE, DUE, DUE_ONE_IN, Measured, Stopwatch, crons


def measured(number: int) -> Measured:
    app = Celery(broker="memory://", set_as_current=False)
    app.conf.update(timezone="UTC", enable_utc=True, task_ignore_result=True)
    app.conf.beat_schedule = {
        cron.name: {"task": "nothing", "schedule": crontab(minute=cron.minute, hour=cron.hour)}
        for cron in crons(number)
    }
    stopwatch = Stopwatch()
    found = Measured("Celery beat, in memory", number)
    with time_machine.travel(BEFORE, tick=False):
        scheduler = Scheduler(app)
        with stopwatch.running():
            assert scheduler.tick() > 0
        stopwatch.cpu_s = 0.0
    with time_machine.travel(DUE, tick=False), stopwatch.running():
        # One call sends one message, and says with 0 that there may be more.
        while scheduler.tick() == 0:
            found.started += 1
    found.cpu_s = stopwatch.cpu_s
    assert found.started == number // DUE_ONE_IN
    return found
