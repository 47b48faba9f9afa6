"""Pulumi's own protection of what holds data."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.infra.engine import run_program

HOLDS_DATA = {
    "azure-native:keyvault:Vault",
    "azure-native:resources:ResourceGroup",
    "azure-native:storage:BlobContainer",
    "azure-native:storage:StorageAccount",
    "azure-native:storage:Table",
}


@pytest.mark.parametrize("protected", [True, False])
def test_exactly_what_holds_data_is_protected_unless_the_stack_says_otherwise(
    config: dict[str, Any], protected: bool
) -> None:
    config["pipelines:extractors"]["weather"]["secrets"] = {"KEY": "key"}
    declared = run_program({**config, "pipelines:protected": protected}).declared
    assert {each.type for each in declared} > HOLDS_DATA
    assert {each.type for each in declared if each.protect} == (HOLDS_DATA if protected else set())
    assert all(each.protect == protected for each in declared if each.type in HOLDS_DATA)
