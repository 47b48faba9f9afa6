from __future__ import annotations

import hashlib
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from extractor.runtime.parts import Part, PartWriter, RowsError, _by_date


def table(*rows: tuple[str | None, int]) -> pa.Table:
    """Rows of a day and a number."""
    days = [None if day is None else date.fromisoformat(day) for day, _ in rows]
    numbers = pa.array([number for _, number in rows], pa.int64())
    return pa.table({"date": pa.array(days, pa.date32()), "number": numbers})


def numbers(folder: Path, part: Part) -> list[int]:
    content: list[int] = pq.read_table(folder / part.path).to_pydict()["number"]
    return content


def test_rows_are_put_by_date_in_the_order_they_came(tmp_path: Path) -> None:
    writer = PartWriter(tmp_path)
    assert writer.add(table(("2020-01-02", 3), ("2020-01-01", 1), ("2020-01-02", 2))) == []
    assert writer.add(table(("2020-01-01", 9))) == []
    first, second = writer.flush()
    assert first.path == "date=2020-01-01/part-0.parquet"
    assert second.path == "date=2020-01-02/part-0.parquet"
    assert (first.rows, second.rows) == (2, 2)
    assert numbers(tmp_path, first) == [1, 9]
    assert numbers(tmp_path, second) == [3, 2]


def test_shuffled_dates_make_one_slice_each() -> None:
    shuffled = table(*((f"2020-01-0{1 + number % 3}", number) for number in range(9)))
    slices = {day.day: part.to_pydict()["number"] for day, part in _by_date(shuffled)}
    assert slices == {1: [0, 3, 6], 2: [1, 4, 7], 3: [2, 5, 8]}
    assert len(list(_by_date(shuffled))) == 3


def test_a_part_knows_its_file(tmp_path: Path) -> None:
    writer = PartWriter(tmp_path)
    writer.add(table(("2020-01-01", 1)))
    (part,) = writer.flush()
    content = (tmp_path / part.path).read_bytes()
    assert part.bytes == len(content)
    assert part.sha256 == hashlib.sha256(content).hexdigest()


def test_the_partition_column_is_in_the_folders_name_only(tmp_path: Path) -> None:
    writer = PartWriter(tmp_path)
    writer.add(table(("2020-01-01", 1)))
    (part,) = writer.flush()
    assert pq.read_schema(tmp_path / part.path).names == ["number"]


def test_a_full_buffer_is_written_and_the_date_goes_on_in_another_part(tmp_path: Path) -> None:
    rows = table(("2020-01-01", 1), ("2020-01-01", 2))
    writer = PartWriter(tmp_path, buffer_bytes=rows.nbytes * 2)
    assert writer.add(rows) == []
    (first,) = writer.add(rows)
    assert writer.add(rows) == []
    (second,) = writer.flush()
    assert (first.path, first.rows) == ("date=2020-01-01/part-0.parquet", 4)
    assert (second.path, second.rows) == ("date=2020-01-01/part-1.parquet", 2)
    assert writer.flush() == []


def test_batches_and_tables_without_rows_are_taken(tmp_path: Path) -> None:
    writer = PartWriter(tmp_path)
    writer.add(table())
    writer.add(table(("2020-01-01", 1)).to_batches()[0])
    assert [part.rows for part in writer.flush()] == [1]


def test_a_table_of_several_chunks_is_taken(tmp_path: Path) -> None:
    writer = PartWriter(tmp_path)
    writer.add(pa.concat_tables([table(("2020-01-02", 1)), table(("2020-01-01", 2))]))
    assert [numbers(tmp_path, part) for part in writer.flush()] == [[2], [1]]


def test_the_schemas_metadata_may_differ(tmp_path: Path) -> None:
    writer = PartWriter(tmp_path)
    writer.add(table(("2020-01-01", 1)).replace_schema_metadata({"made": "now"}))
    writer.add(table(("2020-01-01", 2)).replace_schema_metadata({"made": "later"}))
    assert [part.rows for part in writer.flush()] == [2]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (pa.table({"number": [1]}), "'date' of type date32 .* this one has number int64"),
        (pa.table({"date": ["2020-01-01"]}), "this one has date string"),
        (table((None, 1)), "'date' has a null"),
        ({"date": []}, "yielded a dict; allowed are pyarrow.Table and pyarrow.RecordBatch"),
    ],
)
def test_rows_that_cannot_be_stored_are_refused(
    tmp_path: Path, rows: object, sentence: str
) -> None:
    with pytest.raises(RowsError, match=sentence):
        PartWriter(tmp_path).add(rows)


def test_other_columns_than_before_are_refused(tmp_path: Path) -> None:
    writer = PartWriter(tmp_path)
    writer.add(table(("2020-01-01", 1)))
    later = table(("2020-01-01", 1)).cast(
        pa.schema([("date", pa.date32()), ("number", pa.float64())])
    )
    with pytest.raises(RowsError, match=r"had date date32.*, number int64, a later .* double"):
        writer.add(later)
