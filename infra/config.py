"""The stack's configuration as one typed model.

Everything under ``pipelines:`` in ``Pulumi.<stack>.yaml`` is read here, once, before any resource
is declared; so a mistake ends a preview with a sentence and nothing has changed.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Self
from uuid import UUID

import pulumi
import pydantic
import yaml
from pydantic import AfterValidator, Field
from pydantic.config import JsonDict

from infra import naming
from scheduler.capacity import DEFAULT_LIMITS
from scheduler.declaration import Declaration, JobDeclaration, JobOptions, PositiveDuration
from scheduler.sentences import sentence
from scheduler.upstream import circles, unknown

NAMESPACE = "pipelines"
"""Prefix of the configuration's keys, and the project's name."""

REGION_KEY = "azure-native:location"

EXTRACTORS_FOLDER = Path(__file__).resolve().parents[1] / "extractor"

MAX_CPU = 4
MAX_MEMORY_GB = 16
"""Largest container group in every region that has Azure Container Instances without a request for
more: https://learn.microsoft.com/azure/container-instances/container-instances-resource-and-quota-limits.
"""

CONTAINER_GROUPS_QUOTA = 100
"""Container groups that a subscription may have in a region unless Microsoft has granted more:
https://learn.microsoft.com/azure/container-instances/container-instances-resource-and-quota-limits.
"""

SMALLEST_NETWORK = 24
"""Longest prefix of the network: three subnets of /26 have room in it."""

MIN_CPU = 1
MIN_MEMORY_GB = 1
"""Smallest container group: less is refused for a group, and here each has one container."""

RESERVED_ENVIRONMENT = frozenset(
    {
        "APPLICATIONINSIGHTS_CONNECTION_STRING",
        "AZURE_CLIENT_ID",
        "IMAGE_DIGEST",
        "JOB_NAME",
        "KEY_VAULT_URL",
        "LAKE_ENDPOINT",
        "LAKE_FILE_SYSTEM",
        "SECRETS",
        "TABLES_ENDPOINT",
    }
)
"""Variables that the deployment sets itself in an extractor's container."""

_RESERVED_FOLDERS = frozenset({"runtime", naming.SCHEDULER_REPOSITORY})


class ConfigurationError(Exception):
    """The configuration is wrong; the text has one sentence for each mistake."""


def _environment_name(name: str) -> str:
    if not naming.is_environment_name(name):
        raise ValueError(f"a name of {naming.ENVIRONMENT_NAME_RULE}")
    if name in RESERVED_ENVIRONMENT:
        raise ValueError(
            "any name but those which the deployment sets itself: "
            + ", ".join(sorted(RESERVED_ENVIRONMENT))
        )
    return name


def _extractor_name(name: str) -> str:
    if not naming.is_container_group_name(name):
        raise ValueError(
            f"a name that Azure Container Instances accepts: {naming.CONTAINER_GROUP_RULE}"
        )
    if name in _RESERVED_FOLDERS:
        raise ValueError(f"any name but {' and '.join(sorted(_RESERVED_FOLDERS))}")
    return name


def _file_system(name: str) -> str:
    if not naming.is_file_system_name(name):
        raise ValueError(f"a name that Azure Storage accepts: {naming.FILE_SYSTEM_RULE}")
    return name


def _secret_name(name: str) -> str:
    if not naming.is_secret_name(name):
        raise ValueError(f"a name that Azure Key Vault accepts: {naming.VAULT_ENTRY_RULE}")
    return name


def _address_space(text: str) -> str:
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise ValueError(
            f"a range of private IPv4 addresses such as 10.90.0.0/22 ({error})"
        ) from error
    if not network.is_private or network.prefixlen > SMALLEST_NETWORK:
        raise ValueError(f"a range of private IPv4 addresses of at least /{SMALLEST_NETWORK}")
    return text


def _address(text: str) -> str:
    try:
        ipaddress.IPv4Network(text)
    except ValueError as error:
        raise ValueError(f"an IPv4 address or range such as 203.0.113.7 ({error})") from error
    return text


def _private_address(text: str) -> str:
    if not ipaddress.IPv4Network(_address(text)).is_private:
        raise ValueError("a private IPv4 address or range such as 10.1.0.0/16")
    return text


def _in_schema(pattern: str, rule: str, but_not: Iterable[str] = ()) -> Any:
    """A rule for names as editors check it; see :mod:`infra.schema`."""
    extra: JsonDict = {"pattern": pattern, "patternErrorMessage": f"allowed is {rule}"}
    if reserved := sorted(but_not):
        extra["not"] = {"enum": [*reserved]}
    return Field(json_schema_extra=extra)


