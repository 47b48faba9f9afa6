"""Data Lake Storage in terms of blobs: the translation, without I/O.

Azurite has no Data Lake endpoint. A path of the lake is kept as a block blob of the same name, and
a directory as an empty blob with the metadata ``hdi_isfolder``, which is how Azure itself shows a
directory to blob clients. Appended bytes are uncommitted blocks named after their position; a flush
commits them.

Protocol: https://learn.microsoft.com/rest/api/storageservices/datalakestoragegen2/path
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote, unquote
from xml.etree import ElementTree as ET

FOLDER_METADATA = "x-ms-meta-hdi_isfolder"

_POSITION_DIGITS = 20
"""Enough for any 64-bit position: block ids of one blob must all have the same length."""

_CONTENT_HEADERS = {
    "x-ms-cache-control": "x-ms-blob-cache-control",
    "x-ms-content-type": "x-ms-blob-content-type",
    "x-ms-content-encoding": "x-ms-blob-content-encoding",
    "x-ms-content-language": "x-ms-blob-content-language",
    "x-ms-content-disposition": "x-ms-blob-content-disposition",
}
_KEPT_CONTENT_HEADERS = {
    "cache-control": "x-ms-blob-cache-control",
    "content-type": "x-ms-blob-content-type",
    "content-encoding": "x-ms-blob-content-encoding",
    "content-language": "x-ms-blob-content-language",
    "content-disposition": "x-ms-blob-content-disposition",
}
_CONDITIONS = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
_SOURCE_CONDITIONS = tuple(f"x-ms-source-{name}" for name in _CONDITIONS)

_CODES = {
    "BlobNotFound": "PathNotFound",
    "BlobAlreadyExists": "PathAlreadyExists",
    "ContainerNotFound": "FilesystemNotFound",
}


class Operation(StrEnum):
    """A call of the Data Lake interface that blobs do not have."""

    CREATE = "create"
    RENAME = "rename"
    APPEND = "append"
    FLUSH = "flush"
    DELETE = "delete"
    LIST = "list"
    ACCESS_CONTROL = "access control"


class DataLakeError(Exception):
    """A refusal in the form of the Data Lake interface.

    Args:
        status: of the HTTP response.
        code: one of the interface's error codes.
        message: one sentence.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    def to_json(self) -> dict[str, dict[str, str]]:
        return {"error": {"code": self.code, "message": self.message}}


def path_not_found(path: Path) -> DataLakeError:
    return DataLakeError(404, "PathNotFound", f"The specified path does not exist: {path}.")


def path_conflict(path: Path) -> DataLakeError:
    return DataLakeError(
        409,
        "PathConflict",
        f"The specified path, or an element of the path, exists and its resource type is invalid "
        f"for this operation: {path}.",
    )


def directory_not_empty(path: Path) -> DataLakeError:
    return DataLakeError(
        409,
        "DirectoryNotEmpty",
        f"The recursive query parameter must be true to delete a non-empty directory: {path}.",
    )


def from_blob_error(status: int, code: str) -> DataLakeError:
    """Azurite's refusal of a blob call, as the Data Lake interface words it."""
    return DataLakeError(
        status, _CODES.get(code, code or "InternalError"), f"The blob service answered {code}."
    )


@dataclass(frozen=True)
class Path:
    """A path of the lake, decoded.

    Args:
        file_system: name of the file system, a container of blobs.
        name: of the file or directory, without slashes at its ends; empty for the root.
    """

    file_system: str
    name: str

    @classmethod
    def parse(cls, raw: str) -> Path:
        """Read a percent-encoded path below the account."""
        file_system, _, name = raw.lstrip("/").partition("/")
        return cls(unquote(file_system), unquote(name).strip("/"))

    @property
    def encoded(self) -> str:
        """Percent-encoded, without a leading slash."""
        return quote(f"{self.file_system}/{self.name}" if self.name else self.file_system)

    @property
    def parents(self) -> list[Path]:
        """The directories above, outermost first, without the root."""
        parts = self.name.split("/")[:-1]
        return [Path(self.file_system, "/".join(parts[: count + 1])) for count in range(len(parts))]

    @property
    def prefix(self) -> str:
        """What the names of all paths below begin with."""
        return f"{self.name}/" if self.name else ""

    def moved(self, source: Path, target: Path) -> Path:
        """Where this path goes when ``source``, itself or a parent of it, becomes ``target``."""
        return Path(target.file_system, target.name + self.name[len(source.name) :])

    def __str__(self) -> str:
        return f"/{self.file_system}/{self.name}"


