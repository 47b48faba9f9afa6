"""The tools of the local stack, each found, downloaded or built, and only where it is missing."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

from local import versions
from local.console import SetupError, Step, run, step
from local.machine import install_packages, reachable, require_disk
from local.settings import REPOSITORY, Settings

_TOOLCHAIN = REPOSITORY / "local" / "toolchain"

_PULUMI_DOWNLOADS = "https://get.pulumi.com"
_GO_PROXY = "https://proxy.golang.org"

_BUILD_GB = 6.0
"""Free disk that a Go build needs at most: modules, build cache and the commands."""

_AZURITE_GB = 0.5
_PLUGIN_S = 300.0

_PROVIDER = "pulumi-resource-docker-build"
_BUILDKITD = "buildkitd"

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def bin_folder(settings: Settings) -> Path:
    """The folder of commands that is to be on PATH of the local stack."""
    return settings.tools / "bin"


def pulumi_home(settings: Settings) -> Path:
    """``PULUMI_HOME``: plugins that Pulumi downloads."""
    return settings.tools / "pulumi-home"


def azurite_command(settings: Settings) -> list[str]:
    """What runs Azurite."""
    script = _azurite_folder(settings) / "node_modules/azurite/dist/src/azurite.js"
    return [shutil.which("node") or "node", str(script)]


def buildkitd_command(settings: Settings) -> Path:
    """The BuildKit daemon built here."""
    return bin_folder(settings) / _BUILDKITD


def search_path(settings: Settings) -> str:
    """``PATH`` with the tools' folder first."""
    return os.pathsep.join([str(bin_folder(settings)), os.environ.get("PATH", os.defpath)])


def ensure_pulumi(settings: Settings) -> None:
    """The Pulumi CLI: the one on PATH if it is new enough, else downloaded, else built.

    Raises:
        SetupError: it can be had in no way.
    """
    command = shutil.which("pulumi", path=search_path(settings))
    if command and _new_enough(_pulumi_version(command), versions.PULUMI):
        return
    if reachable(_PULUMI_DOWNLOADS):
        with step(f"Downloading Pulumi {versions.PULUMI}"):
            _download_pulumi(settings)
    else:
        _build(
            settings,
            "pulumi",
            "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
            bin_folder(settings),
            variable="github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v"
            + versions.PULUMI,
            title=f"Building Pulumi {versions.PULUMI} from source",
            lasting="about 4 minutes on 2 cores",
        )


def ensure_docker_build(settings: Settings) -> None:
    """Pulumi's provider for images: by Pulumi's own download, else built.

    Raises:
        SetupError: it can be had in no way.
    """
    if (_plugin(settings) / _PROVIDER).exists():
        return
    title = f"Pulumi's docker-build provider {versions.DOCKER_BUILD}"
    if reachable(_PULUMI_DOWNLOADS):
        with step(f"Downloading {title}"):
            _install_plugin(settings)
        return
    with tempfile.TemporaryDirectory() as folder:
        _build(
            settings,
            "docker-build",
            "github.com/pulumi/pulumi-docker-build/provider/cmd/" + _PROVIDER,
            Path(folder),
            variable="github.com/pulumi/pulumi-docker-build/provider.Version="
            + versions.DOCKER_BUILD,
            title=f"Building {title} from source",
            lasting="about 2 minutes on 2 cores",
        )
        _install_plugin(settings, "--file", str(Path(folder) / _PROVIDER))


def _install_plugin(settings: Settings, *options: str) -> None:
    """Have Pulumi put the provider where the engine finds it, downloaded unless ``--file``."""
    run(
        [
            "pulumi",
            "plugin",
            "install",
            "resource",
            "docker-build",
            versions.DOCKER_BUILD,
            *options,
        ],
        failure="Pulumi's docker-build provider can't be installed",
        environment={
            "PATH": search_path(settings),
            "PULUMI_HOME": str(pulumi_home(settings)),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        },
        timeout_s=_PLUGIN_S,
    )


