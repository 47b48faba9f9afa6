"""Rows to Parquet files, one folder for each date, in bounded memory."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

PARTITION_COLUMN = "date"
"""The column of type ``date32`` by whose value rows are put into folders ``date=YYYY-MM-DD``.

Files do not have it: engines that read a partitioned folder take it from the folder's name, and
some refuse a column that is in both."""

BUFFER_BYTES = 128 * 1024 * 1024
"""How much may wait in memory, in bytes of Arrow, before it is written."""


class RowsError(ValueError):
    """What an extractor yielded cannot be stored; the text says why."""


@dataclass(frozen=True)
class Part:
    """A written Parquet file.

    Args:
        path: below the window's folder.
        rows: in the file.
        bytes: its size.
        sha256: of its content, hexadecimal.
    """

    path: str
    rows: int
    bytes: int
    sha256: str


@dataclass
class PartWriter:
    """Collects rows by date and writes them to files below a local folder.

    A date that is complete before the buffer is full has one file, ``part-0.parquet``; a larger one
    has several. Whoever calls takes the written files away between two calls.

    Args:
        folder: local, exists.
        buffer_bytes: see ``BUFFER_BYTES``.
    """

    folder: Path
    buffer_bytes: int = BUFFER_BYTES
    _schema: pa.Schema | None = None
    _waiting: dict[date, list[pa.Table]] = field(default_factory=lambda: defaultdict(list))
    _waiting_bytes: int = 0
    _parts: dict[date, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, rows: pa.Table | pa.RecordBatch) -> list[Part]:
        """Take rows in.

        Returns:
            The files that this wrote: none until the buffer is full.

        Raises:
            RowsError: no column ``date``, a null in it, or other columns than the rows before.
        """
        table = pa.Table.from_batches([rows]) if isinstance(rows, pa.RecordBatch) else rows
        self._check(table)
        for day, part in _by_date(table):
            self._waiting[day].append(part)
        self._waiting_bytes += table.nbytes
        return self.flush() if self._waiting_bytes >= self.buffer_bytes else []

    def flush(self) -> list[Part]:
        """Write all rows that wait.

        All dates at once: slices of one table share its memory, which is free only when the last of
        them is gone.
        """
        waiting, self._waiting = self._waiting, defaultdict(list)
        self._waiting_bytes = 0
        return [self._write(day, pa.concat_tables(waiting[day])) for day in sorted(waiting)]

    def _check(self, table: object) -> None:
        if not isinstance(table, pa.Table):
            raise RowsError(
                f"extract yielded a {type(table).__name__}; allowed are pyarrow.Table and "
                "pyarrow.RecordBatch."
            )
        schema = table.schema
        self._schema = self._schema or _partitioned(schema)
        if schema != self._schema:
            raise RowsError(
                f"All tables that extract yields must have the same columns; the first one had "
                f"{_columns(self._schema)}, a later one {_columns(schema)}."
            )
        if table.column(PARTITION_COLUMN).null_count:
            raise RowsError(f"The column {PARTITION_COLUMN!r} has a null; every row needs a date.")

    def _write(self, day: date, table: pa.Table) -> Part:
        path = f"{PARTITION_COLUMN}={day.isoformat()}/part-{self._parts[day]}.parquet"
        self._parts[day] += 1
        file = self.folder / path
        file.parent.mkdir(exist_ok=True)
        pq.write_table(table, file, compression="zstd")
        return Part(path, table.num_rows, file.stat().st_size, _sha256(file))


def _partitioned(schema: pa.Schema) -> pa.Schema:
    index = schema.get_field_index(PARTITION_COLUMN)
    if index < 0 or schema.field(index).type != pa.date32():
        raise RowsError(
            f"Tables need one column {PARTITION_COLUMN!r} of type date32 and at least one other; "
            f"this one has {_columns(schema)}."
        )
    return schema


def _columns(schema: pa.Schema) -> str:
    return ", ".join(f"{each.name} {each.type}" for each in schema) or "no columns"


def _by_date(table: pa.Table) -> Iterator[tuple[date, pa.Table]]:
    """The table's rows of each date, in their order, without the column."""
    # For one slice of each date in place of one for each change of date. The sort is stable.
    ordered = table if _sorted(table) else table.sort_by(PARTITION_COLUMN)
    rest = ordered.drop_columns([PARTITION_COLUMN])
    runs = pc.run_end_encode(ordered.column(PARTITION_COLUMN).combine_chunks())
    begin = 0
    for end, day in zip(runs.run_ends.to_pylist(), runs.values.to_pylist(), strict=True):
        yield day, rest.slice(begin, end - begin)
        begin = end


def _sorted(table: pa.Table) -> bool:
    days = table.column(PARTITION_COLUMN)
    return bool(pc.all(pc.less_equal(days.slice(0, max(len(days) - 1, 0)), days.slice(1))).as_py())


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
