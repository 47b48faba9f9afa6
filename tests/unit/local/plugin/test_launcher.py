"""The command that the engine starts."""

from __future__ import annotations

import subprocess
from pathlib import Path

from local.plugin.launcher import COMMAND, install
from local.settings import REPOSITORY


def test_it_starts_the_plugin_with_this_python_wherever_it_is_called(
    tmp_path: Path,
) -> None:
    command = install(tmp_path / "a folder")
    assert command == tmp_path / "a folder" / COMMAND
    # `python -m local.plugin` with another module in its place, to see how it would be started.
    text = command.read_text().replace(
        "-m local.plugin", "-c 'import local; print(local.__file__)'"
    )
    (tmp_path / "probe").write_text(text)
    (tmp_path / "probe").chmod(command.stat().st_mode)
    done = subprocess.run(
        [tmp_path / "probe"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(REPOSITORY / "local" / "__init__.py")
