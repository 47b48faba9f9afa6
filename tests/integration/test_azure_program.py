"""The program for Azure under the real engine: previewed with nothing known, deployed, kept."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pulumi
import pytest
import requests

from infra import images, sign_in
from tests.integration.azure.configurations import CONFIGURATIONS
from tests.integration.azure.documents import compare, resources_table
from tests.integration.azure.offline import ReachedOutError, offline
from tests.integration.azure.program import PROJECT, AzureProgram, Request
from tests.integration.azure.requests import APIS, check, url_parameters
from tests.integration.azure.wrong import Wrong, variants

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
        outputs: of the stack.
        signed_in: the registries that Docker was signed in to.
        requests: what would have been sent to Azure.
    """

    previewed: dict[str, int]
    deployed: dict[str, int]
    repeated: dict[str, int]
    said: str
    outputs: Mapping[str, object]
    signed_in: list[tuple[str, str]]
    requests: list[Request]


@pytest.fixture(scope="session")
def runs(toolchain: None, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Run]:
    """Each configuration previewed and deployed twice, when it is first asked for."""
    return functools.cache(lambda name: _run(name, tmp_path_factory))


@pytest.fixture(params=CONFIGURATIONS)
def run(request: pytest.FixtureRequest, runs: Callable[[str], Run]) -> Run:
    return runs(request.param)


def _run(name: str, folders: pytest.TempPathFactory) -> Run:
    """Without a connection to anything outside this machine."""
    stack, config = CONFIGURATIONS[name]
    signed_in: list[tuple[str, str]] = []
    with pytest.MonkeyPatch.context() as patch, offline() as proxy:
        patch.setattr(sign_in, "sign_in", lambda *arguments: signed_in.append(arguments))
        patch.setattr(images, "STAGING", folders.mktemp("staging"))
        program = AzureProgram(folders.mktemp("stack"), stack, config, proxy)
        previewed = program.preview_program()
        assert not signed_in
        assert not list(program.requests())
        said = [_said(program)]
        deployed = program.deploy()
        said.append(_said(program))
        repeated = program.deploy()
        state = program.state()
        said += [_said(program), json.dumps(state)]
    requests = list(program.requests())
    outputs = state[f"{PROJECT}-{stack}"]["outputs"]
    assert isinstance(outputs, dict)
    return Run(previewed, deployed, repeated, "\n".join(said), outputs, signed_in, requests)


def _said(program: AzureProgram) -> str:
    return program.text + json.dumps(program.events, default=vars)


def test_a_preview_announces_what_the_deployment_then_makes(run: Run) -> None:
    assert set(run.previewed) == {"create"}
    assert run.deployed == run.previewed


def test_a_second_deployment_changes_nothing(run: Run) -> None:
    assert run.repeated == {"same": run.deployed["create"]}
    assert {each.method for each in run.requests} == {"create"}


def test_a_stack_with_a_network_says_from_which_address_it_reaches_out(run: Run) -> None:
    addresses = [each for each in run.requests if each.type.endswith(":PublicIPAddress")]
    said = run.outputs.get("outboundAddress")
    assert bool(addresses) == (said is not None)
    assert said is None or str(said).startswith("203.0.113.")


def test_no_output_is_taken_for_its_value(run: Run) -> None:
    assert not _UNRESOLVED.search(run.said)
    assert not any(_UNRESOLVED.search(json.dumps(each.inputs)) for each in run.requests)


def test_an_output_taken_for_its_value_would_be_seen() -> None:
    # Made without a loop of events, which this one would never need.
    output = object.__new__(pulumi.Output)
    assert _UNRESOLVED.search(f"{output}")
    assert _UNRESOLVED.search(f"{output!r}")


def test_every_request_is_as_azure_s_sdk_describes_it(run: Run) -> None:
    checked = [check(request) for request in run.requests]
    assert checked
    assert {each.kind: each.findings.problems for each in checked if each.findings.problems} == {}


def test_what_a_request_refers_to_is_made_by_another(run: Run) -> None:
    text = json.dumps([request.inputs for request in run.requests])
    made = [request.id for request in run.requests]
    own = re.compile(r"/subscriptions/[^/]+/providers/Microsoft\.Authorization/roleDefinitions/")
    referred = set(re.findall(r'"(/subscriptions/[^"]+)"', text))
    assert {
        each
        for each in referred
        # Azure's own roles are there, and secrets are people's to put into the vault.
        if not own.match(each) and each.partition("/secrets/")[0] not in made
    } == set()
    assert len(referred) > len(made) / 3


def test_a_wrong_request_would_be_seen(runs: Callable[[str], Run]) -> None:
    """Each property of each type of resource, wrong in each way that Azure's SDK knows of."""
    requests = {each.type: each for name in CONFIGURATIONS for each in runs(name).requests}
    assert {each.partition(":")[2] for each in requests} == set(APIS)
    unseen = [
        f"{request.type} {place} {wrong.value}"
        for request in requests.values()
        for place, wrong, variant in variants(request)
        if _is_known_to_be_wrong(request, place, wrong) and not check(variant).findings.problems
    ]
    assert unseen == []


def _is_known_to_be_wrong(request: Request, place: str, wrong: Wrong) -> bool:
    top_level = re.split(r"[.\[]", place, maxsplit=1)[0]
    if top_level in url_parameters(request):
        return False
    findings = check(request).findings
    match wrong:
        case Wrong.TYPE:
            return True
        case Wrong.NAME:
            # Tags may have any.
            return not place.startswith("tags.")
        case Wrong.TEXT:
            return place in findings.listed
        case Wrong.MISSING:
            return place in findings.required


def test_the_documented_resources_are_those_that_were_checked(
    runs: Callable[[str], Run],
) -> None:
    requests = [each for name in CONFIGURATIONS for each in runs(name).requests]
    compare("azure-resources.md", "resources", resources_table(map(check, requests)))


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
