"""``python -m local``: the commands of the Makefile for the stack on this machine."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from azure.core.exceptions import ResourceNotFoundError
from rich.markup import escape

from extractor.runtime.records import Run, RunStatus
from infra.prices import PriceTable
from local import internet, services, view
from local.console import SetupError, console, step
from local.containers import ContainerGroups, ContainersError
from local.data import StackData
from local.settings import Settings
from local.stack import Change, DeploymentError, LocalStack, region
from scheduler import operations
from scheduler.history import History, Price, Rate, summary
from scheduler.job import Job

SCHEDULER = "scheduler"
"""Its log can be asked for like that of a job."""

_SHOWN_RUNS = 15
_LOG_LINES = 20
_RUN_TIMEOUT_S = 300.0
_POLL_S = 1.0
_OPERATOR = "make run"


class CommandError(Exception):
    """A command can't do what it was asked for; the text is one sentence."""


def up(settings: Settings, _: argparse.Namespace) -> None:
    """Set up what is missing, deploy the stack, and wait until a run has landed data."""
    already_running = services.running(settings)
    try:
        services.start(settings)
        stack = _stack(settings)
        with step("Previewing"):
            stack.preview()
        with step("Deploying") as deploying:
            changes = stack.up(lambda change: deploying.note(_in_words(change)))
    except BaseException:
        # What this command started it ends; a stack that ran before stays as it is.
        if not already_running:
            services.halt(settings)
        raise
    _print_changes(changes, "No resource changed.")
    data = StackData(settings, stack.outputs())
    run = _first_success(settings, data)
    _print_status(data)
    _print_landed(data, run)
    console.print("`make status` shows this again; `make run JOB=weather` starts a job now.")


def preview(settings: Settings, _: argparse.Namespace) -> None:
    """Say what ``up`` would change."""
    services.start(settings)
    with step("Previewing"):
        found = _stack(settings).preview()
    _print_changes(found.changes, "Nothing would change.")
    for line in view.job_changes(found.outputs_before, found.outputs_after):
        console.print(line, markup=False)
    for note in found.notes:
        console.print(f"\n{note}", markup=False)


def status(settings: Settings, _: argparse.Namespace) -> None:
    """Show jobs and runs."""
    _print_status(_running_data(settings))


def logs(settings: Settings, options: argparse.Namespace) -> None:
    """Show what a job's container wrote when it last ran."""
    data = _running_data(settings)
    if options.job != SCHEDULER:
        _require_job(data, options.job)
    groups = ContainerGroups.connect(settings)
    console.print(_container_log(groups, options.job), markup=False, end="")


def run(settings: Settings, options: argparse.Namespace) -> None:
    """Start a job now, and wait for the end of its run."""
    data = _running_data(settings)
    _require_job(data, options.job)
    known = {each.row_key for each in data.runs()}
    operations.run_now(data.store(), options.job, by=_OPERATOR, now=datetime.now(UTC))

    def finished() -> Run | None:
        new = [each for each in data.runs() if each.job == options.job]
        ended = [each for each in new if each.row_key not in known and not each.active]
        return ended[0] if ended else None

    with step(f"Running {options.job}"):
        ended = _wait_for(finished)
    if ended is None:
        raise CommandError(
            f"{options.job} did not end within {_RUN_TIMEOUT_S:g} seconds; see `make status`."
        )
    console.print(view.runs_table([ended], datetime.now(UTC)))
    if ended.status is not RunStatus.SUCCEEDED:
        _print_log(settings, options.job)
        raise CommandError(f"{options.job} ended {ended.status.value}: {ended.reason}")
    _print_landed(data, ended)


def down(settings: Settings, _: argparse.Namespace) -> None:
    """Delete the stack: containers, volumes, data, state and processes."""
    if not services.exists(settings):
        console.print("There is no local stack.")
        return
    with step("Deleting the local stack"):
        services.stop(settings)


def _stack(settings: Settings) -> LocalStack:
    environment = services.environment(settings)
    # Where the Automation API looks for the engine, and Docker's client for Docker.
    os.environ.update({name: environment[name] for name in ("PATH", "DOCKER_HOST")})
    return LocalStack(settings, environment, {"WEATHER_API": internet.weather_api(settings)})


