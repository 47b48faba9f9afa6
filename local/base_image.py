"""The Python base image, for machines that can't reach Docker Hub.

It is made of Debian packages under the name that the Dockerfiles use, and put into the stack's
registry, which BuildKit then asks in place of Docker Hub.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import docker
import httpx
from docker.errors import DockerException

from local import versions
from local.certificates import host_bundle
from local.console import SetupError, run, step
from local.machine import install_packages, require_disk
from local.settings import Settings

_PACKAGES = ("ca-certificates", "python3", "python3-pip", "python3-venv", "tzdata")
_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
_GB = 1.0

_MANIFESTS = ", ".join(
    (
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
    )
)


def reference(settings: Settings) -> str:
    """The image's name in the stack's registry: where a mirror of Docker Hub has it."""
    return f"{settings.registry}/library/{versions.BASE_IMAGE}"


def ensure(settings: Settings, docker_host: str) -> None:
    """Put the base image into the stack's registry, making it where it was never made.

    Raises:
        SetupError: it can't be made or pushed.
    """
    if _pushed(settings):
        return
    archive = _archive(settings)
    if not archive.exists():
        _make(archive)
    with step(f"Pushing the base image {versions.BASE_IMAGE} to the local registry"):
        _push(settings, docker_host, archive)


def _pushed(settings: Settings) -> bool:
    name, _, tag = versions.BASE_IMAGE.partition(":")
    address = f"http://{settings.registry}/v2/library/{name}/manifests/{tag}"
    response = httpx.head(address, headers={"Accept": _MANIFESTS}, trust_env=False)
    return response.is_success


def _archive(settings: Settings) -> Path:
    """The image's root file system; its name holds all that it depends on."""
    recipe = "\n".join([versions.DEBIAN, *_command(Path("archive"), Path("authorities"))])
    authorities = host_bundle(os.environ).read_bytes()
    digest = hashlib.sha256(recipe.encode() + authorities).hexdigest()[:12]
    return settings.tools / f"base-image-{digest}.tar"


def _command(archive: Path, authorities: Path) -> list[str]:
    hooks = (
        f'copy-in "{authorities}" /etc/ssl/certs',
        # As in Docker Hub's image: `python` is there, and pip may install beside Debian's packages.
        'ln -s python3 "$1/usr/bin/python"',
        'rm -f "$1"/usr/lib/python3.*/EXTERNALLY-MANAGED',
        'rm -rf "$1"/usr/share/doc/* "$1"/usr/share/man/* "$1"/usr/share/locale/*',
    )
    return [
        "mmdebstrap",
        "--variant=minbase",
        f"--include={','.join(_PACKAGES)}",
        '--aptopt=APT::Install-Recommends "false"',
        *(f"--customize-hook={hook}" for hook in hooks),
        versions.DEBIAN,
        str(archive),
    ]


def _make(archive: Path) -> None:
    if not shutil.which("mmdebstrap"):
        install_packages(["mmdebstrap"], "mmdebstrap, which makes the base image,")
    require_disk(archive.parent, _GB, "The base image")
    with (
        step(
            f"Making the base image {versions.BASE_IMAGE} of Debian packages",
            lasting="about a minute",
        ),
        tempfile.TemporaryDirectory(dir=archive.parent) as folder,
    ):
        authorities = Path(folder) / Path(_AUTHORITIES).name
        authorities.write_bytes(host_bundle(os.environ).read_bytes())
        authorities.chmod(0o644)
        draft = Path(folder) / archive.name
        run(
            _command(draft, authorities),
            failure="The base image can't be made",
            # The temporary root is of the image's size.
            environment={"TMPDIR": folder},
        )
        draft.replace(archive)


def image_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables of the image: the authorities to trust, and this machine's package index.

    An index counts only where a build can reach it: a folder of this machine it can't, and one with
    a password must not get into an image.
    """
    variables = {"PIP_CERT": _AUTHORITIES, "SSL_CERT_FILE": _AUTHORITIES}
    index = urlsplit(environment.get("PIP_INDEX_URL", ""))
    if index.scheme in ("http", "https") and "@" not in index.netloc:
        variables["PIP_INDEX_URL"] = index.geturl()
    return variables


def _push(settings: Settings, docker_host: str, archive: Path) -> None:
    changes = [
        *(f'ENV {name}="{value}"' for name, value in image_environment(os.environ).items()),
        'CMD ["python3"]',
    ]
    repository, _, tag = reference(settings).rpartition(":")
    failure = f"The base image can't be pushed to {settings.registry}"
    client = docker.DockerClient(base_url=docker_host, timeout=300)
    try:
        with archive.open("rb") as file:
            client.api.import_image_from_data(file, repository=repository, tag=tag, changes=changes)
        for line in client.images.push(repository, tag=tag, stream=True, decode=True):
            if "error" in line:
                raise SetupError(f"{failure}: {line['error']}.")
    except DockerException as error:
        reason = getattr(error, "explanation", None) or error
        raise SetupError(f"{failure}: {reason}.") from error
    finally:
        client.close()
