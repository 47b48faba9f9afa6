"""The provider protocol: what the engine asks and is answered."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import Any, NoReturn, cast
from unittest import mock

import grpc
import pytest
import requests
from azure.core.exceptions import ServiceRequestError
from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import provider_pb2
from pulumi.runtime.rpc import UNKNOWN, wrap_rpc_secret

from local.azure.identity import MANAGEMENT_AUDIENCES, TokenAuthority
from local.plugin.bodies import LocalServices
from local.plugin.ids import SUBSCRIPTION_ID
from local.plugin.servicer import Provider
from local.plugin.values import from_struct, to_struct
from tests.unit.local.fake_docker import FakeDocker
from tests.unit.local.plugin.conftest import IMAGE
from tests.unit.local.plugin.fake_storage import FakeStorage

GROUP = "resources:ResourceGroup"
CONTAINERS = "containerinstance:ContainerGroup"
APP = "web:WebApp"
ID = f"/subscriptions/{SUBSCRIPTION_ID}/resourceGroups/pipelines"
CONTAINERS_ID = f"{ID}/providers/Microsoft.ContainerInstance/containerGroups/weather"


class AbortedError(Exception):
    """What the engine would be told of a failure."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class Context:
    def abort(self, code: grpc.StatusCode, text: str) -> NoReturn:
        raise AbortedError(code, text)


CONTEXT = cast(grpc.ServicerContext, Context())


