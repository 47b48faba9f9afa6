"""From a container's start to its exit code: everything about a run but the reading of its data."""

from __future__ import annotations

import logging
import os
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

import pyarrow as pa

from extractor.runtime import azure, log, secrets, telemetry
from extractor.runtime.claim import Claim, FenceLostError, Outcome, take
from extractor.runtime.heartbeat import INTERVAL_S, Heartbeat
from extractor.runtime.load import Load
from extractor.runtime.log import facts
from extractor.runtime.parts import BUFFER_BYTES
from extractor.runtime.ports import Lake, RunStore
from extractor.runtime.records import RunStatus
from extractor.runtime.secrets import SecretError
from extractor.runtime.settings import RuntimeSettings, SettingError
from extractor.runtime.termination import StoppedError, Termination
from extractor.runtime.window import Window

Rows: TypeAlias = pa.Table | pa.RecordBatch
Extract = Callable[[Window], Iterable[Rows]]
"""What an extractor is: yields the rows of a window, in tables as large as fit well into memory.

All tables have the same columns, one of them ``date`` of type ``date32``, by which the rows are put
into folders. What it raises ends the run as failed, with nothing of the window visible.
"""

EXIT_OK = 0
"""The window is in the lake, or there was nothing to do."""
EXIT_FAILED = 1
"""The run failed, was stopped, or was taken away; its row and the log say more."""
EXIT_SETTINGS = 2
"""An environment variable is missing or wrong."""

_ERROR_CHARACTERS = 2000
"""A row of a table has room for 64 KiB of text in a property; nobody reads that much of it."""

logger = logging.getLogger(__name__)


def run(extract: Extract, environment: Mapping[str, str] = os.environ) -> int:
    """Do the run that the scheduler has started this container for.

    Without one, as after a deployment, it returns at once and writes nothing.

    Args:
        extract: reads the data.
        environment: see :class:`RuntimeSettings`.

    Returns:
        The process's exit code.
    """
    log.configure()
    try:
        settings = RuntimeSettings.read(environment)
    except SettingError as error:
        logger.error("%s", error)  # noqa: TRY400 - one sentence is what its author needs
        return EXIT_SETTINGS
    sending = telemetry.start(settings.job_name, environment)
    try:
        return _run(extract, settings)
    finally:
        sending.close()


def _run(extract: Extract, settings: RuntimeSettings) -> int:
    termination = Termination()
    try:
        with termination.handled(), azure.connect(settings) as (store, lake):
            return run_job(
                _with_secrets(extract, settings),
                job=settings.job_name,
                image_digest=settings.image_digest,
                store=store,
                lake=lake,
                termination=termination,
            )
    except Exception:
        logger.exception("no run begun")
        return EXIT_FAILED


def _with_secrets(extract: Extract, settings: RuntimeSettings) -> Extract:
    """The extractor, which finds its secrets read: within a run, and so not after a deployment."""

    def extract_with_secrets(window: Window) -> Iterable[Rows]:
        secrets.hold(azure.read_secrets(settings))
        return extract(window)

    return extract_with_secrets


def run_job(
    extract: Extract,
    *,
    job: str,
    image_digest: str,
    store: RunStore,
    lake: Lake,
    termination: Termination,
    heartbeat_s: float = INTERVAL_S,
    buffer_bytes: int = BUFFER_BYTES,
) -> int:
    """Like :func:`run`, with the tables and the lake given.

    Raises:
        Exception: what the tables raise before a run is claimed. Afterwards nothing is raised.
    """
    claim = take(store, job, image_digest)
    if claim is None:
        return EXIT_OK
    logger.info(
        "claimed %s",
        facts(job=job, run=claim.run.run_id, attempt=claim.run.attempt, window=claim.window),
    )
    with telemetry.run_span(claim.run, claim.window), Heartbeat(claim, heartbeat_s) as heartbeat:
        return _load_and_close(extract, Load(lake, claim, buffer_bytes), heartbeat, termination)


