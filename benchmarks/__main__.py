"""One tick of this project's scheduler, of APScheduler and of Celery beat, on the same schedules.

Each is measured in a process of its own. See README.md for how to read the table.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from importlib import import_module

from rich.console import Console
from rich.table import Table

from benchmarks.load import SIZES, Measured

OURS = "ours:on_tables"
CONTESTANTS = (OURS, "ours:in_memory", "apscheduler4:measured", "celery_beat:measured")


def main() -> None:
    """Measure one contestant where one is named, else all of them."""
    if len(sys.argv) > 1:
        contestant, size = sys.argv[1:]
        module, function = contestant.split(":")
        measured = getattr(import_module(f"benchmarks.{module}"), function)(int(size))
        sys.stdout.write(json.dumps(asdict(measured)))
        return
    table = Table(title="One tick with 1 % of the jobs due")
    for title in (
        "jobs", "started", "scheduler", "CPU s", "of ours on tables", "requests",
        "CPU s, none due", "requests, none due",
    ):  # fmt: skip
        table.add_column(title, justify="left" if title == "scheduler" else "right")
    for number in SIZES:
        for row in rows(number):
            table.add_row(*row)
        table.add_section()
    Console(width=130).print(table)


def rows(number: int) -> Iterator[list[str]]:
    """The table's rows of one size."""
    all_measured = [measure(contestant, number) for contestant in CONTESTANTS]
    ours = all_measured[0].cpu_s
    for each in all_measured:
        assert each.started == number // 100, each
        yield [
            f"{each.jobs:,}",
            f"{each.started:,}",
            each.scheduler,
            f"{each.cpu_s:.3f}",
            f"{each.cpu_s / ours:.2f}",
            text(each.requests),
            "" if each.idle_cpu_s is None else f"{each.idle_cpu_s:.3f}",
            text(each.idle_requests),
        ]


def text(number: int | None) -> str:
    """A count, or nothing."""
    return "" if number is None else f"{number:,}"


def measure(contestant: str, number: int) -> Measured:
    """Measure in a process of its own."""
    command = [sys.executable, "-m", "benchmarks", contestant, str(number)]
    process = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Measured(**json.loads(process.stdout))


if __name__ == "__main__":
    main()