EnvironmentName = Annotated[
    str,
    AfterValidator(_environment_name),
    _in_schema(
        naming.ENVIRONMENT_NAME_PATTERN,
        f"a name of {naming.ENVIRONMENT_NAME_RULE}",
        RESERVED_ENVIRONMENT,
    ),
]
ExtractorName = Annotated[
    str,
    AfterValidator(_extractor_name),
    _in_schema(naming.CONTAINER_GROUP_PATTERN, naming.CONTAINER_GROUP_RULE, _RESERVED_FOLDERS),
]
FileSystemName = Annotated[
    str,
    AfterValidator(_file_system),
    _in_schema(naming.FILE_SYSTEM_PATTERN, naming.FILE_SYSTEM_RULE),
]
SecretName = Annotated[
    str,
    AfterValidator(_secret_name),
    _in_schema(naming.VAULT_ENTRY_PATTERN, naming.VAULT_ENTRY_RULE),
]
AddressSpace = Annotated[
    str,
    AfterValidator(_address_space),
    _in_schema(
        rf"^\d{{1,3}}(\.\d{{1,3}}){{3}}/([89]|1\d|2[0-{SMALLEST_NETWORK % 10}])$",
        f"a range of private IPv4 addresses of at least /{SMALLEST_NETWORK}",
    ),
]
Address = Annotated[
    str,
    AfterValidator(_address),
    _in_schema(
        r"^\d{1,3}(\.\d{1,3}){3}(/\d{1,2})?$", "an IPv4 address or range such as 203.0.113.7"
    ),
]

PrivateAddress = Annotated[
    str,
    AfterValidator(_private_address),
    _in_schema(
        r"^\d{1,3}(\.\d{1,3}){3}(/\d{1,2})?$", "a private IPv4 address or range such as 10.1.0.0/16"
    ),
]


class ExtractorConfig(JobOptions):
    """An extractor: how it is scheduled (see :class:`JobOptions`) and what its container gets.

    Args:
        cpu: cores.
        memory: memory in GB, in steps of 0.1 as Azure takes it.
        environment: variables of the container. Nothing secret: whoever may read the container
            group sees them.
        secrets: names in the stack's key vault, by the name under which the extractor asks for
            them. Only the names are deployed; the extractor reads the values as it runs.
        expected_duration: what a run is likely to take, for the estimate of its cost alone.
    """

    cpu: Annotated[float, Field(ge=MIN_CPU, le=MAX_CPU)] = 1.0
    memory: Annotated[float, Field(ge=MIN_MEMORY_GB, le=MAX_MEMORY_GB, multiple_of=0.1)] = 1.5
    environment: Mapping[EnvironmentName, str] = Field(default_factory=dict)
    secrets: Mapping[EnvironmentName, SecretName] = Field(default_factory=dict)
    expected_duration: PositiveDuration | None = None

    def written(self) -> Mapping[str, Any]:
        """Everything that is not at its default, by the keys of the configuration."""
        written: Mapping[str, Any] = self.model_dump(
            mode="json", by_alias=True, exclude_defaults=True
        )
        return written

    def declaration(self, name: str) -> JobDeclaration:
        """What the scheduler is told of the job; its container group is called like the job."""
        options = self.model_dump(include=set(JobOptions.model_fields), exclude_unset=True)
        return JobDeclaration(
            name=name, container_group=name, cpu=self.cpu, memory=self.memory, **options
        )


class SchedulerHost(StrEnum):
    """Where the scheduler runs. The code that ticks is the same."""

    FUNCTION = "function"
    """An Azure Function in a container of its own, on an App Service plan."""
    CONTAINER = "container"
    """A container group that always runs."""


class Plan(StrEnum):
    """App Service plans that can be always on, by price; a timer needs no more than the first."""

    B1 = "B1"
    B2 = "B2"
    B3 = "B3"
    S1 = "S1"
    P0V3 = "P0v3"
    P1V3 = "P1v3"
    P2V3 = "P2v3"


class AuthenticationConfig(Declaration):
    """Who may call the scheduler's HTTP functions.

    Args:
        client_id: application registration of Microsoft Entra ID that stands for the scheduler.
        principals: object ids of the users, groups' members and services that may call; without
            any, everybody of the directory to whom the registration is open.
    """

    client_id: UUID
    principals: Sequence[UUID] = ()