def _load_and_close(
    extract: Extract, load: Load, heartbeat: Heartbeat, termination: Termination
) -> int:
    try:
        leftovers = load.leftovers()
        with termination.stoppable():
            load.stage(_while_ours(extract(load.claim.window), heartbeat))
        logger.info("staged %s", facts(rows=load.commit.commit_rows, files=len(load.parts)))
        load.publish()
        logger.info("published %s", facts(path=load.folder))
    except FenceLostError as error:
        return _given_up(load, error)
    except StoppedError:
        return _failed(load, Outcome(RunStatus.FAILED, reason="The container was stopped."))
    except SettingError as error:
        reason = "An environment variable is missing or wrong."
        _failed(load, Outcome(RunStatus.FAILED, reason=reason, error=secrets.mask(str(error))))
        return EXIT_SETTINGS
    except SecretError as error:
        return _failed(load, Outcome(RunStatus.FAILED, reason=str(error)))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - _failed logs it
        reason = f"The extractor raised {type(error).__name__}."
        outcome = Outcome(RunStatus.FAILED, reason=reason, error=_last_line(error))
        return _failed(load, outcome, error)
    return _commit_and_close(load, leftovers)


def _while_ours(tables: Iterable[Rows], heartbeat: Heartbeat) -> Iterator[Rows]:
    for table in tables:
        if heartbeat.lost:
            raise FenceLostError("A heartbeat found that the run is no longer this container's.")
        yield table


def _commit_and_close(load: Load, leftovers: list[str]) -> int:
    """Commit, then tidy and close.

    A run whose commit may have arrived is never closed as failed here: the scheduler finds out from
    the job's row, where the commit either is or is not.
    """
    claim, commit = load.claim, load.commit
    try:
        claim.commit(commit)
        logger.info("committed %s", facts(until=claim.run.window_to.isoformat()))
        load.delete(leftovers)
        claim.close(
            Outcome(
                RunStatus.SUCCEEDED,
                rows=commit.commit_rows,
                bytes=commit.commit_bytes,
                lake_path=commit.commit_lake_path,
            )
        )
    except FenceLostError as error:
        telemetry.describe_run(failed=True, reason=str(error))
        logger.warning("given up %s", facts(run=claim.run.run_id, why=error))
        return EXIT_FAILED
    except Exception:
        telemetry.describe_run(failed=True, reason="The run's row was not closed.")
        logger.exception("not closed %s", facts(run=claim.run.run_id))
        return EXIT_FAILED
    telemetry.describe_run(failed=False, rows=commit.commit_rows, bytes=commit.commit_bytes)
    logger.info(
        "succeeded %s",
        facts(run=claim.run.run_id, rows=commit.commit_rows, bytes=commit.commit_bytes),
    )
    return EXIT_OK


def _given_up(load: Load, error: FenceLostError) -> int:
    telemetry.describe_run(failed=True, reason=str(error))
    logger.warning("given up %s", facts(run=load.claim.run.run_id, why=error))
    _discard(load)
    return EXIT_FAILED


def _failed(load: Load, outcome: Outcome, error: BaseException | None = None) -> int:
    """Close the run as failed, if it is still this container's to close, and tidy up."""
    telemetry.describe_run(failed=True, reason=outcome.reason, error=outcome.error)
    logger.error(
        "failed %s",
        facts(run=load.claim.run.run_id, reason=outcome.reason, error=outcome.error),
        exc_info=error,
    )
    _close_failed(load.claim, outcome)
    _discard(load)
    return EXIT_FAILED


def _close_failed(claim: Claim, outcome: Outcome) -> None:
    try:
        # The scheduler takes the fence away before it closes a run itself.
        claim.check_fence()
        claim.close(outcome)
    except FenceLostError as error:
        logger.warning("given up %s", facts(run=claim.run.run_id, why=error))
    except Exception:
        # The scheduler closes the run when it finds the container ended.
        logger.exception("not closed %s", facts(run=claim.run.run_id))


def _discard(load: Load) -> None:
    try:
        load.discard()
    except Exception:
        # The job's next load deletes it.
        logger.exception("not discarded %s", facts(folder=load.staging))


def _last_line(error: BaseException) -> str:
    """Type and message of an exception, on one line and with secrets masked."""
    text = secrets.mask("".join(traceback.format_exception_only(error)))
    return " ".join(text.split())[:_ERROR_CHARACTERS]
