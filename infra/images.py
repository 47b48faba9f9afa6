"""Images: their build contexts, and the builds that push them, referenced by digest."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pulumi
import pulumi_docker_build as docker_build
from pulumi.output import UNKNOWN

from infra.registry import Registry

REPOSITORY = Path(__file__).resolve().parents[1]
STAGING = REPOSITORY / "infra" / ".build"
"""Git-ignored folder of the staged build contexts, apart for each stack."""

_LEFT_OUT = shutil.ignore_patterns("__pycache__", "tests", ".*", "*.md")

_FOLDER_MODE = 0o755
_FILE_MODE = 0o644


@dataclass(frozen=True)
class Image:
    """A pushed image.

    Attributes:
        digest: ``sha256:…`` of its manifest.
        reference: ``server/repository@sha256:…``, which never means another image.
    """

    digest: pulumi.Output[str]
    reference: pulumi.Output[str]


@dataclass(frozen=True)
class ImageProps:
    """Arguments of :func:`build_image`.

    Args:
        registry: where the image goes.
        repository: the image's name in the registry.
        context: staged folder that the build sees.
        named_contexts: further staged folders, by the name under which the Dockerfile copies from
            them.
        dockerfile: path of the Dockerfile within the context.
        target: stage of the Dockerfile to build; the last one without it.
        build_args: values of the Dockerfile's ``ARG`` lines.
    """

    registry: Registry
    repository: str
    context: Path
    named_contexts: Mapping[str, Path] = field(default_factory=dict)
    dockerfile: str = "Dockerfile"
    target: str | None = None
    build_args: Mapping[str, str] = field(default_factory=dict)


def stage(name: str, sources: Mapping[str, Path]) -> Path:
    """Copy what an image is built from to a folder of its own.

    Only what the image needs is copied, and with the same modes on every machine: the build's hash
    covers both, and a hash that differs would replace the container group.

    Args:
        name: the folder's name.
        sources: files and folders to copy, by their path in the folder; ``.`` is the folder itself.

    Returns:
        The staged folder.
    """
    folder = STAGING / pulumi.get_stack() / name
    shutil.rmtree(folder, ignore_errors=True)
    for target, source in sources.items():
        _copy(source, folder / target)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(_FOLDER_MODE if path.is_dir() else _FILE_MODE)
    return folder


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=_LEFT_OUT, dirs_exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def build_image(name: str, props: ImageProps, parent: pulumi.Resource) -> Image:
    """Build an image and push it; a preview only says whether it would."""
    tag = pulumi.Output.concat(
        props.registry.push_server, "/", props.repository, ":", pulumi.get_stack()
    )
    image = docker_build.Image(
        name,
        tags=[tag],
        context=docker_build.BuildContextArgs(
            location=_relative(props.context),
            named={
                key: docker_build.ContextArgs(location=_relative(path))
                for key, path in props.named_contexts.items()
            },
        ),
        dockerfile=docker_build.DockerfileArgs(
            location=_relative(props.context / props.dockerfile)
        ),
        target=props.target,
        build_args=dict(props.build_args),
        # The only platform of Azure Container Instances' Linux containers.
        platforms=[docker_build.Platform.LINUX_AMD64],
        push=True,
        build_on_preview=False,
        opts=pulumi.ResourceOptions(parent=parent),
    )
    server = props.registry.login_server
    # A preview of a build reports an empty digest for what only the build will know.
    digest: pulumi.Output[str] = image.digest.apply(lambda known: known or cast("str", UNKNOWN))
    return Image(
        digest=digest,
        reference=pulumi.Output.concat(server, "/", props.repository, "@", digest),
    )


def _relative(path: Path) -> str:
    # The state holds the path as it is written here; an absolute one would differ on each machine.
    return os.path.relpath(path, Path.cwd())
