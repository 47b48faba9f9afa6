"""The translation of the Data Lake interface into blobs."""

from __future__ import annotations

import json

import pytest

from local.azure import dfs
from local.azure.dfs import Block, Blocks, DataLakeError, Entry, Operation, Path

FILE = Path("lake", "raw/weather/part.parquet")


def appended(*pieces: tuple[int, int]) -> list[Block]:
    """Uncommitted blocks of the given positions and sizes."""
    return [Block(dfs.block_id(position), size) for position, size in pieces]


@pytest.mark.parametrize(
    ("method", "path", "query", "expected"),
    [
        ("PUT", FILE, {"resource": "file"}, Operation.CREATE),
        ("PUT", FILE, {"resource": "directory"}, Operation.CREATE),
        ("PUT", FILE, {"mode": "legacy"}, Operation.RENAME),
        ("PATCH", FILE, {"action": "append", "position": "0"}, Operation.APPEND),
        ("PATCH", FILE, {"action": "flush", "position": "0"}, Operation.FLUSH),
        ("DELETE", FILE, {}, Operation.DELETE),
        ("DELETE", FILE, {"recursive": "true"}, Operation.DELETE),
        ("HEAD", FILE, {"action": "getAccessControl"}, Operation.ACCESS_CONTROL),
        ("GET", Path("lake", ""), {"resource": "filesystem"}, Operation.LIST),
        ("GET", FILE, {}, None),
        ("HEAD", FILE, {}, None),
        ("PUT", FILE, {}, None),
        ("PUT", FILE, {"comp": "block", "blockid": "AAAA"}, None),
        ("DELETE", FILE, {"snapshot": "2026-01-01"}, None),
        ("DELETE", Path("lake", ""), {"restype": "container"}, None),
        ("GET", Path("lake", ""), {"restype": "container", "comp": "list"}, None),
    ],
)
def test_requests_of_the_two_interfaces_are_told_apart(
    method: str, path: Path, query: dict[str, str], expected: Operation | None
) -> None:
    assert dfs.operation(method, path, query) is expected


def test_a_path_survives_percent_encoding() -> None:
    path = Path.parse("/lake/a%20b/%C3%A9%2Bx%25.csv/")
    assert path == Path("lake", "a b/é+x%.csv")
    assert Path.parse(path.encoded) == path


def test_parents_of_a_path() -> None:
    assert [parent.name for parent in FILE.parents] == ["raw", "raw/weather"]
    assert Path("lake", "top").parents == []


def test_a_rename_source_loses_its_signature_and_has_to_be_a_path() -> None:
    assert dfs.rename_source("/lake/a/b?sig=x") == Path("lake", "a/b")
    with pytest.raises(DataLakeError, match="'/lake'"):
        dfs.rename_source("/lake")


def test_block_ids_have_one_length_and_name_their_position() -> None:
    positions = [0, 1, 2**63 - 1]
    identifiers = [dfs.block_id(position) for position in positions]
    assert len({len(identifier) for identifier in identifiers}) == 1
    assert [dfs.block_position(identifier) for identifier in identifiers] == positions
    assert dfs.block_position("YmxvY2s=") is None
    assert dfs.block_position("not base64") is None


def test_a_flush_commits_appended_blocks_behind_the_content_in_order_of_position() -> None:
    old = Block("b2xk", 4)
    blocks = Blocks(committed=[old], uncommitted=appended((7, 2), (4, 3)))
    document = dfs.committed_by_flush(blocks, 9).decode()
    assert document == (
        f"<BlockList><Committed>{old.id}</Committed><Uncommitted>{dfs.block_id(4)}</Uncommitted>"
        f"<Uncommitted>{dfs.block_id(7)}</Uncommitted></BlockList>"
    )


def test_a_flush_leaves_out_blocks_of_blob_clients() -> None:
    blocks = Blocks(uncommitted=[*appended((0, 3)), Block("YmxvY2s=", 8)])
    assert b"YmxvY2s=" not in dfs.committed_by_flush(blocks, 3)


@pytest.mark.parametrize(
    ("pieces", "position"),
    [
        ([(0, 5)], 4),
        ([(0, 5)], 6),
        ([(1, 5)], 5),
        ([(1, 5)], 6),
        ([(0, 5), (6, 1)], 6),
        ([(0, 5), (6, 1)], 7),
        ([(0, 5), (4, 2)], 7),
        ([], 1),
    ],
)
def test_a_flush_with_a_gap_or_another_length_is_refused(
    pieces: list[tuple[int, int]], position: int
) -> None:
    with pytest.raises(DataLakeError) as caught:
        dfs.committed_by_flush(Blocks(uncommitted=appended(*pieces)), position)
    assert (caught.value.status, caught.value.code) == (400, "InvalidFlushPosition")


