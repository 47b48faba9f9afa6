"""Which former names of a type a resource keeps."""

from __future__ import annotations

import pulumi

from infra.aliases import _without_versions


def resource(*types: str) -> pulumi.ResourceTransformationArgs:
    options = pulumi.ResourceOptions(aliases=[pulumi.Alias(type_=each) for each in types])
    component = object.__new__(pulumi.ComponentResource)
    return pulumi.ResourceTransformationArgs(
        component, "azure-native:monitor:Component", "n", {}, options
    )


def types(result: pulumi.ResourceTransformationResult) -> list[object]:
    return [each.type_ for each in result.opts.aliases or [] if isinstance(each, pulumi.Alias)]


def test_names_with_an_api_version_go_and_those_of_another_module_stay() -> None:
    given = resource(
        "azure-native:insights:Component",
        "azure-native:insights/v20200202:Component",
        "azure-native:monitor/v20200202preview:Component",
    )
    assert types(_without_versions(given)) == ["azure-native:insights:Component"]


def test_what_else_a_program_names_stays() -> None:
    given = resource()
    given.opts.aliases = ["urn:pulumi:dev::pipelines::azure-native:web/v1:Site::a"]
    assert _without_versions(given).opts.aliases == given.opts.aliases


def test_a_resource_without_aliases_passes() -> None:
    given = resource()
    given.opts.aliases = None
    assert _without_versions(given).opts.aliases is None
