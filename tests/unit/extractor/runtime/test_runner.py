"""Whole runs in memory, and what is left of them when something breaks in between."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from extractor.runtime import Settings, Window, run
from extractor.runtime.records import BACKFILL, Failure, Run, RunStatus
from extractor.runtime.runner import EXIT_FAILED, EXIT_OK, EXIT_SETTINGS, Extract, run_job
from extractor.runtime.termination import Termination
from extractor.runtime.testing import IMAGE_DIGEST, JOB, MemoryLake, MemoryRunStore, land

START = datetime(2020, 1, 1, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(days=2))
FOLDER = "job/window=20200101T000000Z_20200103T000000Z"
MANIFEST = f"{FOLDER}/manifest.json"


class Crash(BaseException):
    """The container is gone: nothing catches it and nothing is tidied up."""


def day_table(day: date, *numbers: int) -> pa.Table:
    days = pa.array([day] * len(numbers), pa.date32())
    return pa.table({"date": days, "number": pa.array(numbers, pa.int64())})


def extract(window: Window) -> Iterator[pa.Table]:
    """Two rows for each day."""
    for day in window.days():
        yield day_table(day, 1, 2)


class Lake(MemoryLake):
    """A lake in which something happens before and after renames and uploads.

    Attributes:
        before_rename: called with source and target.
        after_rename: the same.
        before_upload: called with the path.
    """

    before_rename: Callable[[str, str], None] = staticmethod(lambda source, target: None)
    after_rename: Callable[[str, str], None] = staticmethod(lambda source, target: None)
    before_upload: Callable[[str], None] = staticmethod(lambda path: None)

    def upload(self, source: Path, path: str) -> None:
        self.before_upload(path)
        super().upload(source, path)

    def rename(self, source: str, target: str) -> None:
        self.before_rename(source, target)
        super().rename(source, target)
        self.after_rename(source, target)


class Store(MemoryRunStore):
    """Tables in which something happens before a commit and before a run is closed."""

    before_commit: Callable[[], None] = staticmethod(lambda: None)
    before_close: Callable[[], None] = staticmethod(lambda: None)

    def update_job(self, name: str, changes: Mapping[str, object], etag: str) -> None:
        if "watermark" in changes:
            self.before_commit()
        super().update_job(name, changes, etag)

    def write_run(self, run: Run) -> None:
        if not run.active:
            self.before_close()
        super().write_run(run)


@dataclass
class World:
    """A deployment in memory."""

    store: Store = field(default_factory=Store)
    lake: Lake = field(default_factory=Lake)
    termination: Termination = field(default_factory=Termination)

    def container(self, extract: Extract = extract, **options: int) -> int:
        """Start the container, until its exit."""
        with self.termination.handled():
            return run_job(
                extract,
                job=JOB,
                image_digest=IMAGE_DIGEST,
                store=self.store,
                lake=self.lake,
                termination=self.termination,
                **options,
            )

    def crash(self, extract: Extract = extract) -> None:
        """Start the container, which does not survive."""
        with pytest.raises(Crash):
            self.container(extract)

    def retry(self) -> Run:
        """What the scheduler does about a dead container."""
        self.store.put_job(fence=None, active_run=None)
        return self.store.start(WINDOW)

    def row(self, run: Run) -> Run:
        return self.store.runs[run.job, run.row_key]

    @property
    def staged(self) -> list[str]:
        return self.lake.below("_staging")

    @property
    def committed(self) -> bool:
        return "watermark" in self.store.jobs[JOB]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extractor.runtime.claim.time.sleep", lambda _: None)


def crash(*_: object) -> None:
    raise Crash


def assert_loaded(world: World, run: Run) -> None:
    """The run is over, and its window in the lake, whole, and nothing else."""
    row, job = world.row(run), world.store.jobs[JOB]
    assert row.status is RunStatus.SUCCEEDED
    assert (row.rows, row.lake_path) == (4, FOLDER)
    assert (job["watermark"], job["commit_run_id"], job["commit_rows"]) == (
        WINDOW.end, run.run_id, 4,
    )  # fmt: skip
    assert world.lake.table(FOLDER).to_pydict() == {
        "number": [1, 2, 1, 2],
        "date": [date(2020, 1, 1)] * 2 + [date(2020, 1, 2)] * 2,
    }
    assert json.loads(world.lake.files[MANIFEST])["run_id"] == run.run_id
    assert world.staged == []


# Without disturbance


def test_a_run_lands_its_window(world: World) -> None:
    started = world.store.start(WINDOW)
    assert world.container() == EXIT_OK
    assert_loaded(world, started)
    assert world.lake.below("job") == [
        f"{FOLDER}/date=2020-01-01/part-0.parquet",
        f"{FOLDER}/date=2020-01-02/part-0.parquet",
        MANIFEST,
    ]


def test_the_manifest_says_what_is_there_and_where_it_comes_from(world: World) -> None:
    started = world.store.start(WINDOW)
    world.container()
    manifest = json.loads(world.lake.files[MANIFEST])
    assert manifest["job"] == JOB
    assert manifest["run_id"] == started.run_id
    assert manifest["image_digest"] == IMAGE_DIGEST
    assert manifest["window"] == {
        "from": "2020-01-01T00:00:00+00:00",
        "to": "2020-01-03T00:00:00+00:00",
    }
    assert manifest["rows"] == 4
    assert datetime.fromisoformat(manifest["created_at"]).tzinfo is not None
    files = {path for path in world.lake.below(FOLDER) if path != MANIFEST}
    assert {f"{FOLDER}/{each['path']}" for each in manifest["files"]} == files
    for each in manifest["files"]:
        content = world.lake.files[f"{FOLDER}/{each['path']}"]
        assert each["sha256"] == hashlib.sha256(content).hexdigest()
        assert each["bytes"] == len(content)
        assert each["rows"] == 2
    assert world.row(started).bytes == sum(each["bytes"] for each in manifest["files"])


def test_without_a_run_nothing_is_touched_and_nothing_read(world: World) -> None:
    world.store.put_job(status="idle")
    writes = world.store.writes

    def unwanted(_: Window) -> Iterator[pa.Table]:
        raise AssertionError("the source was read")

    assert world.container(unwanted) == EXIT_OK
    assert world.store.writes == writes
    assert world.lake.files == {}


def test_a_window_without_rows_has_a_manifest_only(world: World) -> None:
    started = world.store.start(WINDOW)
    assert world.container(lambda _: [day_table(START.date())]) == EXIT_OK
    assert world.lake.below("job") == [MANIFEST]
    assert json.loads(world.lake.files[MANIFEST])["files"] == []
    assert world.row(started).rows == 0
    assert world.store.jobs[JOB]["watermark"] == WINDOW.end


def test_what_is_larger_than_the_buffer_is_uploaded_on_the_way(world: World) -> None:
    world.store.start(WINDOW)
    staged: list[int] = []

    on_disk: list[int] = []

    class Watching(Lake):
        def upload(self, source: Path, path: str) -> None:
            on_disk.append(len(list(source.parent.glob("*.parquet"))))
            super().upload(source, path)

    world.lake = Watching()

    def stream(_: Window) -> Iterator[pa.Table]:
        for number in range(5):
            staged.append(len(world.staged))
            yield day_table(START.date(), number)

    assert world.container(stream, buffer_bytes=1) == EXIT_OK
    assert staged == [0, 1, 2, 3, 4]
    assert on_disk == [1, 1, 1, 1, 1, 0]
    assert world.lake.table(FOLDER).num_rows == 5


def test_the_author_of_an_extractor_can_test_it() -> None:
    landed = land(extract, WINDOW)
    assert landed.exit_code == EXIT_OK
    assert landed.run.status is RunStatus.SUCCEEDED
    assert landed.table.num_rows == landed.manifest["rows"] == 4


# The extractor fails


def test_an_exception_ends_the_run_and_leaves_nothing(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(window: Window) -> Iterator[pa.Table]:
        yield from extract(window)
        raise ValueError("the source said:\n\nno")

    started = world.store.start(WINDOW)
    assert world.container(broken, buffer_bytes=1) == EXIT_FAILED
    row = world.row(started)
    assert (row.status, row.failure) == (RunStatus.FAILED, Failure.EXTRACTOR)
    assert row.reason == "The extractor raised ValueError."
    assert row.error == "ValueError: the source said: no"
    assert row.ended_at is not None
    assert world.lake.files == {}
    assert not world.committed
    assert any(record.exc_info for record in caplog.records)


def test_an_extractor_that_exits_has_failed(world: World) -> None:
    def leaving(_: Window) -> Iterator[pa.Table]:
        raise SystemExit("enough")

    started = world.store.start(WINDOW)
    assert world.container(leaving) == EXIT_FAILED
    assert world.row(started).error == "SystemExit: enough"


def test_a_wrong_setting_of_the_extractor_is_in_its_run(world: World) -> None:
    class Own(Settings):
        stations: int

    def unset(_: Window) -> Iterator[pa.Table]:
        yield day_table(START.date(), Own.read({}).stations)

    started = world.store.start(WINDOW)
    assert world.container(unset) == EXIT_SETTINGS
    row = world.row(started)
    assert row.status is RunStatus.FAILED
    assert row.error == "The environment variable STATIONS is not set; it must be set."


def test_an_upload_that_fails_ends_the_run(world: World) -> None:
    def refuse(path: str) -> None:
        if "date=2020-01-02" in path:
            raise ConnectionError("the lake is away")

    world.lake.before_upload = refuse
    started = world.store.start(WINDOW)
    assert world.container() == EXIT_FAILED
    assert world.row(started).error == "ConnectionError: the lake is away"
    assert world.lake.files == {}


# The scheduler gives up on the run


def test_a_fence_taken_away_while_rows_are_read_shows_and_commits_nothing(world: World) -> None:
    def slow(window: Window) -> Iterator[pa.Table]:
        yield from extract(window)
        world.store.put_job(fence=None)

    started = world.store.start(WINDOW)
    assert world.container(slow) == EXIT_FAILED
    assert world.lake.files == {}
    assert not world.committed
    assert world.row(started).status is RunStatus.RUNNING


def test_a_fence_taken_away_before_the_commit_commits_nothing(world: World) -> None:
    world.lake.after_rename = lambda *_: world.store.put_job(fence="another")
    started = world.store.start(WINDOW)
    assert world.container() == EXIT_FAILED
    assert not world.committed
    assert world.row(started).status is RunStatus.RUNNING


def test_a_late_container_leaves_the_folder_of_its_successor_alone(world: World) -> None:
    successors: list[Run] = []

    def succeed(source: str, target: str) -> None:
        world.lake.before_rename = Lake.before_rename
        successors.append(world.retry())
        assert world.container() == EXIT_OK

    world.lake.before_rename = succeed
    late = world.store.start(WINDOW)
    assert world.container() == EXIT_FAILED
    assert_loaded(world, successors[0])
    assert world.row(late).status is RunStatus.RUNNING


def test_a_late_container_leaves_what_its_successor_is_about_to_commit_alone(
    world: World,
) -> None:
    successors: list[Run] = []

    def show(source: str, target: str) -> None:
        world.lake.before_rename = Lake.before_rename
        successors.append(world.retry())
        world.lake.after_rename = crash
        world.crash()
        world.lake.after_rename = Lake.after_rename

    world.lake.before_rename = show
    world.store.start(WINDOW)
    assert world.container() == EXIT_FAILED
    assert json.loads(world.lake.files[MANIFEST])["run_id"] == successors[0].run_id
    assert world.staged == []


def test_a_run_that_fails_after_it_was_given_up_is_not_closed(world: World) -> None:
    def broken(_: Window) -> Iterator[pa.Table]:
        world.store.put_job(fence=None)
        raise ValueError

    started = world.store.start(WINDOW)
    assert world.container(broken) == EXIT_FAILED
    assert world.row(started).status is RunStatus.RUNNING


# The container dies


def test_a_crash_while_staging_shows_nothing_and_the_retry_tidies_up(world: World) -> None:
    def dying(window: Window) -> Iterator[pa.Table]:
        yield next(extract(window))
        raise Crash

    world.store.start(WINDOW)
    with pytest.raises(Crash):
        world.container(dying, buffer_bytes=1)
    assert len(world.staged) == 1
    assert world.lake.below("job") == []
    retried = world.retry()
    assert world.container() == EXIT_OK
    assert_loaded(world, retried)


def test_a_crash_between_rename_and_commit_is_rewritten_whole(world: World) -> None:
    world.lake.after_rename = crash
    world.store.start(WINDOW)
    # The dead attempt had a day more than the source has now.
    world.crash(lambda window: [*extract(window), day_table(date(2020, 1, 9), 9)])
    assert len(world.lake.below(FOLDER)) == 4
    assert not world.committed
    world.lake.after_rename = Lake.after_rename
    retried = world.retry()
    assert world.container() == EXIT_OK
    assert_loaded(world, retried)


def test_a_crash_between_the_two_renames_of_a_retry_is_rewritten_whole(world: World) -> None:
    world.store.start(WINDOW)
    world.lake.after_rename = crash
    world.crash()

    def crash_again(source: str, target: str) -> None:
        # Not even the way back is taken: the container is gone.
        world.lake.before_rename = crash
        raise Crash

    world.lake.after_rename = crash_again
    world.retry()
    world.crash()
    world.lake.before_rename, world.lake.after_rename = Lake.before_rename, Lake.after_rename
    assert world.lake.below(FOLDER) == []
    retried = world.retry()
    assert world.container() == EXIT_OK
    assert_loaded(world, retried)


def test_a_second_rename_that_fails_puts_the_former_folder_back(world: World) -> None:
    world.store.start(WINDOW)
    assert world.container() == EXIT_OK
    before = world.lake.table(FOLDER)

    def refuse(source: str, target: str) -> None:
        if target.endswith("-replaced-0"):
            world.lake.before_rename = refuse_once

    def refuse_once(source: str, target: str) -> None:
        world.lake.before_rename = Lake.before_rename
        raise ConnectionError("the lake is away")

    world.lake.before_rename = refuse
    again = world.retry()
    assert world.container(lambda _: [day_table(START.date(), 9)]) == EXIT_FAILED
    assert world.row(again).status is RunStatus.FAILED
    assert world.lake.table(FOLDER) == before
    assert world.staged == []


@pytest.mark.parametrize("days", [1, 3])
def test_what_a_dead_attempt_showed_of_a_window_with_another_end_is_replaced(
    world: World, days: int
) -> None:
    # Its last attempt was in vain, so the next run begins where it began and ends elsewhere.
    world.store.before_commit = crash
    world.store.start(Window(START, START + timedelta(days=days)))
    world.crash()
    world.store.before_commit = Store.before_commit
    started = world.store.start(WINDOW)
    assert world.container() == EXIT_OK
    assert world.lake.children(JOB) == [WINDOW.folder]
    assert_loaded(world, started)


def backfilled(world: World) -> tuple[int, Run]:
    """Exit code and row of a container that loads ``WINDOW`` as a chunk of a backfill."""
    chunk = world.store.start(WINDOW)
    world.store.put_run(replace(chunk, trigger=BACKFILL))
    return world.container(), world.row(chunk)


def test_a_backfills_chunk_replaces_the_windows_within_it(world: World) -> None:
    hour = timedelta(hours=1)
    for start, end in ((START, START + hour), (START + hour, WINDOW.end)):
        world.store.start(Window(start, end))
        assert world.container() == EXIT_OK
    assert backfilled(world)[0] == EXIT_OK
    assert world.lake.children(JOB) == [WINDOW.folder]


@pytest.mark.parametrize(("before", "after"), [(0, 1), (1, 0), (1, -1), (-1, 1)])
def test_a_backfills_chunk_shows_no_row_twice_and_hides_none(
    world: World, before: int, after: int
) -> None:
    hour = timedelta(hours=1)
    present = Window(START - before * hour, WINDOW.end + after * hour)
    world.store.start(present)
    assert world.container() == EXIT_OK
    shown = world.lake.table(f"{JOB}/{present.folder}")
    code, run = backfilled(world)
    assert (code, run.reason) == (EXIT_FAILED, "The extractor raised OverlapError.")
    assert "is not within the chunk" in (run.error or "")
    assert world.lake.children(JOB) == [present.folder]
    assert world.lake.table(f"{JOB}/{present.folder}") == shown
    assert world.staged == []


def test_windows_before_and_after_are_left_alone(world: World) -> None:
    day = timedelta(days=1)
    for start, end in ((START - day, START), (WINDOW.end, WINDOW.end + day), (START, WINDOW.end)):
        world.store.start(Window(start, end))
        assert world.container() == EXIT_OK
    assert len(world.lake.children(JOB)) == 3


def test_a_crash_between_commit_and_close_leaves_the_commit(world: World) -> None:
    world.store.before_close = crash
    started = world.store.start(WINDOW)
    world.crash()
    job = world.store.jobs[JOB]
    assert job["commit_run_id"] == started.run_id
    assert job["commit_rows"] == 4
    assert job["watermark"] == WINDOW.end
    assert world.lake.table(FOLDER).num_rows == 4
    assert world.row(started).status is RunStatus.RUNNING


def test_a_commit_without_an_answer_is_the_schedulers_to_judge(world: World) -> None:
    def vanish() -> None:
        raise ConnectionError("no answer")

    world.store.before_commit = vanish
    started = world.store.start(WINDOW)
    assert world.container() == EXIT_FAILED
    assert world.row(started).status is RunStatus.RUNNING


def test_a_leftover_that_cannot_be_deleted_is_no_failure(world: World) -> None:
    class Stuck(Lake):
        def delete(self, folder: str) -> None:
            raise ConnectionError("the lake is away")

    world.lake = Stuck()
    world.lake.files["_staging/job/old/part"] = b""
    started = world.store.start(WINDOW)
    assert world.container() == EXIT_OK
    assert world.row(started).status is RunStatus.SUCCEEDED
    assert world.staged == ["_staging/job/old/part"]


def test_staging_of_other_jobs_and_of_a_successor_stays(world: World) -> None:
    def meanwhile(source: str, target: str) -> None:
        world.lake.files["_staging/job/successor/part"] = b""

    world.lake.files["_staging/job2/live/part"] = b""
    world.lake.files["_staging/job/dead/part"] = b""
    world.lake.after_rename = meanwhile
    world.store.start(WINDOW)
    assert world.container() == EXIT_OK
    assert world.staged == ["_staging/job/successor/part", "_staging/job2/live/part"]


# The container is asked to stop


def test_a_container_that_is_stopped_closes_its_run_and_tidies_up(world: World) -> None:
    def stopped(window: Window) -> Iterator[pa.Table]:
        yield from extract(window)
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("went on")

    started = world.store.start(WINDOW)
    assert world.container(stopped, buffer_bytes=1) == EXIT_FAILED
    row = world.row(started)
    assert row.status is RunStatus.FAILED
    assert row.reason == "The container was stopped."
    assert world.lake.files == {}
    assert not world.committed


def test_a_container_that_is_stopped_while_it_publishes_finishes(world: World) -> None:
    world.lake.after_rename = lambda *_: os.kill(os.getpid(), signal.SIGTERM)
    started = world.store.start(WINDOW)
    assert world.container() == EXIT_OK
    assert_loaded(world, started)


def test_a_heartbeat_that_lost_the_run_ends_it(world: World) -> None:
    started = world.store.start(WINDOW)

    def endless(_: Window) -> Iterator[pa.Table]:
        world.store.put_run(replace(world.row(started), status=RunStatus.TIMED_OUT))
        for number in range(10**9):
            yield day_table(START.date(), number)

    with world.termination.handled():
        code = run_job(
            endless,
            job=JOB,
            image_digest=IMAGE_DIGEST,
            store=world.store,
            lake=world.lake,
            termination=world.termination,
            heartbeat_s=0.001,
        )
    assert code == EXIT_FAILED
    assert world.row(started).status is RunStatus.TIMED_OUT
    assert world.lake.files == {}


# The process


def test_a_wrong_variable_of_the_runtime_is_one_sentence_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("extractor.runtime.log.configure", lambda: None)
    assert run(extract, {"JOB_NAME": "a b"}) == EXIT_SETTINGS
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.message.startswith("The environment variable JOB_NAME is 'a b'; it must be ")