def operation(method: str, path: Path, query: Mapping[str, str]) -> Operation | None:
    """The Data Lake call that a request makes, or ``None`` for a call of the blob interface.

    One origin serves both interfaces, and the requests tell them apart: Data Lake's carry
    ``resource``, ``action``, ``mode`` or ``recursive``, which blobs know nothing of. Deleting a
    path without a parameter is a call of both, and means the same.
    """
    if not path.name:
        listing = method == "GET" and query.get("resource") == "filesystem"
        return Operation.LIST if listing else None
    action = query.get("action")
    calls = {
        "PUT": _put_operation(query),
        "PATCH": {"append": Operation.APPEND, "flush": Operation.FLUSH}.get(action or ""),
        "HEAD": Operation.ACCESS_CONTROL if action == "getAccessControl" else None,
        "DELETE": None if {"comp", "snapshot", "versionid"} & query.keys() else Operation.DELETE,
    }
    return calls.get(method)


def _put_operation(query: Mapping[str, str]) -> Operation | None:
    if query.get("resource") in {"file", "directory"}:
        return Operation.CREATE
    return Operation.RENAME if "mode" in query else None


def rename_source(header: str) -> Path:
    """The path in ``x-ms-rename-source``; a signature after it is the caller's and is dropped.

    Raises:
        DataLakeError: the header is no path of a file or directory.
    """
    source = Path.parse(header.partition("?")[0])
    if not source.name:
        raise DataLakeError(
            400, "InvalidSourceUri", f"x-ms-rename-source must name a path, not {header!r}."
        )
    return source


def conditions(headers: Mapping[str, str]) -> dict[str, str]:
    """The conditions and the lease under which a request changes its path."""
    return {name: headers[name] for name in (*_CONDITIONS, "x-ms-lease-id") if name in headers}


def source_conditions(headers: Mapping[str, str]) -> dict[str, str]:
    """The conditions that a rename puts on its source: Copy Blob calls them the same."""
    return {name: headers[name] for name in _SOURCE_CONDITIONS if name in headers}


def blob_properties(headers: Mapping[str, str]) -> dict[str, str]:
    """A path's properties in a Data Lake request, as headers of a blob request.

    Raises:
        DataLakeError: ``x-ms-properties`` is not ``name=<base64>`` pairs with commas between.
    """
    content = {blob: headers[name] for name, blob in _CONTENT_HEADERS.items() if name in headers}
    return content | _metadata(headers.get("x-ms-properties", ""))


def _metadata(properties: str) -> dict[str, str]:
    metadata = {}
    for pair in filter(None, properties.split(",")):
        name, _, value = pair.partition("=")
        try:
            metadata[f"x-ms-meta-{name.strip()}"] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise DataLakeError(
                400, "InvalidHeaderValue", f"x-ms-properties has an invalid value for {name!r}."
            ) from error
    return metadata


def kept_properties(headers: Mapping[str, str]) -> dict[str, str]:
    """A blob's present properties, as headers of the request that commits new blocks to it.

    Committing blocks replaces a blob's properties; a flush keeps those of its file.
    """
    content = {
        blob: headers[name] for name, blob in _KEPT_CONTENT_HEADERS.items() if name in headers
    }
    return content | {
        name: value for name, value in headers.items() if name.startswith("x-ms-meta-")
    }


def is_folder(headers: Mapping[str, str]) -> bool:
    """Whether a blob's properties are those of a directory."""
    return headers.get(FOLDER_METADATA, "").lower() == "true"


# Blocks


@dataclass(frozen=True)
class Block:
    """A block of a blob: its base64 id and its size in bytes."""

    id: str
    size: int


@dataclass(frozen=True)
class Blocks:
    """A blob's blocks: those it consists of, and those that were put since."""

    committed: Sequence[Block] = ()
    uncommitted: Sequence[Block] = ()

    @classmethod
    def parse(cls, document: bytes) -> Blocks:
        """Read the response to Get Block List."""
        root = ET.fromstring(document)  # noqa: S314 - from our own Azurite
        return cls(
            committed=[_block(item) for item in root.iterfind("CommittedBlocks/Block")],
            uncommitted=[_block(item) for item in root.iterfind("UncommittedBlocks/Block")],
        )

    @property
    def committed_length(self) -> int:
        return sum(block.size for block in self.committed)


def _block(element: ET.Element) -> Block:
    return Block(element.findtext("Name", ""), int(element.findtext("Size", "0")))


def block_id(position: int) -> str:
    """The id of the block that begins at ``position`` (bytes)."""
    return base64.b64encode(f"{position:0{_POSITION_DIGITS}d}".encode()).decode()


