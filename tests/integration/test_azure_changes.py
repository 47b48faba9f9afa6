"""What a change of the configuration or the source replaces, updates and keeps, says the engine."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.azure.configurations import Config, committed
from tests.integration.azure.documents import changes_table, compare
from tests.integration.azure.offline import offline
from tests.integration.azure.program import AzureProgram, Step, copies_of_weather
from tests.integration.pulumi_engine import EngineError

HOLDS_DATA = {
    "keyvault:Vault",
    "resources:ResourceGroup",
    "storage:BlobContainer",
    "storage:StorageAccount",
    "storage:Table",
}


@dataclass(frozen=True)
class Deployed:
    """A stack with the extractors ``weather`` and ``rivers``, the one with a secret.

    Args:
        program: the stack.
        config: its configuration.
        extractors: the folder of the extractors' sources.
    """

    program: AzureProgram
    config: Config
    extractors: Path

    def preview(self, change: Change) -> list[Step] | None:
        """What the engine would do; ``None`` where it refuses to, for what is protected."""
        config = copy.deepcopy(self.config)
        edited = change(config, self.extractors) or []
        before = [(path, path.read_text()) for path in edited]
        try:
            for path, text in before:
                path.write_text(f"{text}\n# One more line.\n")
            self.program.set_config(config)
            self.program.preview_program()
        except EngineError as error:
            if "protect" not in str(error):
                raise
            return None
        finally:
            for path, text in before:
                path.write_text(text)
        return self.program.planned()


Change = Callable[[Config, Path], list[Path] | None]
"""Changes a configuration, and returns the files to which a line is added."""


def extractor(**changes: Any) -> Change:
    def change(config: Config, _: Path) -> None:
        config["pipelines:extractors"]["weather"] |= changes

    return change


def setting(key: str, value: Any) -> Change:
    def change(config: Config, _: Path) -> None:
        config[key] = value

    return change


def line(*files: str) -> Change:
    return lambda _, extractors: [extractors / file for file in files]


def renamed(config: Config, _: Path) -> None:
    extractors = config["pipelines:extractors"]
    extractors["climate"] = extractors.pop("weather")


def added(config: Config, _: Path) -> None:
    config["pipelines:extractors"]["climate"] = config["pipelines:extractors"]["weather"]


def removed(config: Config, _: Path) -> None:
    del config["pipelines:extractors"]["weather"]


def without_secrets(config: Config, _: Path) -> None:
    for each in config["pipelines:extractors"].values():
        each["secrets"] = {}


def nothing(_: Config, __: Path) -> None:
    pass


CHANGES: dict[str, Change] = {
    "nothing": nothing,
    "a job's schedule": extractor(schedule="0 7 * * *"),
    "a job's time zone": extractor(timeZone="Asia/Tokyo"),
    "a job's cpu": extractor(cpu=2),
    "a job's environment": extractor(environment={"RESOLUTION": "hourly"}),
    "a secret more for a job": extractor(secrets={"API_KEY": "weather-key", "TOKEN": "token"}),
    "the last secret, which goes": without_secrets,
    "a line of an extractor's source": line("weather/application/dataextractor.py"),
    "a line of what all extractors share": line("runtime/window.py"),
    "a job's name, and its folder's": renamed,
    "an extractor more": added,
    "an extractor less": removed,
    "`tags`": setting("pipelines:tags", {"owner": "data"}),
    "`network.isolated`": setting("pipelines:network", {"isolated": True}),
    "`scheduler.host`": setting("pipelines:scheduler", {"host": "container"}),
    "`lake.fileSystem`": setting("pipelines:lake", {"fileSystem": "bronze"}),
    "the region": setting("azure-native:location", "northeurope"),
}

REFUSED = {"`lake.fileSystem`", "the last secret, which goes"}


@pytest.fixture(scope="session")
def deployed(toolchain: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    folder = tmp_path_factory.mktemp("changes")
    config = committed("dev")
    weather = config["pipelines:extractors"]["weather"]
    weather["secrets"] = {"API_KEY": "weather-key"}
    config["pipelines:extractors"]["rivers"] = dict(weather)
    sources = folder / "sources"
    (folder / "stack").mkdir()
    with copies_of_weather(sources, ("weather", "rivers", "climate")), offline() as proxy:
        program = AzureProgram(folder / "stack", "dev", config, proxy)
        program.deploy()
        yield Deployed(program, config, sources / "extractor")


@pytest.fixture(scope="session")
def plans(deployed: Deployed) -> dict[str, list[Step] | None]:
    """What the engine would do for each change, all from the same state."""
    return {name: deployed.preview(change) for name, change in CHANGES.items()}


Plans = dict[str, list[Step] | None]


def touched(plans: Plans, change: str) -> dict[str, set[str]]:
    """Names of the resources by operation, of which each has its kind before it."""
    steps = plans[change]
    assert steps is not None
    operations = {step.operation for step in steps} - {"same"}
    return {
        operation: {f"{step.kind} {step.name}" for step in steps if step.operation == operation}
        for operation in operations
    }


def test_data_is_never_replaced_or_deleted(plans: Plans) -> None:
    for name, steps in plans.items():
        for step in steps or ():
            harmless = step.operation in ("same", "update", "create")
            assert harmless or step.kind not in HOLDS_DATA, f"{name}: {step}"
    assert {name for name, steps in plans.items() if steps is None} == REFUSED


def test_nothing_changes_without_a_change(plans: Plans) -> None:
    assert touched(plans, "nothing") == {}


@pytest.mark.parametrize("change", ["a job's schedule", "a job's time zone"])
def test_when_a_job_runs_is_a_setting_of_the_scheduler(plans: Plans, change: str) -> None:
    assert touched(plans, change) == {"update": {"web:WebApp scheduler"}}


def test_what_a_container_gets_replaces_its_group_alone(plans: Plans) -> None:
    group = {"containerinstance:ContainerGroup weather"}
    assert touched(plans, "a job's environment") == {"replace": group}
    # The scheduler works out what a run costs.
    assert touched(plans, "a job's cpu") == {"replace": group, "update": {"web:WebApp scheduler"}}


def test_what_exists_stays_in_its_region(plans: Plans) -> None:
    assert touched(plans, "the region") == {}


def test_a_secret_more_is_a_role_and_another_group(plans: Plans) -> None:
    assert touched(plans, "a secret more for a job") == {
        "create": {"authorization:RoleAssignment weather-identity-secret-token"},
        "replace": {"containerinstance:ContainerGroup weather"},
    }


def test_a_line_of_source_is_one_image_and_one_group(plans: Plans) -> None:
    assert touched(plans, "a line of an extractor's source") == {
        "update": {"docker-build:Image weather-image"},
        "replace": {"containerinstance:ContainerGroup weather"},
    }


def test_a_line_of_what_is_shared_is_every_image(plans: Plans) -> None:
    changed = touched(plans, "a line of what all extractors share")
    assert changed["replace"] == {
        f"containerinstance:ContainerGroup {name}" for name in ("weather", "rivers")
    }
    assert changed["update"] == {
        "web:WebApp scheduler",
        *(f"docker-build:Image {name}-image" for name in ("weather", "rivers", "scheduler")),
    }


def test_an_extractor_comes_and_goes_without_touching_the_other(plans: Plans) -> None:
    own = {"Image", "ContainerGroup", "UserAssignedIdentity", "RoleAssignment"}
    for change, operations in {
        "an extractor more": {"create"},
        "an extractor less": {"delete"},
        "a job's name, and its folder's": {"create", "delete"},
    }.items():
        changed = touched(plans, change)
        assert changed.pop("update") == {"web:WebApp scheduler"}
        assert set(changed) == operations
        for names in changed.values():
            assert {name.split(" ")[0].rpartition(":")[2] for name in names} == own
            assert not any("rivers" in name for name in names)


def test_a_group_goes_before_its_replacement_comes(deployed: Deployed, plans: Plans) -> None:
    deployed.preview(CHANGES["a job's cpu"])
    operations = [operation for operation, name in deployed.program.steps if name == "weather"]
    assert [each for each in operations if each != "same"] == [
        "delete-replaced",
        "replace",
        "create-replacement",
    ]


def test_the_documented_changes_are_those_that_the_engine_plans(plans: Plans) -> None:
    total = Counter(step.operation for step in plans["nothing"] or ())["same"]
    compare("changes.md", "changes", changes_table(plans, total))