def ensure_buildkitd(settings: Settings) -> None:
    """The BuildKit daemon as a command of this machine, and runc, which it needs.

    Raises:
        SetupError: it can't be built.
    """
    if not shutil.which("runc"):
        install_packages(["runc"], "runc")
    if not buildkitd_command(settings).exists():
        _build(
            settings,
            "docker-build",
            "github.com/moby/buildkit/cmd/buildkitd",
            bin_folder(settings),
            title="Building BuildKit from source",
            lasting="about 1 minute on 2 cores",
        )


def ensure_azurite(settings: Settings) -> None:
    """Azurite, from npm.

    Raises:
        SetupError: Node.js is missing or too old, or npm failed.
    """
    folder = _azurite_folder(settings)
    # npm may be interrupted: the folder counts only when npm was done with it.
    done = folder / "installed"
    if done.exists():
        return
    _require_node()
    require_disk(settings.tools, _AZURITE_GB, "Azurite")
    with step(f"Installing Azurite {versions.AZURITE} with npm"):
        folder.mkdir(parents=True, exist_ok=True)
        package = f"azurite@{versions.AZURITE}"
        options = ["--no-audit", "--no-fund", "--no-update-notifier", "--omit=dev"]
        run(
            ["npm", "install", "--prefix", str(folder), *options, package],
            failure="Azurite can't be installed",
        )
        done.touch()


def _azurite_folder(settings: Settings) -> Path:
    return settings.tools / f"azurite-{versions.AZURITE}"


def _plugin(settings: Settings) -> Path:
    return pulumi_home(settings) / "plugins" / f"resource-docker-build-v{versions.DOCKER_BUILD}"


def _require_node() -> None:
    if not shutil.which("node") or not shutil.which("npm"):
        install_packages(["nodejs", "npm"], f"Node.js {versions.NODE_MINIMUM} or newer, with npm")
    text = _output(["node", "--version"])
    if _numbers(text) < (versions.NODE_MINIMUM,):
        raise SetupError(
            f"Azurite needs Node.js {versions.NODE_MINIMUM} or newer and `node --version` says "
            f"{text or 'nothing'}; install a newer one."
        )


def _pulumi_version(command: str) -> tuple[int, ...]:
    return _numbers(_output([command, "version"]))


def _new_enough(found: tuple[int, ...], pinned: str) -> bool:
    """Whether a command of that version does what the pinned one does: same major, not older."""
    wanted = _numbers(pinned)
    return found[:1] == wanted[:1] and found >= wanted


def _numbers(text: str) -> tuple[int, ...]:
    """The first dotted version in a text; empty without one."""
    match = re.search(r"\d+(?:\.\d+)+", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def _output(command: list[str]) -> str:
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return ""
    return result.stdout.strip()


# Downloads.


def pulumi_address(system: str, machine: str) -> str:
    """Where Pulumi offers its CLI.

    Args:
        system: as ``sys.platform`` says.
        machine: as ``platform.machine()`` says.

    Raises:
        SetupError: Pulumi offers none for such a machine.
    """
    architecture = {"amd64": "x64"}.get(_architecture(machine), _architecture(machine))
    if system not in ("linux", "darwin"):
        raise SetupError(f"The local stack runs on Linux and macOS, not on {system}.")
    name = f"pulumi-v{versions.PULUMI}-{system}-{architecture}.tar.gz"
    return f"{_PULUMI_DOWNLOADS}/releases/sdk/{name}"


def go_address(system: str, machine: str) -> str:
    """Where the Go project offers its toolchain, as ``go`` itself fetches it.

    https://go.dev/ref/mod#toolchain; arguments and errors as :func:`pulumi_address`.
    """
    name = f"v0.0.1-go{versions.GO}.{system}-{_architecture(machine)}"
    return f"{_GO_PROXY}/golang.org/toolchain/@v/{name}.zip"


def _architecture(machine: str) -> str:
    try:
        return _ARCHITECTURES[machine.lower()]
    except KeyError:
        raise SetupError(
            f"The local stack runs on x86-64 and arm64 processors, not on {machine}."
        ) from None


def _download_pulumi(settings: Settings) -> None:
    def unpack(archive: Path, folder: Path) -> None:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        target = bin_folder(settings)
        target.mkdir(parents=True, exist_ok=True)
        for command in (folder / "pulumi").iterdir():
            command.replace(target / command.name)

    _download(settings, pulumi_address(sys.platform, platform.machine()), "Pulumi", unpack)


def _download(
    settings: Settings, address: str, name: str, unpack: Callable[[Path, Path], None]
) -> None:
    """Fetch an archive and hand it to ``unpack`` with an empty folder, both deleted afterwards."""
    settings.tools.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.tools) as folder:
        archive = Path(folder) / "archive"
        content = Path(folder) / "content"
        content.mkdir()
        try:
            # The address is made of constants of this package.
            with (
                urllib.request.urlopen(address, timeout=60) as response,  # noqa: S310
                archive.open("wb") as file,
            ):
                shutil.copyfileobj(response, file)
            unpack(archive, content)
        except (OSError, tarfile.TarError, zipfile.BadZipFile) as error:
            raise SetupError(f"{name} can't be downloaded from {address}: {error}.") from error