class Engine:
    """Asks as the engine does, with plain values."""

    def __init__(self, services: LocalServices) -> None:
        self.provider = Provider(services)

    def configure(self, **variables: str) -> None:
        names = {f"azure-native:config:{name}": value for name, value in variables.items()}
        self.provider.Configure(provider_pb2.ConfigureRequest(variables=names), CONTEXT)

    def check(
        self, kind: str, news: Mapping[str, Any], olds: Mapping[str, Any] | None = None, **more: Any
    ) -> tuple[dict[str, Any], list[str]]:
        request = provider_pb2.CheckRequest(
            type=f"azure-native:{kind}",
            name="logical",
            news=to_struct(news),
            olds=to_struct(olds or {}),
            randomSeed=b"seed",
            **more,
        )
        answer = self.provider.Check(request, CONTEXT)
        # The engine prints the value of a property that is named apart, be it a secret or not.
        assert not any(failure.property for failure in answer.failures)
        return from_struct(answer.inputs), [failure.reason for failure in answer.failures]

    def create(
        self, kind: str, inputs: Mapping[str, Any], *, preview: bool = False
    ) -> tuple[str, dict[str, Any]]:
        request = provider_pb2.CreateRequest(
            type=f"azure-native:{kind}",
            name="logical",
            properties=to_struct(inputs),
            preview=preview,
        )
        answer = self.provider.Create(request, CONTEXT)
        return answer.id, from_struct(answer.properties)

    def update(
        self,
        kind: str,
        identifier: str,
        inputs: tuple[Mapping[str, Any], Mapping[str, Any]],
        *,
        preview: bool = False,
    ) -> dict[str, Any]:
        request = provider_pb2.UpdateRequest(
            type=f"azure-native:{kind}",
            id=identifier,
            old_inputs=to_struct(inputs[0]),
            news=to_struct(inputs[1]),
            preview=preview,
        )
        return from_struct(self.provider.Update(request, CONTEXT).properties)

    def read(self, kind: str, identifier: str, inputs: Mapping[str, Any]) -> Any:
        request = provider_pb2.ReadRequest(
            type=f"azure-native:{kind}",
            id=identifier,
            inputs=to_struct(inputs),
            properties=to_struct({**inputs, "name": "state"}),
        )
        return self.provider.Read(request, CONTEXT)

    def delete(self, kind: str, identifier: str, inputs: Mapping[str, Any]) -> None:
        request = provider_pb2.DeleteRequest(
            type=f"azure-native:{kind}", id=identifier, old_inputs=to_struct(inputs)
        )
        self.provider.Delete(request, CONTEXT)

    def invoke(self, token: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        request = provider_pb2.InvokeRequest(tok=token, args=to_struct(arguments))
        return from_struct(getattr(self.provider.Invoke(request, CONTEXT), "return"))


@pytest.fixture
def engine(services: LocalServices) -> Engine:
    return Engine(services)


def container_group(**changes: Any) -> dict[str, Any]:
    return {
        "resourceGroupName": "pipelines",
        "containerGroupName": "weather",
        "osType": "Linux",
        "restartPolicy": "Never",
        "tags": {"a": "1"},
        "containers": [
            {
                "name": "weather",
                "image": IMAGE,
                "resources": {"requests": {"cpu": 1, "memoryInGB": 1}},
            }
        ],
        **changes,
    }


def app(**changes: Any) -> dict[str, Any]:
    return {
        "resourceGroupName": "pipelines",
        "name": "scheduler",
        "siteConfig": {
            "linuxFxVersion": f"DOCKER|{IMAGE}",
            "appSettings": [{"name": "A", "value": "1"}, {"name": "B"}],
        },
        **changes,
    }


class TestPlugin:
    def test_it_keeps_secrets_and_previews(self, engine: Engine) -> None:
        handshake = engine.provider.Handshake(provider_pb2.ProviderHandshakeRequest(), CONTEXT)
        assert (handshake.accept_secrets, handshake.accept_outputs) == (True, False)
        assert handshake.supports_autonaming_configuration
        configured = engine.provider.Configure(provider_pb2.ConfigureRequest(), CONTEXT)
        assert (configured.acceptSecrets, configured.supportsPreview) == (True, True)

    def test_its_version_is_that_of_the_installed_package(self, engine: Engine) -> None:
        version = engine.provider.GetPluginInfo(Empty(), CONTEXT).version
        assert version == importlib.metadata.version("pulumi_azure_native")

    def test_its_configuration_is_taken_as_it_is(self, engine: Engine) -> None:
        news = to_struct({"location": "westeurope"})
        answer = engine.provider.CheckConfig(provider_pb2.CheckRequest(news=news), CONTEXT)
        assert answer.inputs == news
        difference = engine.provider.DiffConfig(provider_pb2.DiffRequest(), CONTEXT)
        assert difference.changes == provider_pb2.DiffResponse.DIFF_UNKNOWN


class TestCheck:
    def test_a_failure_names_its_property(self, engine: Engine) -> None:
        _, failures = engine.check(CONTAINERS, container_group(restartPolicy="never"))
        assert failures == [
            'restartPolicy is "never"; allowed is one of "Always", "OnFailure", "Never"'
        ]

    def test_a_name_of_the_plugin_s_is_checked_as_well(self, engine: Engine) -> None:
        group = {"resourceGroupName": "pipelines", "accountName": "lake"}
        inputs, failures = engine.check(
            "storage:ManagementPolicy", {**group, "policy": {"rules": []}}
        )
        assert inputs["managementPolicyName"] == "logical"
        assert failures == ['managementPolicyName is "logical"; allowed is "default"']

    def test_a_stack_without_automatic_names_has_to_name_everything(self, engine: Engine) -> None:
        disable = provider_pb2.CheckRequest.AutonamingOptions(
            mode=provider_pb2.CheckRequest.AutonamingOptions.DISABLE
        )
        _, failures = engine.check(GROUP, {"location": "westeurope"}, autonaming=disable)
        assert failures == ["resourceGroupName is missing, and it is required"]

    def test_a_proposed_name_is_taken(self, engine: Engine) -> None:
        propose = provider_pb2.CheckRequest.AutonamingOptions(
            proposed_name="proposed", mode=provider_pb2.CheckRequest.AutonamingOptions.PROPOSE
        )
        inputs, _ = engine.check(GROUP, {"location": "westeurope"}, autonaming=propose)
        assert inputs["resourceGroupName"] == "proposed"

    def test_names_are_stable(self, engine: Engine) -> None:
        first, _ = engine.check(GROUP, {"location": "westeurope"})
        assert first == engine.check(GROUP, {"location": "westeurope"})[0]
        assert (
            first
            == engine.check(
                GROUP,
                {"location": "westeurope"},
                first,
            )[0]
        )

    def test_what_the_plugin_added_to_the_inputs_is_no_failure(self, engine: Engine) -> None:
        first, _ = engine.check(GROUP, {"location": "westeurope"})
        assert "__createBeforeDelete" in first
        assert engine.check(GROUP, first, first)[1] == []

    def test_secrets_stay_wrapped(self, engine: Engine) -> None:
        tags = {"a": wrap_rpc_secret("s3cret")}
        inputs, failures = engine.check(CONTAINERS, container_group(tags=tags))
        assert (inputs["tags"], failures) == (tags, [])

    def test_an_unknown_type(self, engine: Engine) -> None:
        with pytest.raises(AbortedError, match="azure-native:storage:Tabel") as caught:
            engine.check("storage:Tabel", {})
        assert caught.value.code is grpc.StatusCode.NOT_FOUND


class TestLocation:
    def test_it_is_the_group_s(self, engine: Engine) -> None:
        engine.check(GROUP, {"resourceGroupName": "Pipelines", "location": "westeurope"})
        inputs, _ = engine.check(CONTAINERS, container_group())
        assert inputs["location"] == "westeurope"

    def test_it_is_unknown_with_the_group(self, engine: Engine) -> None:
        inputs, failures = engine.check(CONTAINERS, container_group(resourceGroupName=UNKNOWN))
        assert (inputs["location"], failures) == (UNKNOWN, [])

    def test_it_is_the_configured_one_before_the_group_s(self, engine: Engine) -> None:
        engine.configure(location="northeurope")
        engine.check(GROUP, {"resourceGroupName": "pipelines", "location": "westeurope"})
        inputs, _ = engine.check(CONTAINERS, container_group())
        assert inputs["location"] == "northeurope"

    def test_a_resource_stays_where_it_is_when_the_configuration_changes(
        self, engine: Engine
    ) -> None:
        engine.configure(location="northeurope")
        olds = container_group(location="westeurope")
        assert engine.check(CONTAINERS, container_group(), olds)[0]["location"] == "westeurope"

    def test_a_program_s_own_is_kept(self, engine: Engine) -> None:
        engine.configure(location="northeurope")
        inputs, _ = engine.check(CONTAINERS, container_group(location="uksouth"))
        assert inputs["location"] == "uksouth"

    def test_a_group_needs_one(self, engine: Engine) -> None:
        assert engine.check(GROUP, {})[1] == [
            "location is missing; set it or the stack's config azure-native:location"
        ]

    def test_a_type_without_one_gets_none(self, engine: Engine) -> None:
        engine.configure(location="northeurope")
        inputs, _ = engine.check("storage:Table", {"accountName": "a", "resourceGroupName": "g"})
        assert "location" not in inputs


class TestDiff:
    def diff(self, engine: Engine, old: Mapping[str, Any], new: Mapping[str, Any]) -> Any:
        request = provider_pb2.DiffRequest(
            type=f"azure-native:{CONTAINERS}", old_inputs=to_struct(old), news=to_struct(new)
        )
        return engine.provider.Diff(request, CONTEXT)

    def test_no_change(self, engine: Engine) -> None:
        answer = self.diff(engine, container_group(), container_group())
        assert answer.changes == provider_pb2.DiffResponse.DIFF_NONE
        assert not answer.detailedDiff

    def test_an_update_has_its_paths(self, engine: Engine) -> None:
        new = container_group(tags={"a": "2", "b": "1"})
        answer = self.diff(engine, container_group(), new)
        kinds = provider_pb2.PropertyDiff
        assert {path: one.kind for path, one in answer.detailedDiff.items()} == {
            "tags.a": kinds.UPDATE,
            "tags.b": kinds.ADD,
        }
        assert all(one.inputDiff for one in answer.detailedDiff.values())
        assert answer.hasDetailedDiff
        assert answer.changes == provider_pb2.DiffResponse.DIFF_SOME
        assert (list(answer.replaces), list(answer.diffs)) == ([], ["tags"])

    def test_a_replacement(self, engine: Engine) -> None:
        answer = self.diff(engine, container_group(), container_group(containerGroupName="other"))
        assert list(answer.replaces) == ["containerGroupName"]
        kind = answer.detailedDiff["containerGroupName"].kind
        assert kind == provider_pb2.PropertyDiff.UPDATE_REPLACE
        assert answer.deleteBeforeReplace


class TestStored:
    inputs: Mapping[str, Any] = {"resourceGroupName": "pipelines", "workspaceName": "logs"}
    kind = "operationalinsights:Workspace"

    def test_a_preview_knows_the_inputs_and_nothing_else(self, engine: Engine) -> None:
        identifier, outputs = engine.create(self.kind, self.inputs, preview=True)
        assert (identifier, outputs["workspaceName"]) == ("", "logs")
        assert outputs["customerId"] == UNKNOWN

    def test_it_has_an_id_and_outputs_of_which_a_change_keeps_what_it_does_not_touch(
        self, engine: Engine
    ) -> None:
        identifier, outputs = engine.create(self.kind, self.inputs)
        assert identifier == f"{ID}/providers/Microsoft.OperationalInsights/workspaces/logs"
        changed = {**self.inputs, "tags": {"a": UNKNOWN}}
        assert engine.update(self.kind, identifier, (self.inputs, changed), preview=True) == {
            **outputs,
            "tags": {"a": UNKNOWN},
        }

    def test_the_subscription_is_configurable(self, engine: Engine) -> None:
        engine.configure(subscriptionId="mine")
        assert engine.create(self.kind, self.inputs)[0].startswith("/subscriptions/mine/")

    def test_what_comes_from_a_secret_is_one_in_the_state(self, engine: Engine) -> None:
        inputs = {
            "resourceGroupName": "pipelines",
            "vaultName": "secrets",
            "properties": wrap_rpc_secret({"tenantId": "t"}),
        }
        _, outputs = engine.create("keyvault:Vault", inputs)
        assert outputs["properties"] == wrap_rpc_secret(
            {"tenantId": "t", "vaultUri": "https://host.docker.internal:15000/vaults/secrets/"}
        )

    def test_it_is_always_there(self, engine: Engine) -> None:
        identifier, _ = engine.create(self.kind, self.inputs)
        answer = engine.read(self.kind, identifier, self.inputs)
        assert answer.id == identifier
        assert from_struct(answer.properties) == {**self.inputs, "name": "state"}
        engine.delete(self.kind, identifier, self.inputs)

    def test_what_no_program_declared_can_not_be_imported(self, engine: Engine) -> None:
        with pytest.raises(AbortedError, match="can't be looked up") as caught:
            engine.read(self.kind, "/subscriptions/x", {})
        assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION


class TestContainerGroup:
    def test_it_runs_until_it_is_deleted(self, engine: Engine, daemon: FakeDocker) -> None:
        identifier, _ = engine.create(CONTAINERS, container_group())
        assert identifier == CONTAINERS_ID
        assert daemon.only().status == "running"
        assert engine.read(CONTAINERS, identifier, container_group()).id == identifier
        engine.delete(CONTAINERS, identifier, container_group())
        assert not daemon.by_name
        assert engine.read(CONTAINERS, identifier, container_group()).id == ""

    def test_a_preview_starts_nothing(self, engine: Engine, daemon: FakeDocker) -> None:
        engine.create(CONTAINERS, container_group(), preview=True)
        assert not daemon.by_name

    def test_an_update_while_it_runs_starts_it_anew(
        self, engine: Engine, daemon: FakeDocker
    ) -> None:
        identifier, _ = engine.create(CONTAINERS, container_group())
        daemon.calls.clear()
        changed = container_group(tags={"a": "2"})
        engine.update(CONTAINERS, identifier, (container_group(), changed), preview=True)
        assert daemon.calls == []
        engine.update(CONTAINERS, identifier, (container_group(), changed))
        assert daemon.calls == ["remove unit.weather.weather", "start unit.weather.weather"]

    def test_an_ended_one_is_not_updated(self, engine: Engine, daemon: FakeDocker) -> None:
        identifier, _ = engine.create(CONTAINERS, container_group())
        daemon.only().end()
        daemon.calls.clear()
        changed = container_group(tags={"a": "2"})
        with pytest.raises(AbortedError) as caught:
            engine.update(CONTAINERS, identifier, (container_group(), changed))
        assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION
        assert str(caught.value) == (
            'The container group "weather" is terminated, and Azure does not update a terminated '
            "group (tags.a changed); name these properties in replace_on_changes and set "
            "delete_before_replace, so that the group is replaced."
        )
        assert daemon.calls == []

    @pytest.mark.parametrize(
        ("changes", "path"),
        [
            ({"osType": "Windows"}, "osType"),
            ({"restartPolicy": "Always"}, "restartPolicy"),
            ({"zones": ["1"]}, "zones"),
            ({"subnetIds": [{"id": "s"}]}, "subnetIds"),
            (
                {
                    "containers": [
                        {
                            "name": "weather",
                            "image": IMAGE,
                            "resources": {"requests": {"cpu": 2, "memoryInGB": 1}},
                        }
                    ]
                },
                "containers[0].resources.requests.cpu",
            ),
        ],
    )
    def test_what_azure_changes_in_a_new_group_alone(
        self, engine: Engine, daemon: FakeDocker, changes: dict[str, Any], path: str
    ) -> None:
        identifier, _ = engine.create(CONTAINERS, container_group())
        daemon.calls.clear()
        with pytest.raises(AbortedError) as caught:
            engine.update(CONTAINERS, identifier, (container_group(), container_group(**changes)))
        assert str(caught.value).startswith(
            f'Azure does not change {path} of the container group "weather" once it exists; name '
        )
        assert daemon.calls == []

    def test_one_that_somebody_removed_is_to_be_refreshed(self, engine: Engine) -> None:
        changed = container_group(tags={"a": "2"})
        with pytest.raises(AbortedError, match="Run `pulumi refresh` first"):
            engine.update(CONTAINERS, CONTAINERS_ID, (container_group(), changed))

    def test_a_secret_reaches_the_container_and_stays_one_in_the_state(
        self, engine: Engine, daemon: FakeDocker
    ) -> None:
        inputs = container_group()
        variable = {"name": "KEY", "secureValue": wrap_rpc_secret("s3cret")}
        inputs["containers"][0]["environmentVariables"] = [variable]
        _, outputs = engine.create(CONTAINERS, inputs)
        assert daemon.only().options["environment"]["KEY"] == "s3cret"
        assert outputs["containers"][0]["environmentVariables"] == [variable]


class TestApp:
    def test_it_runs_its_image_with_its_settings(self, engine: Engine, daemon: FakeDocker) -> None:
        identifier, outputs = engine.create(APP, app())
        container = daemon.only()
        assert container.image == IMAGE
        assert container.options["restart_policy"] == {"Name": "unless-stopped"}
        environment = container.options["environment"]
        assert (environment["A"], environment["B"]) == ("1", "")
        assert outputs["defaultHostName"] == "scheduler.azurewebsites.net"
        assert engine.read(APP, identifier, app()).id == identifier
        engine.delete(APP, identifier, app())
        assert engine.read(APP, identifier, app()).id == ""

    @pytest.mark.parametrize(
        ("changes", "restarts"),
        [
            ({"tags": {"a": "1"}}, False),
            ({"siteConfig": {"linuxFxVersion": f"DOCKER|{IMAGE}"}}, True),
        ],
    )
    def test_only_its_settings_and_image_start_it_anew(
        self, engine: Engine, daemon: FakeDocker, changes: dict[str, Any], restarts: bool
    ) -> None:
        identifier, _ = engine.create(APP, app())
        daemon.calls.clear()
        engine.update(APP, identifier, (app(), app(**changes)))
        assert bool(daemon.calls) is restarts


class TestStorage:
    @pytest.mark.parametrize(
        ("kind", "name"),
        [("storage:BlobContainer", "containerName"), ("storage:Table", "tableName")],
    )
    def test_a_part_of_an_account_is_made_and_deleted(
        self, engine: Engine, storage: FakeStorage, kind: str, name: str
    ) -> None:
        inputs = {"resourceGroupName": "pipelines", "accountName": "lake", name: "runs"}
        identifier, _ = engine.create(kind, inputs)
        made = storage.file_systems if name == "containerName" else storage.tables
        assert made == {("lake", "runs")}
        assert engine.read(kind, identifier, inputs).id == identifier
        engine.delete(kind, identifier, inputs)
        assert not made
        assert engine.read(kind, identifier, inputs).id == ""


class TestInvoke:
    def test_who_deploys(self, engine: Engine) -> None:
        answer = engine.invoke("azure-native:authorization:getClientConfig", {})
        assert answer["subscriptionId"] == SUBSCRIPTION_ID
        assert answer.keys() == {"clientId", "objectId", "subscriptionId", "tenantId"}

    @pytest.mark.parametrize(
        ("arguments", "audience"),
        [({}, MANAGEMENT_AUDIENCES[0]), ({"endpoint": "https://vault"}, "https://vault")],
    )
    def test_a_token_of_who_deploys(
        self, engine: Engine, services: LocalServices, arguments: dict[str, str], audience: str
    ) -> None:
        client = engine.invoke("azure-native:authorization:getClientConfig", {})
        answer = engine.invoke("azure-native:authorization:getClientToken", arguments)
        principal = TokenAuthority.of(services.settings).verify(answer["token"], [audience])
        assert (principal.client_id, principal.audience) == (client["clientId"], audience)

    def test_the_keys_of_a_workspace(self, engine: Engine) -> None:
        arguments = {"resourceGroupName": "pipelines", "workspaceName": "logs"}
        answer = engine.invoke("azure-native:operationalinsights:getSharedKeys", arguments)
        assert answer.keys() == {"primarySharedKey", "secondarySharedKey"}

    def test_another_function_is_named_with_those_that_there_are(self, engine: Engine) -> None:
        with pytest.raises(
            AbortedError, match=r"listKeys.*getClientConfig, .*getSharedKeys"
        ) as caught:
            engine.invoke("azure-native:storage:listKeys", {})
        assert caught.value.code is grpc.StatusCode.NOT_FOUND


UNAVAILABLE = "A service of the local stack failed ({}); `make up` starts what does not run."
BROKEN = "The local azure-native plugin failed in Create: {}."


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (
            ServiceRequestError("Connection refused.\nmore"),
            grpc.StatusCode.UNAVAILABLE,
            UNAVAILABLE.format("Connection refused"),
        ),
        (
            requests.ConnectionError("refused"),
            grpc.StatusCode.UNAVAILABLE,
            UNAVAILABLE.format("refused"),
        ),
        (OSError(), grpc.StatusCode.UNAVAILABLE, UNAVAILABLE.format("OSError")),
        (KeyError("bug"), grpc.StatusCode.INTERNAL, BROKEN.format("KeyError('bug')")),
    ],
)
def test_every_failure_reaches_the_engine_as_one_sentence(
    services: LocalServices, error: Exception, code: grpc.StatusCode, text: str
) -> None:
    inputs = {"resourceGroupName": "pipelines", "accountName": "lake", "tableName": "runs"}
    with (
        mock.patch.object(services.storage, "create_table", side_effect=error),
        pytest.raises(AbortedError) as caught,
    ):
        Engine(services).create("storage:Table", inputs)
    assert (caught.value.code, str(caught.value)) == (code, text)
