"""Every version is pinned once, or where it is pinned twice, the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from infra.config import StackConfig
from local import versions
from local.settings import REPOSITORY

TOOLCHAIN = REPOSITORY / "local" / "toolchain"


def requirement(package: str) -> str:
    found = re.search(
        rf"^{package}==(\S+)$", (REPOSITORY / "requirements.txt").read_text(), re.MULTILINE
    )
    assert found
    return found[1]


def module(folder: str, name: str) -> str:
    found = re.search(
        rf"^\s*{name} v(\S+)", (TOOLCHAIN / folder / "go.mod").read_text(), re.MULTILINE
    )
    assert found
    return found[1]


def test_the_python_packages_speak_to_the_engine_and_the_provider_of_their_version() -> None:
    assert requirement("pulumi") == versions.PULUMI
    assert requirement("pulumi-docker-build") == versions.DOCKER_BUILD


def test_what_is_built_is_what_would_be_downloaded() -> None:
    assert module("pulumi", "github.com/pulumi/pulumi/pkg/v3") == versions.PULUMI
    assert module("docker-build", "github.com/pulumi/pulumi-docker-build") == versions.DOCKER_BUILD
    buildkit = module("docker-build", "github.com/moby/buildkit")
    assert f"moby/buildkit:v{buildkit}" == versions.BUILDKIT_IMAGE


@pytest.mark.parametrize("folder", ["pulumi", "docker-build"])
def test_the_pinned_go_is_new_enough(folder: str) -> None:
    found = re.search(r"^go (\S+)$", (TOOLCHAIN / folder / "go.mod").read_text(), re.MULTILINE)
    assert found
    assert numbers(versions.GO) >= numbers(found[1])
    assert numbers(versions.GO) >= versions.GO_MINIMUM


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def test_the_base_image_is_that_of_every_image() -> None:
    assert StackConfig.model_fields["base_image"].default == versions.BASE_IMAGE
    dockerfiles = [
        *Path(REPOSITORY).glob("extractor/*/Dockerfile"),
        REPOSITORY / "scheduler/Dockerfile",
    ]
    for dockerfile in dockerfiles:
        assert f"ARG BASE_IMAGE={versions.BASE_IMAGE}\n" in dockerfile.read_text()
