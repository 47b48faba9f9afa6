"""The scheduler's settings, from its environment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Self

from azure.core.credentials import TokenCredential
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential
from pydantic import BaseModel, ConfigDict, Field, Json

from scheduler.capacity import DEFAULT_LIMITS, Limits
from scheduler.containers import AZURE_RESOURCE_MANAGER, AzureContainerGroups
from scheduler.history import Price
from scheduler.retention import Retention
from scheduler.shared import OneAtATime
from scheduler.tables import TableStore
from scheduler.tick import Scheduler

Positive = Annotated[int, Field(ge=1)]


class Settings(BaseModel):
    """Variables that the deployment sets, by their names in lower case.

    Args:
        tables_endpoint: of the tables ``jobs`` and ``runs``.
        subscription_id: of the container groups.
        resource_group: of the container groups.
        azure_client_id: of the identity to use; without it, azure-identity looks for one.
        azure_resource_manager_endpoint: where Azure Resource Manager is.
        retention_days: for how long rows of ``runs`` and ``audit`` are kept.
        price: what containers cost, as JSON; without it no run says what it cost.
        tick_seconds: seconds between two ticks of a scheduler that is a container.
        max_running: containers that run at once, see :class:`~scheduler.capacity.Limits`.
        starts_per_five_minutes: starts of containers in any five minutes.
        starts_per_hour: starts of containers in any hour.
        workers: jobs that a tick attends to at once, each by a thread with connections of its own.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    tables_endpoint: str
    subscription_id: str
    resource_group: str
    azure_client_id: str | None = None
    azure_resource_manager_endpoint: str = AZURE_RESOURCE_MANAGER
    retention_days: Positive = 90
    price: Json[Price] | None = None
    tick_seconds: Positive = 60
    max_running: Positive = DEFAULT_LIMITS.max_running
    starts_per_five_minutes: Positive = DEFAULT_LIMITS.starts_per_five_minutes
    starts_per_hour: Positive = DEFAULT_LIMITS.starts_per_hour
    workers: Positive = 16

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Read the environment.

        Raises:
            pydantic.ValidationError: a variable is missing or wrong.
        """
        return cls.model_validate({name.lower(): value for name, value in environment.items()})

    def credential(self) -> TokenCredential:
        """What the scheduler is, to Azure."""
        if self.azure_client_id:
            return ManagedIdentityCredential(client_id=self.azure_client_id)
        return DefaultAzureCredential()

    def scheduler(self) -> Scheduler:
        """A scheduler on Azure's services."""
        credential = OneAtATime(self.credential())
        store = TableStore.connect(self.tables_endpoint, credential)
        return Scheduler(
            store=store,
            groups=AzureContainerGroups.connect(
                credential,
                self.subscription_id,
                self.resource_group,
                self.azure_resource_manager_endpoint,
            ),
            retention=Retention(store, timedelta(days=self.retention_days)),
            limits=Limits(self.max_running, self.starts_per_five_minutes, self.starts_per_hour),
            workers=self.workers,
        )