# Go builds.


def _build(
    settings: Settings,
    module: str,
    package: str,
    target: Path,
    *,
    title: str,
    lasting: str,
    variable: str | None = None,
) -> None:
    """Build a command of one of the modules in ``local/toolchain``.

    Args:
        settings: says where the tools are.
        module: its folder.
        package: the command's package.
        target: the folder for the command.
        title: says what is done.
        lasting: how long that usually takes.
        variable: ``name=value`` of a Go variable to set, such as the version.
    """
    what = title.partition(" from source")[0]
    require_disk(settings.tools, _BUILD_GB, what)
    go = _go(settings)
    target.mkdir(parents=True, exist_ok=True)
    flags = "-s -w" + (f" -X {variable}" if variable else "")
    # Complete commands only: a build may be interrupted while it writes one.
    with (
        step(title, lasting=lasting) as progress,
        tempfile.TemporaryDirectory(dir=target) as folder,
    ):
        run(
            [go, "build", "-v", "-o", f"{folder}/", "-ldflags", flags, package],
            failure=f"{what} failed",
            cwd=_TOOLCHAIN / module,
            environment={
                "CGO_ENABLED": "0",
                "GOFLAGS": "-mod=readonly -buildvcs=false",
                "GOTOOLCHAIN": "auto",
                "GOWORK": "off",
            },
            on_line=_Progress(progress).line,
        )
        for command in Path(folder).iterdir():
            command.replace(target / command.name)


class _Progress:
    """Counts what `go build -v` reports."""

    def __init__(self, progress: Step) -> None:
        self._progress = progress
        self._modules = self._packages = 0

    def line(self, line: str) -> None:
        if line.startswith("go: downloading"):
            self._modules += 1
        else:
            self._packages += 1
        self._progress.note(f"{self._modules} modules fetched, {self._packages} packages compiled")


def _go(settings: Settings) -> str:
    """The Go command: an installed one, or one fetched from the Go module proxy."""
    installed = shutil.which("go")
    if installed and _numbers(_output([installed, "env", "GOVERSION"])) >= versions.GO_MINIMUM:
        return installed
    folder = settings.tools / f"go-{versions.GO}"
    if not folder.exists():
        with step(f"Downloading Go {versions.GO}"):
            _download_go(settings, folder)
    return str(folder / "bin" / "go")


def _download_go(settings: Settings, target: Path) -> None:
    address = go_address(sys.platform, platform.machine())

    def unpack(archive: Path, folder: Path) -> None:
        with zipfile.ZipFile(archive) as package:
            package.extractall(folder)  # noqa: S202 - zipfile keeps every name inside the folder
        # golang.org/toolchain@version holds the tree; a module's archive keeps no permissions.
        root = next((folder / "golang.org").iterdir())
        for command in (*root.glob("bin/*"), *root.glob("pkg/tool/*/*")):
            command.chmod(0o755)
        root.rename(target)

    _download(settings, address, f"Go {versions.GO}", unpack)
