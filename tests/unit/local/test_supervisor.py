"""The configuration of supervisord, as supervisord itself reads it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from supervisor.options import ServerOptions

from local.console import SetupError
from local.supervisor import Program, Supervisor, last_words


@pytest.fixture
def supervisor(tmp_path: Path) -> Supervisor:
    state, logs = tmp_path / "a state", tmp_path / "logs"
    state.mkdir()
    logs.mkdir()
    return Supervisor(socket=tmp_path / "s.sock", state=state, logs=logs)


def read(supervisor: Supervisor, *programs: Program) -> list[Any]:
    supervisor.configuration.write_text(supervisor.render(programs))
    options = ServerOptions()
    options.realize(["-c", str(supervisor.configuration)])
    return [group.process_configs[0] for group in options.process_group_configs]


@pytest.mark.filterwarnings("ignore:Supervisor is running as root")
def test_a_command_survives_with_spaces_quotes_and_percent_signs(supervisor: Supervisor) -> None:
    command = ["serve", "100%", "a b", 'say "hi"', "it's"]
    (program,) = read(supervisor, Program("web", command, {"GREETING": "50% off; a b"}, stop_s=7))
    assert program.name == "web"
    assert shlex.split(program.command) == command
    assert program.environment == {"GREETING": "50% off; a b"}
    assert program.stopwaitsecs == 7


@pytest.mark.filterwarnings("ignore:Supervisor is running as root")
def test_each_program_writes_one_log_and_leaves_no_child(supervisor: Supervisor) -> None:
    first, second = read(supervisor, Program("first", ["a"]), Program("second", ["b"]))
    for program in (first, second):
        assert Path(program.stdout_logfile) == supervisor.log(program.name)
        assert program.redirect_stderr
        assert program.killasgroup
        assert program.autorestart


def test_without_a_supervisord_nothing_runs(supervisor: Supervisor) -> None:
    assert not supervisor.running()
    assert supervisor.states() == {}
    supervisor.stop()


def test_another_process_of_that_number_is_none_of_ours(supervisor: Supervisor) -> None:
    supervisor.pid_file.write_text(str(os.getpid()))
    assert not supervisor.running()


def test_a_program_that_died_is_named_with_its_last_words(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Supervisor, "states", lambda _: {"web": "FATAL"})
    log = supervisor.log("web")
    log.write_text("starting\naddress already in use\n\n")
    with pytest.raises(SetupError) as caught:
        supervisor.wait("web", lambda: True, timeout_s=1)
    assert str(caught.value) == f"web does not start: address already in use (log: {log})"


def test_a_program_that_does_not_answer_in_time_is_named(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Supervisor, "states", lambda _: {"web": "RUNNING"})
    supervisor.wait("web", lambda: True, timeout_s=1)
    with pytest.raises(SetupError, match=r"^web did not answer within 0 s \(log: .+web\.log\)$"):
        supervisor.wait("web", lambda: False, timeout_s=0)


def test_programs_that_outlived_their_supervisord_are_ended(supervisor: Supervisor) -> None:
    def orphan(address: str) -> subprocess.Popen[bytes]:
        script = "import time; print('ready', flush=True); time.sleep(60)"
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            env={"SUPERVISOR_SERVER_URL": address},
            stdout=subprocess.PIPE,
        )
        assert process.stdout
        process.stdout.readline()
        process.stdout.close()
        return process

    ours, another = orphan(f"unix://{supervisor.socket}"), orphan("unix:///another.sock")
    try:
        supervisor.sweep()
        ours.wait(10)
        assert another.poll() is None
    finally:
        for process in (ours, another):
            process.kill()
            process.wait()


def test_a_stack_trace_is_not_the_reason(supervisor: Supervisor) -> None:
    log = supervisor.log("web")
    log.write_text("starting\npanic: the store is locked\n  at runtime.go:12\n")
    assert last_words(log) == "panic: the store is locked"
    assert last_words(log.with_name("none.log")) == ""
