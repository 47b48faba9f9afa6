from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise

import pytest

from extractor.runtime import Window


def at(day: int, hour: int = 0, microsecond: int = 0) -> datetime:
    return datetime(2020, 2, day, hour, microsecond=microsecond, tzinfo=UTC)


def test_a_moment_at_the_start_is_in_and_one_at_the_end_is_not() -> None:
    window = Window(at(1), at(2))
    assert at(1) in window
    assert at(2) not in window
    assert at(2) - datetime.resolution in window


def test_windows_that_touch_have_no_moment_in_common() -> None:
    window = Window(at(2), at(4))
    assert not window.overlaps(Window(at(1), at(2)))
    assert not window.overlaps(Window(at(4), at(5)))
    assert window.overlaps(Window(at(3), at(5)))
    assert window.overlaps(Window(at(1), at(5)))
    assert window.overlaps(Window(at(1), at(3)))


@pytest.mark.parametrize(
    ("start", "end", "days"),
    [
        (at(1), at(3), [1, 2]),
        (at(1, 1), at(3, 1), [2, 3]),
        (at(1, microsecond=1), at(2), []),
        (at(1, 5), at(1, 6), []),
        (at(1), at(1, 1), [1]),
        (at(2), at(2), []),
    ],
)
def test_a_day_belongs_to_the_window_in_which_it_begins(
    start: datetime, end: datetime, days: list[int]
) -> None:
    assert list(Window(start, end).days()) == [date(2020, 2, day) for day in days]


def test_windows_that_follow_one_another_have_each_day_once() -> None:
    bounds = [at(1) + timedelta(hours=7 * step) for step in range(30)]
    windows = [Window(*pair) for pair in pairwise(bounds)]
    found = [day for window in windows for day in window.days()]
    assert found == list(Window(bounds[0], bounds[-1]).days())


def test_the_folder_is_named_in_utc() -> None:
    berlin = timezone(timedelta(hours=1))
    window = Window(datetime(2020, 2, 1, 1, tzinfo=berlin), at(2))
    assert window.folder == "window=20200201T000000Z_20200202T000000Z"


def test_windows_that_differ_by_a_microsecond_have_folders_of_their_own() -> None:
    assert Window(at(1), at(2)).folder != Window(at(1), at(2, microsecond=1)).folder


def test_a_folders_name_tells_the_window() -> None:
    start = datetime(2020, 1, 1, 2, 3, 4, 5, tzinfo=UTC)
    window = Window(start, start + timedelta(days=1))
    assert Window.of_folder(window.folder) == window
    assert Window.of_folder("window=a_b") is None
    assert Window.of_folder("manifest.json") is None
