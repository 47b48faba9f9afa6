"""What is made of the engine's events."""

from __future__ import annotations

from typing import Any

from pulumi.automation.events import (
    DiagnosticEvent,
    EngineEvent,
    OpType,
    ResOutputsEvent,
    StepEventMetadata,
    StepEventStateMetadata,
)

from local.stack import _Events

IMAGE = "urn:pulumi:local::pipelines::pipelines:infra:Extractor$docker-build:index:Image::image"


STACK = "urn:pulumi:local::pipelines::pulumi:pulumi:Stack::pipelines-local"


def said(
    message: str, severity: str, *, ephemeral: bool = False, urn: str | None = IMAGE
) -> EngineEvent:
    values: dict[str, Any] = {"message": message, "color": "never", "severity": severity}
    diagnostic = DiagnosticEvent(**values, urn=urn, ephemeral=ephemeral)
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


def test_what_the_program_itself_says_is_a_note() -> None:
    by_program = said("The next fire times\nweather\n", "info", urn=None)
    by_stack = said("<{%reset%}>About 1 USD<{%reset%}>\n", "info", urn=STACK)
    by_image = said("building\n", "info")
    warning = said("using a plugin from PATH\n", "warning", urn=None)
    notes = events(by_program, by_stack, by_image, warning).notes
    assert notes == ["The next fire times\nweather", "About 1 USD"]


def outputs(type_: str, values: dict[str, Any]) -> StepEventStateMetadata:
    return StepEventStateMetadata(
        type=type_, urn=STACK, id="", parent="", inputs={}, outputs=values, provider=""
    )


def registered(type_: str) -> EngineEvent:
    step = StepEventMetadata(
        op=OpType.SAME,
        urn=STACK,
        type=type_,
        provider="",
        old=outputs(type_, {"jobs": {"weather": 1}}),
        new=outputs(type_, {"jobs": {"weather": 2}}),
    )
    return EngineEvent(sequence=1, timestamp=1, res_outputs_event=ResOutputsEvent(step))


def test_the_outputs_are_those_of_the_stack_before_and_after() -> None:
    found = events(registered("pulumi:pulumi:Stack"), registered("pipelines:infra:Lake")).outputs
    assert found == ({"jobs": {"weather": 1}}, {"jobs": {"weather": 2}})
    assert events(registered("pipelines:infra:Lake")).outputs == ({}, {})
