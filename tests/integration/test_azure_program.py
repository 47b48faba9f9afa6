"""The program for Azure under the real engine: previewed with nothing known, deployed, kept."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pulumi
import pytest
import requests

from infra import images, sign_in
from local import tools
from local.machine import exclusive
from tests.integration.azure.configurations import CONFIGURATIONS
from tests.integration.azure.offline import ReachedOutError, offline
from tests.integration.azure.program import SETTINGS, AzureProgram, Request

_UNRESOLVED = re.compile(r"Output\[|__str__ on an Output|<pulumi\.| object at 0x")
"""What Python writes of an output that somebody took for its value."""


@dataclass(frozen=True)
class Run:
    """What the engine did with one configuration.

    Args:
        previewed: resources by operation, in the preview of a stack that does not exist.
        deployed: the same in its first deployment.
        repeated: the same in the second.
        said: all that the engine printed and reported, and its state.
        signed_in: the registries that Docker was signed in to.
        requests: what would have been sent to Azure.
    """

    previewed: dict[str, int]
    deployed: dict[str, int]
    repeated: dict[str, int]
    said: str
    signed_in: list[tuple[str, str]]
    requests: list[Request]


@pytest.fixture(scope="session")
def toolchain() -> None:
    """Pulumi and its image provider, set up as for a local stack."""
    with exclusive():
        tools.ensure_pulumi(SETTINGS)
        tools.ensure_docker_build(SETTINGS)


@pytest.fixture(scope="session", params=CONFIGURATIONS)
def run(
    request: pytest.FixtureRequest, toolchain: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Run]:
    """Each configuration previewed and deployed twice, without a connection to anything."""
    stack, config = CONFIGURATIONS[request.param]
    signed_in: list[tuple[str, str]] = []
    with pytest.MonkeyPatch.context() as patch, offline() as proxy:
        patch.setattr(sign_in, "sign_in", lambda *arguments: signed_in.append(arguments))
        patch.setattr(images, "STAGING", tmp_path_factory.mktemp("staging"))
        program = AzureProgram(tmp_path_factory.mktemp("stack"), stack, config, proxy)
        previewed = program.preview_program()
        assert not signed_in
        assert not list(program.requests())
        said = [_said(program)]
        deployed = program.deploy()
        said.append(_said(program))
        repeated = program.deploy()
        said += [_said(program), json.dumps(program.state())]
        yield Run(
            previewed, deployed, repeated, "\n".join(said), signed_in, list(program.requests())
        )


def _said(program: AzureProgram) -> str:
    return program.text + json.dumps(program.events, default=vars)


def test_a_preview_announces_what_the_deployment_then_makes(run: Run) -> None:
    assert set(run.previewed) == {"create"}
    assert run.deployed == run.previewed


def test_a_second_deployment_changes_nothing(run: Run) -> None:
    assert run.repeated == {"same": run.deployed["create"]}
    assert {each.method for each in run.requests} == {"create"}


def test_no_output_is_taken_for_its_value(run: Run) -> None:
    assert not _UNRESOLVED.search(run.said)
    assert not any(_UNRESOLVED.search(json.dumps(each.inputs)) for each in run.requests)


def test_an_output_taken_for_its_value_would_be_seen() -> None:
    # Made without a loop of events, which this one would never need.
    output = object.__new__(pulumi.Output)
    assert _UNRESOLVED.search(f"{output}")
    assert _UNRESOLVED.search(f"{output!r}")


def test_docker_is_signed_in_to_the_new_registry_alone(run: Run) -> None:
    (registry,) = {server for server, _ in run.signed_in}
    assert re.fullmatch(r"registry[0-9a-f]{8}\.azurecr\.io", registry)
    assert {token for _, token in run.signed_in} == {"token for https://management.azure.com/"}


def test_reaching_out_would_be_seen() -> None:
    with pytest.raises(ReachedOutError, match=r"reach 192\.0\.2\.1"), offline():
        socket.create_connection(("192.0.2.1", 443), timeout=1)
    with pytest.raises(ReachedOutError, match=r"reach example\.com"), offline():
        socket.getaddrinfo("example.com", 443)
    with (
        pytest.raises(ReachedOutError, match=r"CONNECT example\.com:443"),
        offline() as proxy,
        contextlib.suppress(requests.RequestException),
    ):
        requests.get("https://example.com", proxies={"https": proxy}, timeout=1)