class SchedulerConfig(Declaration):
    """The central scheduler.

    Args:
        host: see :class:`SchedulerHost`.
        plan: App Service plan of a ``function``.
        authentication: see :class:`AuthenticationConfig`. Without it nobody can call the HTTP
            functions: there is no anonymous access.
        retention_days: for how long the history of runs and operations is kept; the newest run of
            a job stays.
        tick_seconds: seconds between two ticks of a ``container``; a ``function`` ticks once a
            minute.
        max_running: containers of extractors that run at once; what is due beyond that waits, by
            the extractors' ``priority``. The default is what Azure allows in a region.
        starts_per_five_minutes: starts of containers in any five minutes. The default is what Azure
            allows in a region, as it is of the next.
        starts_per_hour: starts of containers in any hour.
    """

    host: SchedulerHost = SchedulerHost.FUNCTION
    plan: Plan = Plan.B1
    authentication: AuthenticationConfig | None = None
    retention_days: Annotated[int, Field(ge=1, le=3650)] = 90
    tick_seconds: Annotated[int, Field(ge=1, le=60)] = 60
    max_running: Annotated[int, Field(ge=1)] = DEFAULT_LIMITS.max_running
    starts_per_five_minutes: Annotated[int, Field(ge=1)] = DEFAULT_LIMITS.starts_per_five_minutes
    starts_per_hour: Annotated[int, Field(ge=1)] = DEFAULT_LIMITS.starts_per_hour


class LakeConfig(Declaration):
    """The data lake.

    Args:
        file_system: name of the file system into which every extractor writes.
        soft_delete_days: for how long what was deleted can be had back.
        cool_after_days: days after which a file that nobody has changed moves to the cool tier,
            which is cheaper to keep and dearer to read; never, without it.
        locked: whether the lake is locked against deletion, even by its owner.
    """

    file_system: FileSystemName = "raw"
    soft_delete_days: Annotated[int, Field(ge=1, le=365)] = 7
    cool_after_days: Annotated[int, Field(ge=0, le=99999)] | None = None
    locked: bool = False


