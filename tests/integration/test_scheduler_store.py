"""The contract of stores on the local stack's tables, with clients and tokens as in Azure."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from azure.data.tables import TableClient, TableServiceClient
from azure.identity import ManagedIdentityCredential

from extractor.runtime.azure import AzureRunStore
from extractor.runtime.records import JOBS_TABLE, RUNS_TABLE
from local.azure.identity import TOKEN_PATH, identity_header
from local.settings import Settings
from scheduler.audit import AUDIT_TABLE
from scheduler.shared import OneAtATime, PerThread
from scheduler.tables import TableStore
from tests.unit.scheduler.store_contract import Backend, StoreContract

CLIENT_ID = "3c1f2b64-7a2c-4d0a-8f5e-5a1d0c9e7b21"
TABLES = (JOBS_TABLE, RUNS_TABLE, AUDIT_TABLE)
PAGE = 1000
"""Of Azure and of Azurite."""


@dataclass(frozen=True)
class Renamed:
    """Tables of other names, out of the way of a deployed stack's."""

    service: TableServiceClient
    prefix: str

    def get_table_client(self, name: str) -> TableClient:
        return self.service.get_table_client(self.prefix + name)


class TestAzurite(StoreContract):
    @pytest.fixture
    def backend(self, local_stack: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
        """Empty tables."""
        monkeypatch.setenv("IDENTITY_ENDPOINT", local_stack.platform_url() + TOKEN_PATH)
        monkeypatch.setenv("IDENTITY_HEADER", identity_header(local_stack))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(local_stack.certificate_bundle))
        endpoint = f"{local_stack.azure_url()}/tables/contract/"
        with (
            ManagedIdentityCredential(client_id=CLIENT_ID) as credential,
            TableServiceClient(
                endpoint, credential=OneAtATime(credential), transport=PerThread()
            ) as service,
        ):
            tables: Any = Renamed(service, f"test{uuid.uuid4().hex}")
            for table in TABLES:
                service.create_table(tables.prefix + table)
            yield Backend(TableStore(tables), AzureRunStore(tables), PAGE)
            for table in TABLES:
                service.delete_table(tables.prefix + table)
