"""What a stack costs a month, before it runs: an estimate from its configuration and list prices.

``python -m infra.cost dev`` (``make cost STACK=dev``) prints it, and a preview has a line of it.
How it is worked out, and what is left out, is told in docs/cost.md.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from infra.config import ConfigurationError, ExtractorConfig, SchedulerHost, StackConfig
from infra.prices import GLOBAL, Price, PriceTable
from infra.scheduler import CPU, MEMORY_GB
from scheduler.job import Job
from scheduler.schedule import FireTimes

MONTH = timedelta(days=30)
HOURS = MONTH / timedelta(hours=1)

DEFAULT_DURATION = timedelta(minutes=5)
"""What a run is taken to last where the configuration does not say."""

START = timedelta(seconds=35)
"""What Azure bills of a run before its program begins: it pulls the image and starts the container.
Half a minute is what creating a group takes."""

PRIVATE_ENDPOINTS = 6
"""Of an isolated stack: two of the lake's account, three of the tables', one of the registry."""

PRIVATE_ZONES = 5
"""Of an isolated stack: one for each service. A key vault adds one, and an endpoint."""

_PERIODS = ((timedelta(days=7), 7 * 24), (MONTH, 30), (12 * MONTH, 0))
"""Periods in which fire times are counted, and how many of them make one enough: what fires each
hour is told from a week, and what fires once a month from a year."""


@dataclass(frozen=True)
class Line:
    """What one thing costs a month.

    Args:
        name: the job, or the resource.
        detail: how the amount comes about.
        amount: in the table's currency; ``None`` where the table has no price.
        prices: what it was worked out from.
        job: whether it is a job's.
    """

    name: str
    detail: str
    amount: float | None
    prices: Sequence[Price]
    job: bool = False


@dataclass(frozen=True)
class Estimate:
    """What a stack costs a month.

    Args:
        region: the stack's.
        currency: of all amounts.
        lines: the jobs', then the others.
    """

    region: str
    currency: str
    lines: Sequence[Line]

    @property
    def jobs(self) -> float:
        """What the jobs cost together."""
        return sum(line.amount or 0 for line in self.lines if line.job)

    @property
    def total(self) -> float:
        return sum(line.amount or 0 for line in self.lines)

    @property
    def sentence(self) -> str:
        """The estimate in one line, for a preview."""
        unknown = [line.name for line in self.lines if line.amount is None]
        without = f" without {', '.join(unknown)}" if unknown else ""
        return (
            f"In Azure about {self.total:.2f} {self.currency} a month{without}, "
            f"of which {self.jobs:.2f} for the jobs' runs; `make cost` says how."
        )


def estimate(config: StackConfig, region: str, table: PriceTable, now: datetime) -> Estimate:
    """Work out what a stack costs.

    Args:
        config: the stack's configuration.
        region: Azure's name of it, such as ``westeurope``.
        table: the prices.
        now: the month that is looked at begins here.
    """
    prices = _Prices(table, region)
    counts = runs_a_month(config.extractors, now)
    jobs = [_job(name, each, counts[name], prices) for name, each in config.extractors.items()]
    return Estimate(region, table.currency, [*jobs, *_fixed(config, prices)])


def runs_a_month(extractors: Mapping[str, ExtractorConfig], now: datetime) -> Mapping[str, float]:
    """How often each job runs in a month, by its name.

    A job that runs after others runs as often as the one of them that runs least. None runs more
    often than one run after the other.
    """
    found: dict[str, float] = {}

    def count(name: str) -> float:
        if name not in found:
            each = extractors[name]
            fires = (
                min(count(upstream) for upstream in each.after)
                if each.after
                else _fires_a_month(Job.declared(each.declaration(name)).schedule, now)
            )
            found[name] = min(fires, MONTH / _duration(each))
        return found[name]

    return {name: count(name) for name in extractors}


@cache
def _fires_a_month(schedule: FireTimes, now: datetime) -> float:
    """How often a schedule fires in a month, from a period that is long enough for it to repeat."""
    fires = 0.0
    for period, enough in _PERIODS:
        fires = _fires(schedule, now, now + period)
        if fires >= enough:
            return fires * (MONTH / period)
    return fires * (MONTH / _PERIODS[-1][0])


def _fires(schedule: FireTimes, after: datetime, until: datetime) -> int:
    number = 0
    fire = schedule.next_fire(after)
    while fire is not None and fire <= until:
        number += 1
        fire = schedule.next_fire(fire)
    return number


def _duration(config: ExtractorConfig) -> timedelta:
    """What Azure bills of one run: whole seconds."""
    duration = START + (config.expected_duration or DEFAULT_DURATION)
    return timedelta(seconds=math.ceil(duration / timedelta(seconds=1)))


def _job(name: str, config: ExtractorConfig, runs: float, prices: _Prices) -> Line:
    hours = runs * (_duration(config) / timedelta(hours=1))
    assumed = "" if config.expected_duration else ", assumed"
    often = f"{runs:,.0f} runs of {_duration(config)}{assumed}"
    detail = f"{often}; {config.cpu:g} cpu, {config.memory:g} GB"
    return prices.container(name, detail, hours, config.cpu, config.memory, job=True)


def _fixed(config: StackConfig, prices: _Prices) -> Iterator[Line]:
    """What costs the same however often jobs run."""
    match config.scheduler.host:
        case SchedulerHost.FUNCTION:
            plan = config.scheduler.plan.value
            yield prices.line("scheduler", f"App Service plan {plan}", f"plan-{plan}", HOURS)
        case SchedulerHost.CONTAINER:
            detail = f"always on; {CPU:g} cpu, {MEMORY_GB:g} GB"
            yield prices.container("scheduler", detail, HOURS, CPU, MEMORY_GB)
    size = "premium" if config.network.isolated else "basic"
    yield prices.line("registry", size, f"registry-{size}", MONTH.days)
    if config.network.isolated:
        vault = int(any(each.secrets for each in config.extractors.values()))
        endpoints, zones = PRIVATE_ENDPOINTS + vault, PRIVATE_ZONES + vault
        yield prices.line(
            "private endpoints", f"{endpoints} of them", "private-endpoint", endpoints * HOURS
        )
        yield prices.line("private DNS zones", f"{zones} of them", "private-zone", zones)
        yield prices.line("NAT gateway", "without its data", "nat-gateway", HOURS)
        yield prices.line("outbound address", "1 of them", "public-address", HOURS)


@dataclass(frozen=True)
class _Prices:
    """The table, as a stack's region sees it."""

    table: PriceTable
    region: str

    def line(self, name: str, detail: str, meter: str, quantity: float) -> Line:
        price = self.table.find(meter, self.region)
        if price is None:
            return Line(name, f"{detail}; no price of it, see `make prices`", None, [])
        return Line(name, detail, quantity * price.price, [price])

    def container(
        self, name: str, detail: str, hours: float, cpu: float, memory: float, *, job: bool = False
    ) -> Line:
        of_cpu = self.line(name, detail, "container-cpu", hours * cpu)
        of_memory = self.line(name, detail, "container-memory", hours * memory)
        if of_cpu.amount is None or of_memory.amount is None:
            return Line(name, detail, None, [], job)
        amount = of_cpu.amount + of_memory.amount
        return Line(name, detail, amount, [*of_cpu.prices, *of_memory.prices], job)


