"""What people see of a preview, and what a preview refuses, under the real engine."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from pulumi_azure_native import containerregistry

import infra.__main__ as program
from infra import images, sign_in
from infra.registry import Registry
from local import tools
from local.machine import exclusive
from tests.integration.azure.configurations import committed
from tests.integration.azure.offline import offline
from tests.integration.azure.program import SETTINGS, AzureProgram
from tests.integration.pulumi_engine import EngineError


@pytest.fixture
def prod(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[AzureProgram]:
    """Production as it is in the repository; requests to Azure are noted and not sent."""
    with exclusive():
        tools.ensure_pulumi(SETTINGS)
        tools.ensure_docker_build(SETTINGS)
    monkeypatch.setattr(images, "STAGING", tmp_path_factory.mktemp("staging"))
    monkeypatch.setattr(sign_in, "sign_in", lambda *_: None)
    with offline() as proxy:
        yield AzureProgram(tmp_path_factory.mktemp("stack"), "prod", committed("prod"), proxy)


class CarelessRegistry(Registry):
    """Someone's change: a second registry, with an admin user."""

    def __init__(self, name: str, *arguments: Any, **options: Any) -> None:
        super().__init__(name, *arguments, **options)
        containerregistry.Registry(
            f"{name}-careless",
            # Not known in a preview.
            resource_group_name=self.id,
            sku=containerregistry.SkuArgs(name="Premium"),
            admin_user_enabled=True,
            public_network_access="Disabled",
            tags={"project": "p", "stack": "s", "environment": "prod", "owner": "o"},
        )


def test_a_preview_says_fire_times_costs_and_what_changes_of_a_job(prod: AzureProgram) -> None:
    prod.preview_program()
    assert "The next fire times\n    weather: 0 6 * * * Europe/Amsterdam\n" in prod.text
    assert len(re.findall(r"06:00 \+0[12]:00", prod.text)) == 7
    assert "clocks changed from" in prod.text
    assert re.search(r"In Azure about \d+\.\d\d USD a month, of which", prod.text)

    prod.deploy()
    assert "The next fire times" not in prod.text

    config = committed("prod")
    config["pipelines:extractors"]["weather"] |= {"schedule": "30 2 * * *", "cpu": 2}
    prod.set_config(config)
    prod.preview_program()
    assert re.search(r'~ schedule +: "0 6 \* \* \*" => "30 2 \* \* \*"', prod.text)
    assert re.search(r"\+ cpu +: 2", prod.text)


def test_a_preview_refuses_what_breaks_a_policy_with_one_sentence(
    prod: AzureProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "Registry", CarelessRegistry)
    with pytest.raises(EngineError) as caught:
        prod.preview_program()
    text = str(caught.value)
    assert (
        "registry-careless has adminUserEnabled true; allowed is false: an admin user is one "
        "password for everybody (policy no-admin-user, https://learn.microsoft.com/"
    ) in text
    assert "Traceback" not in text
    assert not list(prod.requests())