def test_the_block_list_of_the_blob_service_is_read() -> None:
    document = b"""<?xml version="1.0"?><BlockList><CommittedBlocks><Block><Name>QQ==</Name>
    <Size>3</Size></Block></CommittedBlocks><UncommittedBlocks><Block><Name>Qg==</Name>
    <Size>5</Size></Block></UncommittedBlocks></BlockList>"""
    blocks = Blocks.parse(document)
    assert blocks == Blocks([Block("QQ==", 3)], [Block("Qg==", 5)])
    assert blocks.committed_length == 3


def test_properties_become_headers_of_blobs() -> None:
    headers = {"x-ms-properties": "a=MQ==,b=w6k=", "x-ms-content-type": "text/csv", "if-match": "1"}
    assert dfs.blob_properties(headers) == {
        "x-ms-blob-content-type": "text/csv",
        "x-ms-meta-a": "1",
        "x-ms-meta-b": "é",
    }
    assert dfs.conditions(headers) == {"if-match": "1"}
    with pytest.raises(DataLakeError, match="'a'"):
        dfs.blob_properties({"x-ms-properties": "a=?"})


def test_a_flush_keeps_the_properties_of_its_file() -> None:
    present = {"content-type": "text/csv", "x-ms-meta-a": "1", "etag": "1", "content-length": "0"}
    assert dfs.kept_properties(present) == {
        "x-ms-blob-content-type": "text/csv",
        "x-ms-meta-a": "1",
    }


def test_a_list_has_the_directories_that_blobs_imply() -> None:
    entries = [Entry("a-b", False, 1), Entry("a/b/c", False, 2), Entry("a/d", False, 3)]
    root = Path("lake", "")
    names = [(entry.name, entry.directory) for entry in dfs.children(entries, root, recursive=True)]
    assert names == [
        ("a", True),
        ("a-b", False),
        ("a/b", True),
        ("a/b/c", False),
        ("a/d", False),
    ]
    flat = dfs.children(entries, root, recursive=False)
    assert [entry.name for entry in flat] == ["a", "a-b"]
    below = dfs.children(entries[1:], Path("lake", "a"), recursive=False)
    assert [entry.name for entry in below] == ["a/b", "a/d"]


def test_pages_follow_on_without_gap_or_overlap() -> None:
    entries = [Entry(f"é{number:02d}", False) for number in range(7)]
    seen: list[str] = []
    token = ""
    while True:
        page = dfs.page(entries, after=token, limit=3)
        seen += [entry.name for entry in page.entries]
        token = page.continuation
        if not token:
            break
    assert seen == [entry.name for entry in entries]
    with pytest.raises(DataLakeError, match="no token"):
        dfs.page(entries, after="x", limit=3)


def test_a_page_in_json() -> None:
    entry = Entry("d", True, etag='"0x1"', last_modified="Tue, 24 Nov 2026 17:00:00 GMT")
    paths = json.loads(dfs.Page([entry]).to_json())["paths"]
    assert paths[0]["name"] == "d"
    assert paths[0]["isDirectory"] == "true"
    assert paths[0]["eTag"] == "0x1"
    assert "isDirectory" not in Entry("f", False).to_json()


def test_the_list_of_the_blob_service_is_read() -> None:
    document = b"""<?xml version="1.0"?><EnumerationResults><Blobs><Blob><Name>a</Name><Properties>
    <Content-Length>0</Content-Length><Etag>0x1</Etag><Last-Modified>now</Last-Modified></Properties>
    <Metadata><hdi_isfolder>true</hdi_isfolder></Metadata></Blob></Blobs><NextMarker>m</NextMarker>
    </EnumerationResults>"""
    assert dfs.parse_blob_list(document) == ([Entry("a", True, 0, "0x1", "now")], "m")


def test_blob_errors_get_their_data_lake_codes() -> None:
    assert dfs.from_blob_error(404, "BlobNotFound").code == "PathNotFound"
    assert dfs.from_blob_error(409, "BlobAlreadyExists").code == "PathAlreadyExists"
    assert dfs.from_blob_error(412, "ConditionNotMet").code == "ConditionNotMet"
