"""Programs run by the real Pulumi engine with the local azure-native plugin."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from pulumi import automation
from pulumi.automation.events import EngineEvent, OpType

from local.plugin.launcher import install
from local.settings import Settings

Program = Callable[[], None]

_POLL_S = 0.05


class EngineError(Exception):
    """The engine failed; the text is all that it printed."""


class Engine:
    """One stack of the engine, in a folder of its own.

    Args:
        folder: an empty folder.
        settings: the local stack whose services the plugin uses.
        variables: further variables for the engine and the plugin.
        project: the project's name.
        stack: the stack's name.
    """

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        variables: Mapping[str, str] | None = None,
        *,
        project: str = "test",
        stack: str = "test",
    ) -> None:
        self._folder = folder
        self._names = (project, stack)
        self._tools = [str(self._install(folder / "bin")), str(settings.tools / "bin")]
        for each in ("project", "state"):
            (folder / each).mkdir()
        self.steps: list[tuple[str, str]] = []
        """Operations of the last preview or update, each with the name of its resource."""
        self.events: list[EngineEvent] = []
        """All that the engine reported of the last preview or update."""
        self.text = ""
        """All that the engine printed in the last preview or update."""
        environment = {
            "PULUMI_BACKEND_URL": f"file://{folder / 'state'}",
            "PULUMI_CONFIG_PASSPHRASE": "test",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_HOME": str(folder / "home"),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            **settings.environment(),
            **(variables or {}),
        }
        with self._at_work():
            self._stack = automation.create_stack(
                stack,
                project_name=project,
                program=lambda: None,
                opts=automation.LocalWorkspaceOptions(
                    work_dir=str(self._project),
                    env_vars=environment,
                    project_settings=automation.ProjectSettings(name=project, runtime="python"),
                ),
            )

    def _install(self, folder: Path) -> Path:
        """Put the commands of the plugins into a folder."""
        return install(folder).parent

    @property
    def _project(self) -> Path:
        return self._folder / "project"

    def configure(self, key: str, value: str) -> None:
        with self._at_work():
            self._stack.set_config(key, automation.ConfigValue(value))

    def preview(self, program: Program) -> dict[str, int]:
        """What :meth:`up` would do: how many resources, by operation."""
        self._stack.workspace.program = program
        with self._at_work(), _told():
            result = self._stack.preview(on_event=self._note)
        self.text = result.stdout + result.stderr
        return self._counts(result.change_summary)

    def up(self, program: Program) -> dict[str, int]:
        """Bring the stack to what the program declares; returns what :meth:`preview` does."""
        self._stack.workspace.program = program
        with self._at_work(), _told():
            result = self._stack.up(on_event=self._note)
        self.text = result.stdout + result.stderr
        return self._counts(result.summary.resource_changes)

    def refresh(self) -> dict[str, int]:
        with self._at_work(), _told():
            return self._counts(self._stack.refresh().summary.resource_changes, of_stack="same")

    def destroy(self) -> dict[str, int]:
        with self._at_work(), _told():
            return self._counts(self._stack.destroy().summary.resource_changes, of_stack="delete")

    def _note(self, event: EngineEvent) -> None:
        if event.prelude_event:
            self.steps.clear()
            self.events.clear()
        self.events.append(event)
        if event.resource_pre_event:
            step = event.resource_pre_event.metadata
            self.steps.append((str(OpType(step.op).value), step.urn.rpartition("::")[2]))

    def _counts(
        self, changes: Mapping[Any, int] | None, of_stack: str | None = None
    ) -> dict[str, int]:
        """The changes without that of the stack, which is a resource as well."""
        counts = {str(getattr(key, "value", key)): count for key, count in (changes or {}).items()}
        itself = "-".join(self._names)
        stack = of_stack or {name: operation for operation, name in self.steps}.get(itself)
        if stack in counts:
            counts[stack] -= 1
        return {operation: count for operation, count in counts.items() if count}

    def outputs(self) -> automation.OutputMap:
        with self._at_work():
            return self._stack.outputs()

    def state(self) -> dict[str, dict[str, object]]:
        """The resources in the state, by their names in the program."""
        # Not exported by the Automation API, which would show secrets.
        (file,) = (self._folder / "state" / ".pulumi" / "stacks").rglob(f"{self._names[1]}.json")
        resources = json.loads(file.read_text())["checkpoint"]["latest"]["resources"]
        return {each["urn"].rpartition("::")[2]: each for each in resources}

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[None]:
        # The Automation API looks for the engine on this process's PATH, and the engine for the
        # plugin on the same one. Programs name files by paths relative to where they run, and so
        # does the engine.
        path = os.pathsep.join([*self._tools, os.environ["PATH"]])
        with mock.patch.dict(os.environ, PATH=path), contextlib.chdir(self._project):
            yield


@contextlib.contextmanager
def _told() -> Iterator[None]:
    loops: list[asyncio.AbstractEventLoop] = []
    new_event_loop = asyncio.new_event_loop

    def noted() -> asyncio.AbstractEventLoop:
        loops.append(new_event_loop())
        return loops[-1]

    with mock.patch.object(asyncio, "new_event_loop", noted):
        try:
            yield
        except automation.CommandError as error:
            raise EngineError(str(error)) from None
        finally:
            _close(loops)


def _close(loops: Iterable[asyncio.AbstractEventLoop]) -> None:
    """Close what the Automation API leaves open after a failure."""
    for loop in loops:
        while loop.is_running():
            time.sleep(_POLL_S)
        loop.close()
