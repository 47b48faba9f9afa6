"""Commands and what is said of their failures."""

from __future__ import annotations

import sys
import time

import pytest

from local.console import SetupError, disk_full, explain, run


def test_the_output_comes_back_and_line_by_line() -> None:
    lines: list[str] = []
    script = "import sys; print('one'); print('two', file=sys.stderr)"
    output = run([sys.executable, "-c", script], failure="It failed", on_line=lines.append)
    assert sorted(output.split()) == ["one", "two"]
    assert sorted(lines) == ["one", "two"]


def test_a_failed_command_is_one_sentence() -> None:
    script = "print('working'); print('Error: no such thing.'); print('done'); exit(3)"
    with pytest.raises(SetupError) as caught:
        run([sys.executable, "-c", script], failure="It failed")
    assert str(caught.value) == "It failed: Error: no such thing."


def test_a_missing_command_is_one_sentence() -> None:
    with pytest.raises(SetupError, match=r"^It failed: no-such-command can't be started \("):
        run(["no-such-command"], failure="It failed")


def test_a_command_that_takes_too_long_is_killed() -> None:
    start = time.monotonic()
    with pytest.raises(SetupError, match=r"^It failed: .+ took longer than 0\.2 seconds\.$"):
        run(
            [sys.executable, "-c", "import time; time.sleep(60)"],
            failure="It failed",
            timeout_s=0.2,
        )
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("", "It failed: exit code 2."),
        ("first\nlast\n\n", "It failed: last."),
        ("write x: no space left on device\nerror: exit 1", "It failed: the disk is full."),
        ("npm ERR! code ENOSPC", "It failed: the disk is full."),
    ],
)
def test_the_reason_is_found_in_the_output(output: str, sentence: str) -> None:
    assert explain("It failed", output, 2) == sentence


def test_a_full_disk_is_told_from_other_errors() -> None:
    assert disk_full("failed to copy: write /x: No space left on device")
    assert not disk_full("no such device")
