"""The stack on this machine: the program of ``infra/`` run by Pulumi's Automation API.

The engine works in a folder of the stack's state, on copies of the project's and the stack's
configuration: the engine writes into them, and the repository stays as it is.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pulumi import automation
from pulumi.automation.events import DiagnosticEvent, EngineEvent, OpType, StepEventMetadata

from infra.__main__ import deploy
from infra.config import REGION_KEY
from local.console import disk_full
from local.machine import DiskWatch
from local.settings import REPOSITORY, Settings

CONFIGURATION = REPOSITORY / "Pulumi.local.yaml"

_UNCHANGED = frozenset({OpType.SAME, OpType.READ, OpType.REFRESH})

_STACK_TYPE = "pulumi:pulumi:Stack"

_DEPLOYED_PACKAGES = ("azure-native:", "docker-build:")

_LOG_LINES = 15

_NOISE = re.compile(r"^(error: )?(update|preview|destroy) failed$|^resource .* failed|^$")
_REPEATED = "an unhandled error occurred: "
"""What the engine puts before a program's error when it reports it once more."""

_MARKUP = re.compile(r"<\{%[^%]*%\}>|\x1b\[[0-9;]*m")


class DeploymentError(Exception):
    """The engine failed; the text has its errors, a line each.

    Args:
        errors: the text.
        log: the last lines that the failed resources wrote, such as the build of an image.
    """

    def __init__(self, errors: str, log: Sequence[str] = ()) -> None:
        super().__init__(errors)
        self.log = log


@dataclass(frozen=True)
class Change:
    """What the engine does, or would do, with one resource.

    Args:
        operation: such as ``create``, ``update`` or ``replace``.
        type: the resource's type without its package, such as ``storage:Table``.
        name: the resource's name in the program.
        keys: properties that changed.
    """

    operation: OpType
    type: str
    name: str
    keys: Sequence[str]

    @classmethod
    def of(cls, step: StepEventMetadata) -> Change:
        return cls(
            operation=OpType(step.op),
            type=step.type.partition(":")[2].removeprefix("index:"),
            name=step.urn.rpartition("::")[2],
            keys=tuple(step.diffs or step.keys or ()),
        )


@dataclass(frozen=True)
class Preview:
    """What :meth:`LocalStack.up` would do.

    Args:
        changes: what it would change.
        notes: what the program says in a preview.
        outputs_before: the stack's outputs, as they are known.
        outputs_after: what they would be.
    """

    changes: Sequence[Change]
    notes: Sequence[str]
    outputs_before: Mapping[str, Any]
    outputs_after: Mapping[str, Any]


@dataclass
class _Events:
    """Collects what the engine reports while it runs."""

    show: Callable[[Change], None]
    changes: list[Change] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    logs: defaultdict[str, deque[str]] = field(
        default_factory=lambda: defaultdict(lambda: deque(maxlen=_LOG_LINES))
    )
    notes: list[str] = field(default_factory=list)
    outputs: tuple[Mapping[str, Any], Mapping[str, Any]] = ({}, {})

    def __call__(self, event: EngineEvent) -> None:
        if event.diagnostic_event:
            self._diagnostic(event.diagnostic_event)
        if event.resource_pre_event:
            self._step(event.resource_pre_event.metadata)
        if event.res_outputs_event and event.res_outputs_event.metadata.type == _STACK_TYPE:
            step = event.res_outputs_event.metadata
            self.outputs = (
                (step.old.outputs or {}) if step.old else {},
                (step.new.outputs or {}) if step.new else {},
            )

    def _step(self, step: StepEventMetadata) -> None:
        # The stack, its components and the providers are nothing that is deployed.
        deployed = step.type.startswith(_DEPLOYED_PACKAGES)
        if not deployed or step.op in _UNCHANGED:
            return
        change = Change.of(step)
        self.changes.append(change)
        self.show(change)

    def failure(self, otherwise: str, *, disk_was_full: bool = False) -> DeploymentError:
        """What went wrong.

        Args:
            otherwise: the error where the engine reported none.
            disk_was_full: the likely reason where no log says so: BuildKit may lose last lines.
        """
        log = [line for name in self.failed for line in self.logs[name]]
        if disk_was_full or disk_full("\n".join([*self.errors, *log])):
            failed = self.failed[0] if self.failed else "The deployment"
            return DeploymentError(f"{failed} failed: the disk is full.", log)
        return DeploymentError("\n".join(self.errors) or otherwise, log)

    def _diagnostic(self, event: DiagnosticEvent) -> None:
        resource = event.urn.rpartition("::")[2] if event.urn else ""
        if event.ephemeral and event.severity == "info" and event.message.strip():
            self.logs[resource].append(event.message.rstrip())
        # What the program itself says belongs to no resource, or to the stack.
        if event.severity == "info" and (not event.urn or f"::{_STACK_TYPE}::" in event.urn):
            self.notes.append(_MARKUP.sub("", event.message).rstrip())
        if event.severity not in ("error", "info#err"):
            return
        if resource and resource not in self.failed:
            self.failed.append(resource)
        for line in _MARKUP.sub("", event.message).splitlines():
            text = line.strip().removeprefix("error: ").removeprefix(_REPEATED)
            if _NOISE.match(text):
                continue
            named = f"{resource}: {text}" if resource and resource not in text else text
            if named not in self.errors:
                self.errors.append(named)


