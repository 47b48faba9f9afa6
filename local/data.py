"""What has landed in the lake and what the tables say, read from this machine with Azure's SDKs."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from azure.data.tables import TableServiceClient
from azure.storage.filedatalake import DataLakeServiceClient, FileSystemClient

from extractor.runtime.records import RUNS_TABLE, Run
from local.plugin.storage import PlatformCredential
from local.settings import Settings
from scheduler.job import Job
from scheduler.tables import TableStore


@dataclass(frozen=True)
class Landed:
    """The files of one run.

    Args:
        path: their folder in the lake.
        manifest: what the run wrote about them.
        head: the first rows.
    """

    path: str
    manifest: Mapping[str, Any]
    head: pa.Table


class StackData:
    """Tables and lake of a local stack.

    Args:
        settings: the stack.
        outputs: the outputs of its program.
    """

    def __init__(self, settings: Settings, outputs: Mapping[str, Any]) -> None:
        credential = PlatformCredential(settings)
        bundle = str(settings.certificate_bundle)
        self.tables = TableServiceClient(
            f"{settings.azure_url()}/tables/{outputs['tablesAccount']}",
            credential=credential,
            connection_verify=bundle,
        )
        self.lake: FileSystemClient = DataLakeServiceClient(
            f"{settings.azure_url()}/{outputs['lakeAccount']}",
            credential=credential,
            connection_verify=bundle,
        ).get_file_system_client(outputs["lakeFileSystem"])

    def store(self) -> TableStore:
        """The tables as the scheduler sees them, for what operators do."""
        return TableStore(self.tables)

    def jobs(self) -> list[Job]:
        """All jobs, by name."""
        return sorted(self.store().jobs(), key=lambda job: job.name)

    def runs(self) -> list[Run]:
        """All runs, newest first."""
        entities = self.tables.get_table_client(RUNS_TABLE).list_entities()
        return sorted(map(Run.from_entity, entities), key=lambda run: run.created_at, reverse=True)

    def landed(self, path: str, rows: int = 5) -> Landed:
        """What is in a folder of the lake, with its first rows."""
        manifest = json.loads(self.read(f"{path}/manifest.json"))
        return Landed(path, manifest, self._head(path, manifest["files"], rows))

    def rows(self, path: str) -> int:
        """Rows of a folder's files, counted in the files."""
        manifest = json.loads(self.read(f"{path}/manifest.json"))
        return sum(self._table(path, each).num_rows for each in manifest["files"])

    def read(self, path: str) -> bytes:
        """A file's content."""
        return self.lake.get_file_client(path).download_file().readall()

    def _head(self, path: str, files: Sequence[Mapping[str, Any]], rows: int) -> pa.Table:
        tables: list[pa.Table] = []
        for each in files:
            if sum(table.num_rows for table in tables) >= rows:
                break
            tables.append(self._table(path, each))
        return pa.concat_tables(tables).slice(0, rows) if tables else pa.table({})

    def _table(self, path: str, file: Mapping[str, Any]) -> pa.Table:
        table = pq.read_table(io.BytesIO(self.read(f"{path}/{file['path']}")))
        # The date is in the folder's name alone.
        day = str(file["path"]).partition("/")[0].partition("=")[2]
        return table.add_column(0, "date", pa.array([day] * table.num_rows, pa.string()))
