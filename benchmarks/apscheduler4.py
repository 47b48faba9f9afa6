"""APScheduler 4, with its schedules in memory: it writes a job for each that is due."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import time_machine
from apscheduler import AsyncScheduler, JobAdded, SchedulerRole
from apscheduler.datastores.memory import MemoryDataStore
from apscheduler.triggers.cron import CronTrigger

from benchmarks.load import BEFORE, DUE, DUE_ONE_IN, Measured, Stopwatch, crons


def nothing() -> None:
    """The task; no worker runs it."""


def measured(number: int) -> Measured:
    return asyncio.run(_measured(number))


async def _measured(number: int) -> Measured:
    found = Measured("APScheduler 4, in memory", number)
    stopwatch = Stopwatch()
    done = asyncio.Event()

    def count(_: object) -> None:
        found.started += 1
        if found.started == number // DUE_ONE_IN:
            done.set()

    scheduler = AsyncScheduler(MemoryDataStore(), role=SchedulerRole.scheduler)
    async with scheduler:
        await scheduler.configure_task("nothing", func=nothing)
        with time_machine.travel(BEFORE):
            for cron in crons(number):
                trigger = CronTrigger.from_crontab(cron.expression, timezone="UTC")
                await scheduler.add_schedule("nothing", trigger, id=cron.name)
        scheduler.subscribe(count, {JobAdded})
        with time_machine.travel(DUE + timedelta(milliseconds=1)), stopwatch.running():
            await scheduler.start_in_background()
            await asyncio.wait_for(done.wait(), 600)
        found.cpu_s = stopwatch.cpu_s
        await scheduler.stop()
    return found
