from __future__ import annotations

import os
import signal

import pytest

from extractor.runtime.termination import StoppedError, Termination


def ask_to_stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_the_signal_stops_what_may_be_stopped() -> None:
    termination = Termination()
    with termination.handled(), pytest.raises(StoppedError), termination.stoppable():
        ask_to_stop()
    assert termination.requested


def test_a_signal_that_came_before_stops_at_once() -> None:
    termination = Termination()
    entered = False
    with termination.handled():
        ask_to_stop()
        with pytest.raises(StoppedError), termination.stoppable():
            entered = True
    assert not entered


def stopped_twice(termination: Termination, cleaned: list[bool]) -> None:
    with termination.stoppable():
        try:
            ask_to_stop()
        finally:
            ask_to_stop()  # somebody has no patience with the clean-up
            cleaned.append(True)


def test_outside_and_a_second_time_the_signal_is_only_remembered() -> None:
    termination = Termination()
    cleaned: list[bool] = []
    with termination.handled():
        with pytest.raises(StoppedError):
            stopped_twice(termination, cleaned)
        ask_to_stop()
    assert cleaned


def test_an_extractor_that_catches_exceptions_is_stopped_all_the_same() -> None:
    assert not issubclass(StoppedError, Exception)


def test_the_former_handler_comes_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Termination().handled():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