class LocalStack:
    """The local stack.

    Args:
        settings: names the stack and its folders.
        environment: variables of the engine and of the plugins that it starts.
        variables: values of ``${NAME}`` in the stack's configuration.
    """

    def __init__(
        self, settings: Settings, environment: Mapping[str, str], variables: Mapping[str, str]
    ) -> None:
        self._settings = settings
        self._environment = dict(environment)
        self._variables = variables

    @property
    def _project(self) -> Path:
        return self._settings.state / "project"

    @property
    def exists(self) -> bool:
        """Whether the stack was ever brought up, and not taken down since."""
        return (self._project / "Pulumi.yaml").is_file()

    def preview(self, show: Callable[[Change], None] = lambda _: None) -> Preview:
        """What :meth:`up` would do; see there for the arguments and errors."""
        events = self._operate("preview", show)
        return Preview(events.changes, events.notes, *events.outputs)

    def up(self, show: Callable[[Change], None] = lambda _: None) -> Sequence[Change]:
        """Bring the stack to what the program declares.

        Args:
            show: is called with each change as it begins.

        Returns:
            The changes; none when the stack is as declared.

        Raises:
            DeploymentError: the program or a resource failed.
        """
        return self._operate("up", show).changes

    def destroy(self, show: Callable[[Change], None] = lambda _: None) -> Sequence[Change]:
        """Delete every resource; see :meth:`up` for the arguments and errors."""
        return self._operate("destroy", show).changes

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs, from its state.

        Raises:
            DeploymentError: the state can't be read.
        """
        with _working_in(self._project):
            try:
                return {name: each.value for name, each in self._select().outputs().items()}
            except automation.CommandError as error:
                raise DeploymentError(_last_line(error)) from error

    def _operate(self, operation: str, show: Callable[[Change], None]) -> _Events:
        self._write_project()
        events = _Events(show)
        with _working_in(self._project), DiskWatch(self._project) as disk:
            stack = self._select()
            try:
                getattr(stack, operation)(on_event=events, suppress_progress=True)
            except automation.CommandError as error:
                raise events.failure(_last_line(error), disk_was_full=disk.was_full) from error
        return events

    def _select(self) -> automation.Stack:
        return automation.create_or_select_stack(
            stack_name=self._settings.name,
            project_name=_project_name(),
            program=deploy,
            opts=automation.LocalWorkspaceOptions(
                work_dir=str(self._project), env_vars=self._environment
            ),
        )

    def _write_project(self) -> None:
        """Write the engine's copies of the configuration, and keep what it had added."""
        self._project.mkdir(parents=True, exist_ok=True)
        # Without a program of its own: the program runs in this process.
        project = {"name": _project_name(), "runtime": "python"}
        (self._project / "Pulumi.yaml").write_text(yaml.safe_dump(project))
        file = self._project / f"Pulumi.{self._settings.name}.yaml"
        added = {
            key: value
            for key, value in (yaml.safe_load(file.read_text()) if file.exists() else {}).items()
            if key != "config"
        }
        configuration = yaml.safe_load(self._substituted(CONFIGURATION.read_text()))
        file.write_text(yaml.safe_dump({**configuration, **added}, sort_keys=False))

    def _substituted(self, text: str) -> str:
        for name, value in self._variables.items():
            text = text.replace(f"${{{name}}}", value)
        return text


def region() -> str:
    """Where the stack would be in Azure."""
    return str(yaml.safe_load(CONFIGURATION.read_text())["config"][REGION_KEY])


def _project_name() -> str:
    return str(yaml.safe_load((REPOSITORY / "Pulumi.yaml").read_text())["name"])


def _last_line(error: automation.CommandError) -> str:
    lines = [line for line in _MARKUP.sub("", str(error)).splitlines() if line.strip()]
    return lines[-1].strip()


@contextlib.contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    # The program names build contexts by paths relative to where it runs, and so does the engine.
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
