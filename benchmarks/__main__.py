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

from benchmarks.load import DUE_ONE_IN, SIZES, Measured

CONTESTANTS = ("ours:on_tables", "ours:in_memory", "apscheduler4:measured", "celery_beat:measured")

LONGEST_S = 300
"""For one measurement, with all that has to be made ready for it."""


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
    ours: Measured | None = None
    for contestant in CONTESTANTS:
        measured = measure(contestant, number)
        if measured is None:
            yield [f"{number:,}", "", contestant, f"not done in {LONGEST_S} s"]
            continue
        assert measured.started == number // DUE_ONE_IN, measured
        ours = ours or measured
        yield [
            f"{number:,}",
            f"{measured.started:,}",
            measured.scheduler,
            f"{measured.cpu_s:.3f}",
            f"{measured.cpu_s / ours.cpu_s:.2f}",
            text(measured.requests),
            "" if measured.idle_cpu_s is None else f"{measured.idle_cpu_s:.3f}",
            text(measured.idle_requests),
        ]


def text(number: int | None) -> str:
    """A count, or nothing."""
    return "" if number is None else f"{number:,}"


def measure(contestant: str, number: int) -> Measured | None:
    """Measure in a process of its own; ``None``: it takes too long."""
    command = [sys.executable, "-m", "benchmarks", contestant, str(number)]
    try:
        process = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=True, timeout=LONGEST_S
        )
    except subprocess.TimeoutExpired:
        return None
    return Measured(**json.loads(process.stdout))


if __name__ == "__main__":
    main()
