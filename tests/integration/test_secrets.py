"""A secret on its way from the developer's file to an extractor's container, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.integration.conftest import Deployed

JOB = "weather"
VALUE = "hunter2 & more"
WITHOUT, WITH = "retryDelay: PT5S", "retryDelay: PT5S\n      secrets: {API_KEY: weather-key}"


@pytest.fixture(scope="module")
def secretive(deployed: Deployed) -> Iterator[Deployed]:
    """The stack with a secret of the weather's extractor, whose containers trace to the console."""
    deployed.clone.edit("Pulumi.local.yaml", WITHOUT, WITH)
    result = deployed.clone.run("up", environment={"TELEMETRY": "console"})
    assert result.code == 0, result.output
    yield deployed
    deployed.clone.edit("Pulumi.local.yaml", WITH, WITHOUT)
    deployed.clone.settings.secrets.unlink(missing_ok=True)


def container_log(deployed: Deployed) -> str:
    return deployed.groups.logs(deployed.groups.find(JOB).id, JOB)


def test_a_secret_is_missing_until_the_developer_writes_it_down(secretive: Deployed) -> None:
    file = secretive.clone.settings.secrets
    file.unlink(missing_ok=True)
    missing = secretive.clone.run("run", JOB)
    assert missing.code != 0
    output = " ".join(missing.output.split())
    assert "The secret weather-key is not in the key vault https://host.docker.internal" in output
    assert "put its value there: (SecretNotFound) .local/secrets/test.yaml has no line" in output

    file.parent.mkdir(exist_ok=True)
    file.write_text(f"weather-key: {VALUE}\n")
    found = secretive.clone.run("run", JOB)
    assert found.code == 0, found.output


def test_the_value_is_in_no_environment_no_table_and_no_log(secretive: Deployed) -> None:
    written = [
        *(str(each) for each in secretive.data.jobs()),
        *(str(each) for each in secretive.data.runs()),
        str(secretive.groups.get(secretive.groups.find(JOB).id)),
        container_log(secretive),
    ]
    assert "weather-key" in written[-2]
    assert not any(VALUE in each for each in written)


def test_a_run_is_traced_with_what_it_loaded(secretive: Deployed) -> None:
    lines = container_log(secretive).splitlines()
    (span,) = (json.loads(each) for each in lines if each.startswith('{"name": "weather"'))
    (run, *_) = (each for each in secretive.data.runs() if each.rows is not None)
    assert span["attributes"]["run"] == run.run_id
    assert span["attributes"]["rows"] == run.rows
    assert span["context"]["trace_id"] == f"0x{run.run_id.zfill(32)}"
