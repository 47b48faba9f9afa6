"""The Data Lake interface on top of Azurite's blobs.

What a reader sees changes in single steps of Azurite: a file exists and is empty from its creation
to its flush, and has its whole content after it. A rename copies, which Azurite does at once and
without moving bytes, and only then deletes: a crash between the two leaves the complete file under
both names. A directory is renamed file by file, which the real service does at once.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import httpx

from local.azure import dfs
from local.azure.azurite import Azurite, Service
from local.azure.dfs import DataLakeError, Path

MAX_LIST_RESULTS = 5000
"""Most paths in one response, as the service has it."""

_CLIENT_ERROR = 400
_NOT_FOUND = 404


@dataclass
class DataLake:
    """The paths of the storage accounts of one Azurite.

    Changes to one account happen one after another, but for the transfer of appended bytes.
    """

    azurite: Azurite
    _locks: dict[str, asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock), init=False, repr=False
    )

    def changing(self, account: str) -> asyncio.Lock:
        """Held while the account's paths change."""
        return self._locks[account]

    async def create(
        self, path: Path, headers: Mapping[str, str], *, directory: bool
    ) -> httpx.Headers:
        """Make an empty file, also in place of one that exists, or a directory.

        Committing an empty block list, rather than putting an empty blob, also drops the bytes that
        a writer before may have appended and never flushed.
        """
        existing = await self._properties(path)
        if existing is not None and dfs.is_folder(existing) != directory:
            raise dfs.path_conflict(path)
        await self._create_parents(path)
        properties = dfs.blob_properties(headers) | dfs.conditions(headers)
        if directory:
            properties |= {dfs.FOLDER_METADATA: "true"}
        return await self._put_block_list(path, dfs.block_list(), properties)

    async def append(
        self, path: Path, headers: Mapping[str, str], position: int, body: AsyncIterator[bytes]
    ) -> httpx.Headers:
        """Keep bytes that a later flush makes part of the file."""
        await self._file(path)
        wanted = ("content-length", "content-md5", "x-ms-lease-id")
        return await self._put_block(
            path, position, {name: headers[name] for name in wanted if name in headers}, body
        )

    async def flush(self, path: Path, headers: Mapping[str, str], position: int) -> httpx.Headers:
        """Make appended bytes part of the file, all at once."""
        present = await self._file(path)
        blocks = await self._blocks(path)
        if blocks.committed_length != int(present["content-length"]):
            # A blob client put the content whole; to be appended to, it has to be a block.
            await self._content_to_block(path, present)
            blocks = dfs.Blocks(uncommitted=(await self._blocks(path)).uncommitted)
        document = dfs.committed_by_flush(blocks, position)
        properties = dfs.kept_properties(present) | dfs.blob_properties(headers)
        return await self._put_block_list(path, document, properties | dfs.conditions(headers))

    async def rename(self, source: Path, target: Path, headers: Mapping[str, str]) -> httpx.Headers:
        """Give a file or directory another name, in place of a file that has it.

        Raises:
            DataLakeError: no source, no parent directory for the target, a target of another kind
                or a non-empty directory, or a condition that does not hold.
        """
        properties = await self._properties(source)
        if properties is None:
            raise DataLakeError(
                404,
                "SourcePathNotFound",
                f"The source path for a rename operation does not exist: {source}.",
            )
        directory = dfs.is_folder(properties)
        await self._check_target(target, directory=directory)
        if directory and target.name.startswith(source.prefix):
            raise DataLakeError(
                409, "InvalidRenameSourcePath", f"{source} cannot move into itself, to {target}."
            )
        below = await self._below(source) if directory else []
        for entry in below:
            path = Path(source.file_system, entry.name)
            await self._copy(path, path.moved(source, target), {})
        conditions = dfs.conditions(headers) | dfs.source_conditions(headers)
        copied = await self._copy(source, target, conditions)
        if source != target:
            for entry in reversed(below):
                await self._delete_blob(Path(source.file_system, entry.name), {})
            await self._delete_blob(source, {})
        return copied

    async def delete(
        self, path: Path, headers: Mapping[str, str], *, recursive: bool
    ) -> httpx.Headers:
        """Delete a file, or a directory with all that is in it if ``recursive``."""
        properties = await self._properties(path)
        if properties is not None and not dfs.is_folder(properties):
            return await self._delete_blob(path, dfs.conditions(headers))
        below = await self._below(path)
        if properties is None and not below:
            raise dfs.path_not_found(path)
        if below and not recursive:
            raise dfs.directory_not_empty(path)
        for entry in reversed(below):
            await self._delete_blob(Path(path.file_system, entry.name), {})
        if properties is None:
            return httpx.Headers()
        return await self._delete_blob(path, dfs.conditions(headers))

    async def paths(self, directory: Path, *, recursive: bool) -> list[dfs.Entry]:
        """All paths below ``directory``."""
        below = await self._below(directory)
        if directory.name and not below and not await self._is_directory(directory):
            raise dfs.path_not_found(directory)
        return dfs.children(below, directory, recursive=recursive)

    async def properties(self, path: Path) -> httpx.Headers:
        """The blob properties of a path.

        Raises:
            DataLakeError: there is no such path.
        """
        properties = await self._properties(path)
        if properties is None:
            raise dfs.path_not_found(path)
        return properties

    # What a path is

    async def _file(self, path: Path) -> httpx.Headers:
        properties = await self.properties(path)
        if dfs.is_folder(properties):
            raise dfs.path_conflict(path)
        return properties

    async def _is_directory(self, path: Path) -> bool:
        if not path.name:
            return True
        properties = await self._properties(path)
        if properties is not None:
            return dfs.is_folder(properties)
        return bool(await self._below(path))

    async def _create_parents(self, path: Path) -> None:
        """Make the directories above ``path``, as the service does."""
        for parent in reversed(path.parents):
            properties = await self._properties(parent)
            if properties is None:
                await self._put_block_list(parent, dfs.block_list(), {dfs.FOLDER_METADATA: "true"})
            elif dfs.is_folder(properties):
                return  # the ones further up exist as well
            else:
                raise dfs.path_conflict(parent)

    async def _check_target(self, target: Path, *, directory: bool) -> None:
        if target.parents and not await self._is_directory(target.parents[-1]):
            raise DataLakeError(
                404,
                "RenameDestinationParentPathNotFound",
                f"The parent directory of the destination path does not exist: {target}.",
            )
        properties = await self._properties(target)
        if properties is None:
            return
        if dfs.is_folder(properties) != directory:
            raise dfs.path_conflict(target)
        if directory and await self._below(target):
            raise DataLakeError(
                409, "PathAlreadyExists", f"The destination is a non-empty directory: {target}."
            )

    # Calls of Azurite

    async def _properties(self, path: Path) -> httpx.Headers | None:
        response = await self.azurite.send("HEAD", Service.BLOB, path.encoded)
        if response.status_code == _NOT_FOUND:
            if response.headers.get("x-ms-error-code") == "ContainerNotFound":
                _raise_for_status(response)
            return None
        return _raise_for_status(response).headers

    async def _below(self, directory: Path) -> list[dfs.Entry]:
        container = Path(directory.file_system, "").encoded
        entries: list[dfs.Entry] = []
        marker = ""
        while True:
            query = httpx.QueryParams(
                restype="container", comp="list", include="metadata",
                prefix=directory.prefix, marker=marker,
            )  # fmt: skip
            response = await self.azurite.send("GET", Service.BLOB, container, str(query))
            found, marker = dfs.parse_blob_list(_raise_for_status(response).content)
            entries += found
            if not marker:
                return entries

    async def _blocks(self, path: Path) -> dfs.Blocks:
        query = "comp=blocklist&blocklisttype=all"
        response = await self.azurite.send("GET", Service.BLOB, path.encoded, query)
        return dfs.Blocks.parse(_raise_for_status(response).content)

    async def _put_block(
        self,
        path: Path,
        position: int,
        headers: Mapping[str, str],
        body: AsyncIterator[bytes],
    ) -> httpx.Headers:
        query = httpx.QueryParams(comp="block", blockid=dfs.block_id(position))
        response = await self.azurite.send(
            "PUT", Service.BLOB, path.encoded, str(query), headers=headers, content=body
        )
        return _raise_for_status(response).headers

    async def _content_to_block(self, path: Path, present: httpx.Headers) -> None:
        content = await self.azurite.stream("GET", Service.BLOB, path.encoded)
        try:
            length = {"content-length": present["content-length"]}
            await self._put_block(path, 0, length, content.aiter_raw())
        finally:
            await content.aclose()

    async def _put_block_list(
        self, path: Path, document: bytes, headers: Mapping[str, str]
    ) -> httpx.Headers:
        response = await self.azurite.send(
            "PUT", Service.BLOB, path.encoded, "comp=blocklist", headers=headers, content=document
        )
        return _raise_for_status(response).headers

    async def _copy(self, source: Path, target: Path, headers: Mapping[str, str]) -> httpx.Headers:
        address = str(self.azurite.url(Service.BLOB, source.encoded))
        response = await self.azurite.send(
            "PUT",
            Service.BLOB,
            target.encoded,
            headers={**headers, "x-ms-copy-source": address, "content-length": "0"},
        )
        return _raise_for_status(response).headers

    async def _delete_blob(self, path: Path, headers: Mapping[str, str]) -> httpx.Headers:
        response = await self.azurite.send("DELETE", Service.BLOB, path.encoded, headers=headers)
        return _raise_for_status(response).headers


def _raise_for_status(response: httpx.Response) -> httpx.Response:
    if response.status_code >= _CLIENT_ERROR:
        code = response.headers.get("x-ms-error-code", "")
        raise dfs.from_blob_error(response.status_code, code)
    return response