def block_position(identifier: str) -> int | None:
    """The inverse of :func:`block_id`; ``None`` for a block that a blob client put."""
    try:
        text = base64.b64decode(identifier, validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return int(text) if len(text) == _POSITION_DIGITS and text.isdigit() else None


def committed_by_flush(blocks: Blocks, position: int) -> bytes:
    """The block list with which a flush commits what was appended.

    Args:
        blocks: of the file.
        position: the length in bytes that the file is to have.

    Raises:
        DataLakeError: the appended bytes have a gap, or do not end at ``position``.
    """
    appended = _appended(blocks)
    end = blocks.committed_length
    for start, block in appended:
        if start != end:
            raise _invalid_flush(position)
        end += block.size
    if end != position:
        raise _invalid_flush(position)
    return block_list(blocks.committed, [block for _, block in appended])


def _appended(blocks: Blocks) -> list[tuple[int, Block]]:
    positions = ((block_position(block.id), block) for block in blocks.uncommitted)
    found = [(position, block) for position, block in positions if position is not None]
    return sorted(found, key=lambda item: item[0])


def _invalid_flush(position: int) -> DataLakeError:
    return DataLakeError(
        400,
        "InvalidFlushPosition",
        "The uploaded data is not contiguous or the position query parameter value is not equal to "
        f"the length of the file after appending the uploaded data: position={position}.",
    )


def block_list(committed: Iterable[Block] = (), uncommitted: Iterable[Block] = ()) -> bytes:
    """The body of Put Block List."""
    root = ET.Element("BlockList")
    for kind, blocks in (("Committed", committed), ("Uncommitted", uncommitted)):
        for block in blocks:
            ET.SubElement(root, kind).text = block.id
    return ET.tostring(root, encoding="unicode").encode()


# Lists of paths


@dataclass(frozen=True)
class Entry:
    """A path in a list of paths.

    Args:
        name: below the file system.
        directory: whether it is one.
        length: in bytes.
        etag: of the blob; empty for a directory that only its content implies.
        last_modified: as the blob service writes it (RFC 1123).
    """

    name: str
    directory: bool
    length: int = 0
    etag: str = ""
    last_modified: str = ""

    def to_json(self) -> dict[str, str]:
        properties = {
            "contentLength": str(self.length),
            "eTag": self.etag.strip('"'),
            "group": "$superuser",
            "lastModified": self.last_modified,
            "name": self.name,
            "owner": "$superuser",
            "permissions": "rwxr-x---" if self.directory else "rw-r-----",
        }
        if self.directory:
            properties["isDirectory"] = "true"
        return {name: value for name, value in properties.items() if value}


def parse_blob_list(document: bytes) -> tuple[list[Entry], str]:
    """Read one page of List Blobs: its paths, and the marker of the next page or nothing."""
    root = ET.fromstring(document)  # noqa: S314 - from our own Azurite
    entries = [_entry(blob) for blob in root.iterfind("Blobs/Blob")]
    return entries, root.findtext("NextMarker") or ""


def _entry(blob: ET.Element) -> Entry:
    return Entry(
        name=blob.findtext("Name", ""),
        directory=blob.findtext("Metadata/hdi_isfolder", "").lower() == "true",
        length=int(blob.findtext("Properties/Content-Length", "0")),
        etag=blob.findtext("Properties/Etag", ""),
        last_modified=blob.findtext("Properties/Last-Modified", ""),
    )


def children(entries: Iterable[Entry], directory: Path, *, recursive: bool) -> list[Entry]:
    """The paths below ``directory`` by name, with the directories that blobs alone imply."""
    found: dict[str, Entry] = {}
    for entry in entries:
        for parent in Path(directory.file_system, entry.name).parents:
            if parent.name.startswith(directory.prefix):
                found.setdefault(parent.name, Entry(parent.name, directory=True))
        found[entry.name] = entry
    below = (found[name] for name in sorted(found) if name != directory.name)
    if recursive:
        return list(below)
    return [entry for entry in below if "/" not in entry.name[len(directory.prefix) :]]


@dataclass(frozen=True)
class Page:
    """A part of a list of paths, and the token with which the next part is asked for."""

    entries: Sequence[Entry]
    continuation: str = ""

    def to_json(self) -> bytes:
        return json.dumps({"paths": [entry.to_json() for entry in self.entries]}).encode()


def page(entries: Sequence[Entry], *, after: str, limit: int) -> Page:
    """The first ``limit`` of the paths whose names sort behind ``after``, the token before."""
    name = _decoded(after)
    remaining = [entry for entry in entries if entry.name > name] if name else entries
    if len(remaining) <= limit:
        return Page(remaining)
    part = remaining[:limit]
    return Page(part, base64.urlsafe_b64encode(part[-1].name.encode()).decode())


def _decoded(token: str) -> str:
    try:
        return base64.urlsafe_b64decode(token.encode()).decode()
    except (binascii.Error, UnicodeDecodeError) as error:
        raise DataLakeError(
            400, "InvalidQueryParameterValue", f"continuation is no token of a list: {token!r}."
        ) from error
