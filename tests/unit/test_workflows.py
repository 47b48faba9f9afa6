"""What keeps the workflows safe: who may do what, as whom, with which code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from local import versions

REPOSITORY = Path(__file__).resolve().parents[2]
FILES = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
STACKS = {"dev", "prod"}

WRITES = {
    ("preview.yml", "preview"): {"id-token", "pull-requests"},
    ("deploy.yml", "dev"): {"id-token"},
    ("deploy.yml", "prod"): {"id-token"},
    ("deploy-stack.yml", "up"): {"id-token"},
}
"""All that any job may write; an ``id-token`` signs in to Azure."""


def workflow(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((FILES[0].parent / name).read_text())
    return content


def triggers(name: str) -> dict[str, Any]:
    # YAML 1.1 reads the key "on" as true.
    content: dict[Any, Any] = workflow(name)
    on: dict[str, Any] = content[True]
    return on


def jobs() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for file in FILES:
        for name, job in workflow(file.name)["jobs"].items():
            yield file.name, name, job


def steps(action: str) -> list[dict[str, Any]]:
    found = [
        step
        for _, _, job in jobs()
        for step in job.get("steps", [])
        if step.get("uses", "").startswith(f"{action}@")
    ]
    assert found
    return found


def test_these_are_all_workflows() -> None:
    assert [file.name for file in FILES] == [
        "deploy-stack.yml",
        "deploy.yml",
        "preview.yml",
        "test.yml",
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_action_is_pinned_by_commit_with_its_version_beside_it(file: Path) -> None:
    used = re.findall(r"uses: (.+)", file.read_text())
    assert used
    for each in used:
        assert each.startswith("./") or re.fullmatch(
            r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each
        ), each


def test_an_action_has_one_version_everywhere() -> None:
    used = {use for file in FILES for use in re.findall(r"uses: (\w.+)", file.read_text())}
    assert len(used) == len({use.partition("@")[0] for use in used})


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_workflow_has_a_secret_or_runs_a_forks_code_with_more_rights(file: Path) -> None:
    text = file.read_text()
    assert "secrets" not in text
    assert "pull_request_target" not in text
    assert "workflow_run" not in text


def test_jobs_may_do_no_more_than_they_need() -> None:
    for file in FILES:
        assert workflow(file.name)["permissions"] in ({}, {"contents": "read"})
    for file_name, name, job in jobs():
        granted = job.get("permissions", {})
        writes = {scope for scope, access in granted.items() if access == "write"}
        assert writes == WRITES.get((file_name, name), set())
        assert set(granted.items()) - {(scope, "write") for scope in writes} <= {
            ("contents", "read")
        }


def test_the_checkout_leaves_no_token_behind() -> None:
    for step in steps("actions/checkout"):
        assert step["with"]["persist-credentials"] is False


def test_a_pull_request_of_a_fork_gets_no_identity() -> None:
    condition = workflow("preview.yml")["jobs"]["preview"]["if"]
    own = "github.event.pull_request.head.repo.full_name == github.repository"
    assert own in condition.split(" && ")
    assert set(triggers("preview.yml")) == {"pull_request"}


def test_a_pull_request_signs_in_as_the_reader_and_changes_nothing() -> None:
    preview = workflow("preview.yml")["jobs"]["preview"]
    assert "environment" not in preview
    text = (FILES[0].parent / "preview.yml").read_text()
    assert set(re.findall(r"vars\.(\w+_CLIENT_ID)", text)) == {"PREVIEW_CLIENT_ID"}
    (pulumi,) = (each for each in preview["steps"] if "pulumi/actions" in each.get("uses", ""))
    assert pulumi["with"]["command"] == "preview"
    assert pulumi["with"]["comment-on-pr"] is True
    assert set(preview["strategy"]["matrix"]["stack"]) == STACKS


def test_only_what_was_merged_and_tested_is_deployed_and_prod_comes_last() -> None:
    assert triggers("deploy.yml") == {"push": {"branches": ["main"]}}
    assert set(triggers("deploy-stack.yml")) == {"workflow_call"}
    deployed = workflow("deploy.yml")["jobs"]
    assert deployed["dev"]["needs"] == "test"
    assert deployed["prod"]["needs"] == "dev"
    for stack in STACKS:
        assert deployed[stack]["with"]["stack"] == stack
        assert deployed[stack]["with"]["client-id"] == f"${{{{ vars.{stack.upper()}_CLIENT_ID }}}}"


def test_a_stack_is_deployed_by_its_environment_one_update_at_a_time() -> None:
    job = workflow("deploy-stack.yml")["jobs"]["up"]
    # Approval of prod is a rule of the GitHub environment, and so is who may sign in.
    assert job["environment"] == "${{ inputs.stack }}"
    assert job["concurrency"] == {
        "group": "stack-${{ inputs.stack }}",
        "cancel-in-progress": False,
    }


def test_both_use_the_same_state_and_the_pinned_pulumi() -> None:
    for step in steps("pulumi/actions"):
        settings = step["with"]
        assert settings["pulumi-version"] == versions.PULUMI
        stack = settings["stack-name"].removeprefix("organization/pipelines/")
        assert settings["cloud-url"] == (
            f"azblob://state-{stack}?storage_account=${{{{ vars.STATE_ACCOUNT }}}}"
        )
        # AZURE_CLIENT_ID would send the state's credentials elsewhere than to the CLI's login.
        assert set(step["env"]) == {
            "ARM_CLIENT_ID",
            "ARM_SUBSCRIPTION_ID",
            "ARM_TENANT_ID",
            "ARM_USE_OIDC",
        }


def test_every_stack_has_its_configuration() -> None:
    assert all((REPOSITORY / f"Pulumi.{stack}.yaml").is_file() for stack in STACKS)