def _running_data(settings: Settings) -> StackData:
    if not services.running(settings):
        raise CommandError("The local stack does not run; `make up` starts it.")
    return StackData(settings, _stack(settings).outputs())


def _require_job(data: StackData, name: str | None) -> None:
    names = ", ".join(job.name for job in data.jobs()) or "none yet"
    if name not in [job.name for job in data.jobs()]:
        raise CommandError(f'JOB is "{name or ""}"; allowed is one of {names}.')


def _first_success(settings: Settings, data: StackData) -> Run:
    """Wait for a run that landed rows, and for the scheduler to have seen its end.

    Raises:
        CommandError: none did in time; the log of the last one that tried was printed.
    """

    def landed() -> Run | None:
        jobs = {job.name: job for job in data.jobs() if not job.retired}
        runs = (each for each in data.runs() if each.job in jobs)
        ended = (each for each in runs if each.row_key != jobs[each.job].active_run)
        succeeded = (each for each in ended if each.status is RunStatus.SUCCEEDED)
        return next((each for each in succeeded if each.rows), None)

    with step("Waiting for a run to land data"):
        found = _wait_for(landed)
    if found is not None:
        return found
    _print_status(data)
    tried = data.runs()
    _print_log(settings, tried[0].job if tried else SCHEDULER)
    raise CommandError(f"No run has landed data within {_RUN_TIMEOUT_S:g} seconds.")


def _wait_for(ask: Callable[[], Run | None]) -> Run | None:
    deadline = time.monotonic() + _RUN_TIMEOUT_S
    while time.monotonic() < deadline:
        found = ask()
        if found is not None:
            return found
        time.sleep(_POLL_S)
    return None


def _print_status(data: StackData) -> None:
    now = datetime.now(UTC)
    jobs, runs = data.jobs(), data.runs()
    console.print(view.jobs_table(jobs, now))
    console.print(view.runs_table(runs[:_SHOWN_RUNS], now))
    if len(runs) > _SHOWN_RUNS:
        console.print(f"… and {len(runs) - _SHOWN_RUNS} earlier runs.")
    if any(job.backfill for job in jobs):
        console.print(view.backfills_table(jobs))
    price = PriceTable.load().of_containers(region())
    console.print(view.history_table({job.name: _history(job, runs, price) for job in jobs}))


def _history(job: Job, runs: Sequence[Run], price: Price | None) -> History:
    rate = Rate.of(price, job.options.cpu, job.options.memory)
    return summary((run for run in runs if run.job == job.name), rate)


def _print_landed(data: StackData, run: Run) -> None:
    if not run.lake_path:
        return
    try:
        console.print(view.landed_table(data.landed(run.lake_path)))
    except ResourceNotFoundError:
        console.print(f"{run.lake_path} is no longer in the lake.", markup=False)


def _print_changes(changes: Sequence[Change], none: str) -> None:
    if not changes:
        console.print(none)
    for change in changes:
        console.print(f"  {_in_words(change)}", markup=False)


def _in_words(change: Change) -> str:
    keys = f" ({', '.join(change.keys)})" if change.keys else ""
    return f"{change.operation.value} {change.type} {change.name}{keys}"


def _print_log(settings: Settings, job: str) -> None:
    log = _container_log(ContainerGroups.connect(settings), job, _LOG_LINES)
    console.print(f"The last lines of {job}'s container:")
    console.print(log or "(nothing)", markup=False)


def _container_log(groups: ContainerGroups, job: str, tail: int | None = None) -> str:
    return groups.logs(groups.find(job).id, job, tail)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for command in (up, preview, status, logs, run, down):
        each = commands.add_parser(command.__name__, help=command.__doc__)
        each.set_defaults(command=command)
        if command in (logs, run):
            each.add_argument("job", nargs="?")
    return parser


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        0 when it did what it was asked for, else another number, after a sentence on why.
    """
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        options.command(Settings.from_environment(), options)
    except (SetupError, DeploymentError, CommandError, ContainersError) as error:
        if isinstance(error, DeploymentError):
            for line in error.log:
                console.print(f"  {line}", markup=False)
        for line in str(error).splitlines():
            console.print(f"[bold red]error:[/] {escape(line)}")
        return 1
    except KeyboardInterrupt:
        console.print("[bold red]error:[/] interrupted.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