class AlertsConfig(Declaration):
    """What people are told by mail.

    Args:
        emails: who; without any there are no alerts.
        job_failed: a run ended ``failed``, ``timed_out`` or ``abandoned``.
        no_tick_minutes: the scheduler has been silent for that long.
        run_overdue: a run was still going at its deadline.
        run_slow: a run takes far longer than those before it did.
    """

    emails: Sequence[Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")]] = ()
    job_failed: bool = True
    no_tick_minutes: Annotated[int, Field(ge=5, le=1440, multiple_of=5)] = 5
    run_overdue: bool = True
    run_slow: bool = False


class MonitoringConfig(Declaration):
    """Logs and alerts.

    Args:
        retention_days: how long logs are kept.
        alerts: see :class:`AlertsConfig`.
    """

    retention_days: Annotated[int, Field(ge=30, le=730)] = 30
    alerts: AlertsConfig = AlertsConfig()


class NetworkConfig(Declaration):
    """The network.

    Args:
        isolated: whether storage, registry and key vault are reached from the stack's own network
            alone, and the containers run in it.
        address_space: the network's addresses; must not overlap those it is to be peered with.
        deployer_addresses: public addresses from which images are pushed in spite of ``isolated``;
            without any, deploy from within the network.
        client_addresses: private addresses, of the network or of those it is peered with, from
            which people and deployments reach storage, registry and key vault; the stack's own
            containers and scheduler always do.
    """

    isolated: bool = False
    address_space: AddressSpace = "10.90.0.0/22"
    deployer_addresses: Sequence[Address] = ()
    client_addresses: Sequence[PrivateAddress] = ()


class PoliciesConfig(Declaration):
    """What the stack may not declare, beside what no stack may.

    Args:
        public_network: whether storage, registry, key vault and containers may be reached from the
            internet. Where they may not, a stack that is not ``isolated`` is refused.
        required_tags: tags that every resource has to have, beside the project's and the stack's.
        container_groups: how many container groups the stack may have, the scheduler's included:
            what the subscription's quota in the region leaves for it.
    """

    public_network: bool = True
    required_tags: Sequence[str] = ()
    container_groups: Annotated[int, Field(ge=1)] = CONTAINER_GROUPS_QUOTA


class StackConfig(Declaration):
    """Everything under ``pipelines:``.

    Args:
        extractors: by name, which is that of the folder below ``extractor/``.
        base_image: what the images of extractors and of a ``container`` scheduler are built on.
        lake: see :class:`LakeConfig`.
        monitoring: see :class:`MonitoringConfig`.
        network: see :class:`NetworkConfig`.
        policies: see :class:`PoliciesConfig`.
        scheduler: see :class:`SchedulerConfig`.
        protected: whether a change or a ``destroy`` that would replace or delete what holds data
            (resource group, storage accounts, file system, tables, key vault) ends at preview.
        tags: put on every resource that takes tags, beside the project's and the stack's name.
    """

    extractors: dict[ExtractorName, ExtractorConfig]
    base_image: Annotated[str, Field(min_length=1)] = "python:3.11-slim"
    lake: LakeConfig = LakeConfig()
    monitoring: MonitoringConfig = MonitoringConfig()
    network: NetworkConfig = NetworkConfig()
    policies: PoliciesConfig = PoliciesConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    protected: bool = True
    tags: Mapping[str, str] = Field(default_factory=dict)

    @classmethod
    def load(cls) -> Self:
        """Read the configuration of the running stack.

        Raises:
            ConfigurationError: see :meth:`parse`.
        """
        prefix = f"{NAMESPACE}:"
        values = pulumi.runtime.config.CONFIG.get().items()  # pulumi.Config lists no keys
        return cls.parse(
            {key.removeprefix(prefix): value for key, value in values if key.startswith(prefix)}
        )

    @classmethod
    def read(cls, file: Path) -> tuple[Self, str]:
        """Read a stack's file as the engine would.

        Returns:
            The configuration and the region.

        Raises:
            ConfigurationError: see :meth:`parse`.
        """
        values = yaml.safe_load(file.read_text())["config"]
        own = {
            key.removeprefix(f"{NAMESPACE}:"): value
            if isinstance(value, str)
            else json.dumps(value)
            for key, value in values.items()
            if key.startswith(f"{NAMESPACE}:")
        }
        return cls.parse(own), str(values.get(REGION_KEY, ""))

    @classmethod
    def parse(cls, values: Mapping[str, str], folder: Path = EXTRACTORS_FOLDER) -> Self:
        """Check configuration as the engine hands it over: objects and lists as JSON text.

        Args:
            values: by key, without the prefix ``pipelines:``.
            folder: where the extractors' folders are.

        Raises:
            ConfigurationError: a key is unknown or missing, or a value is not allowed.
        """
        try:
            config = cls.model_validate({key: _decoded(value) for key, value in values.items()})
        except pydantic.ValidationError as error:
            raise ConfigurationError(
                "\n".join(sentence(NAMESPACE, cls, detail) for detail in error.errors())
            ) from None
        _check_folders(config.extractors, folder)
        _check_upstreams(config.extractors)
        _check_quota(config)
        return config


def _decoded(value: str) -> Any:
    # The engine writes an object or a list as JSON and everything else as its plain text.
    return json.loads(value) if value.startswith(("{", "[")) else value


def _check_folders(names: Iterable[str], folder: Path) -> None:
    missing = [name for name in names if not (folder / name / "Dockerfile").is_file()]
    if missing:
        raise ConfigurationError(
            "\n".join(
                f"{NAMESPACE}:extractors.{name} has no extractor/{name}/Dockerfile; allowed is the "
                f"name of a folder below extractor/ with a Dockerfile: {_found(folder)}."
                for name in missing
            )
        )


def _check_upstreams(extractors: Mapping[str, ExtractorConfig]) -> None:
    after = {name: each.after for name, each in extractors.items() if each.after}
    mistakes = [
        f"{NAMESPACE}:extractors.{name}.after is {json.dumps(names)}; allowed are names of "
        f"extractors: {', '.join(sorted(extractors))}."
        for name, names in after.items()
        if unknown(names, extractors)
    ]
    mistakes += [
        f"{NAMESPACE}:extractors.{circle[0]}.after is {json.dumps(after[circle[0]])}; allowed are "
        f"jobs that do not wait for each other, unlike {' after '.join(circle)}."
        for circle in circles(after)
    ]
    if mistakes:
        raise ConfigurationError("\n".join(mistakes))


def _check_quota(config: StackConfig) -> None:
    of_scheduler = int(config.scheduler.host is SchedulerHost.CONTAINER)
    groups = len(config.extractors) + of_scheduler
    limit = config.policies.container_groups
    if groups > limit:
        raise ConfigurationError(
            f"{NAMESPACE}:extractors has {len(config.extractors)} extractors, which with the "
            f"scheduler make {groups} container groups; allowed is at most {limit}: that is "
            f"Azure's quota for a subscription in a region unless it was raised; then set "
            f"{NAMESPACE}:policies.containerGroups."
        )


def _found(folder: Path) -> str:
    return ", ".join(sorted(path.parent.name for path in folder.glob("*/Dockerfile"))) or "none yet"
