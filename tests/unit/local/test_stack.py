"""What is made of the engine's events."""

from __future__ import annotations

from typing import Any

from pulumi.automation.events import DiagnosticEvent, EngineEvent

from local.stack import _Events

IMAGE = "urn:pulumi:local::pipelines::pipelines:infra:Extractor$docker-build:index:Image::image"


def said(message: str, severity: str, *, ephemeral: bool = False) -> EngineEvent:
    values: dict[str, Any] = {"message": message, "color": "never", "severity": severity}
    diagnostic = DiagnosticEvent(**values, urn=IMAGE, ephemeral=ephemeral)
    return EngineEvent(sequence=1, timestamp=1, diagnostic_event=diagnostic)


def events(*each: EngineEvent) -> _Events:
    collected = _Events(lambda _: None)
    for event in each:
        collected(event)
    return collected


def test_a_failed_build_comes_with_the_end_of_its_log() -> None:
    log = [said(f"line {n}\n", "info", ephemeral=True) for n in range(20)]
    error = events(*log, said("failed to solve: exit code: 1\n", "error")).failure("otherwise")
    assert str(error) == "image: failed to solve: exit code: 1"
    assert error.log == [f"line {n}" for n in range(5, 20)]


def test_the_log_of_what_did_not_fail_is_left_out() -> None:
    error = events(said("line\n", "info", ephemeral=True)).failure("otherwise")
    assert (str(error), error.log) == ("otherwise", [])


def test_a_full_disk_is_told_from_the_log() -> None:
    log = said("OSError: [Errno 28] No space left on device\n", "info", ephemeral=True)
    error = events(said("failed to solve: exit code: 1\n", "error"), log).failure("otherwise")
    assert str(error) == "image failed: the disk is full."


def test_a_full_disk_that_no_log_tells_of() -> None:
    error = events().failure("exit code 1", disk_was_full=True)
    assert str(error) == "The deployment failed: the disk is full."
