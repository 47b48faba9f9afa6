"""What the installed package says of a type."""

from __future__ import annotations

import pytest

from local.plugin.errors import NotFoundError
from local.plugin.schema import resource_schema


def test_a_type_with_its_name_its_parents_and_its_outputs() -> None:
    schema = resource_schema("azure-native:storage:Table")
    assert schema.own_name == "tableName"
    assert schema.parents == {"accountName"}
    assert schema.path == {"accountName", "resourceGroupName", "tableName"}
    assert schema.inputs.required == {"accountName", "resourceGroupName"}
    assert schema.inputs.python_names["signedIdentifiers"] == "signed_identifiers"
    assert {"name", "type"} <= schema.outputs.keys()


def test_the_api_version_of_a_type_does_not_matter() -> None:
    versioned = resource_schema("azure-native:storage/v20230101:Table")
    assert versioned.token == "azure-native:storage:Table"


def test_a_type_whose_arguments_are_called_otherwise() -> None:
    # The module has an object type with the name that the resource's arguments would have.
    schema = resource_schema("azure-native:network:Subnet")
    assert schema.own_name == "subnetName"
    assert schema.parents == {"virtualNetworkName"}


def test_a_setting_of_another_resource_has_no_name_of_its_own() -> None:
    schema = resource_schema("azure-native:web:WebAppAuthSettingsV2")
    assert schema.own_name is None
    assert schema.path == {"name", "resourceGroupName"}


@pytest.mark.parametrize("token", ["azure-native:storage:Tabel", "azure-native:storge:Table"])
def test_an_unknown_type_is_named(token: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        resource_schema(token)
    assert str(caught.value) == (
        f'The type "{token}" is not in the installed package pulumi_azure_native.'
    )