def rendered(found: Estimate) -> Table:
    """The estimate as a table that fits 80 columns."""
    total = f"{found.total:.2f}"
    table = Table(
        title=f"A month in {found.region}, {found.currency}",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_footer=True,
    )
    table.add_column("what", "total", overflow="fold")
    table.add_column("how", overflow="fold")
    table.add_column(found.currency, total, justify="right", no_wrap=True)
    table.add_column("prices of")
    for line in found.lines:
        amount = "?" if line.amount is None else f"{line.amount:.2f}"
        table.add_row(line.name, line.detail, amount, _origin(line.prices, found.region))
    return table


def _origin(prices: Sequence[Price], region: str) -> str:
    """The day of the prices, and their region where it is not the stack's."""
    places = {price.region for price in prices} - {region, GLOBAL}
    days = {price.taken.isoformat() for price in prices}
    return " ".join([*sorted(days), *sorted(places)])


def main(arguments: Sequence[str], folder: Path = Path()) -> int:
    """Print the estimate of a stack, from its file."""
    stack = arguments[0] if arguments else "dev"
    file = folder / f"Pulumi.{stack}.yaml"
    if not file.is_file():
        names = sorted(each.name.split(".")[1] for each in folder.glob("Pulumi.*.yaml"))
        sys.stderr.write(f'error: STACK is "{stack}"; allowed is one of {", ".join(names)}.\n')
        return 1
    try:
        config, region = StackConfig.read(file)
    except ConfigurationError as error:
        sys.stderr.writelines(f"error: {line}\n" for line in str(error).splitlines())
        return 1
    console = Console(highlight=False)
    console.print(rendered(estimate(config, region, PriceTable.load(), datetime.now(UTC))))
    console.print("List prices without tax and discounts; docs/cost.md says what is left out.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
