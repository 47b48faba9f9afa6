"""The storage account: tables, blobs and Data Lake on one HTTPS origin, kept by Azurite.

``/tables/{account}/…`` is the table service and ``/{account}/…`` the blob service, which also
answers the calls of the Data Lake interface. Callers present a bearer token for storage. All
accounts of a stack share Azurite's one account, so two of them cannot have containers or tables of
one name; and no account can be called ``tables``.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime
from http import HTTPStatus
from xml.etree import ElementTree as ET

import httpx
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from local.azure import dfs
from local.azure.azurite import ACCOUNT, Azurite, Service, end_to_end
from local.azure.datalake import MAX_LIST_RESULTS, DataLake
from local.azure.dfs import DataLakeError, Operation, Path
from local.azure.identity import STORAGE_AUDIENCES, AuthenticationError, authorize

TABLES_PREFIX = "/tables/"

_METHODS = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "MERGE", "OPTIONS"]
_STORAGE_VERSION = "2021-06-08"
"""The version of the Data Lake interface that the front's own answers follow."""

_RESULT_HEADERS = ("etag", "last-modified", "x-ms-request-server-encrypted", "x-ms-version")


def routes() -> list[Route]:
    """The storage account, for an application with ``azurite``, ``lake`` and ``authority``."""
    return [
        Route(TABLES_PREFIX + "{account}", _tables, methods=_METHODS),
        Route(TABLES_PREFIX + "{account}/{rest:path}", _tables, methods=_METHODS),
        Route("/{account:account}", _blobs, methods=_METHODS),
        Route("/{account:account}/{rest:path}", _blobs, methods=_METHODS),
    ]


def unauthorized(request: Request, error: AuthenticationError) -> Response:
    """The answer to a request without a valid token, in the form of the service it was for."""
    headers = {"WWW-Authenticate": error.challenge}
    code, message = "InvalidAuthenticationInfo", str(error)
    if request.url.path.startswith(TABLES_PREFIX):
        text = {"lang": "en-US", "value": message}
        return JSONResponse({"odata.error": {"code": code, "message": text}}, 401, headers=headers)
    headers["x-ms-error-code"] = code
    root = ET.Element("Error")
    ET.SubElement(root, "Code").text = code
    ET.SubElement(root, "Message").text = message
    document = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return Response(document, 401, headers=headers, media_type="application/xml")


async def _tables(request: Request) -> Response:
    authorize(request, STORAGE_AUDIENCES)
    account, path = _account_and_path(request, TABLES_PREFIX)
    if path != "$batch":
        return await _forward(request, Service.TABLE, path)
    body = azurite_batch(await request.body(), account)
    return await _forward(request, Service.TABLE, path, body=body)


def azurite_batch(body: bytes, account: str) -> bytes:
    """The body of a batch, with the addresses of its operations as Azurite knows them."""
    base = rb"^([A-Z]+ https?://[^/\s]+)" + re.escape(f"{TABLES_PREFIX}{account}/".encode())
    return re.sub(base, rb"\1/" + ACCOUNT.encode() + b"/", body, flags=re.MULTILINE)


async def _blobs(request: Request) -> Response:
    authorize(request, STORAGE_AUDIENCES)
    account, raw = _account_and_path(request, "/")
    path = Path.parse(raw)
    operation = dfs.operation(request.method, path, request.query_params)
    if operation is None:
        return await _forward(request, Service.BLOB, raw, path=path)
    try:
        return await _data_lake(request, operation, account, path)
    except DataLakeError as error:
        headers = {"x-ms-error-code": error.code} | _identification()
        if request.method == "HEAD":
            return Response(status_code=error.status, headers=headers)
        return JSONResponse(error.to_json(), error.status, headers=headers)


def _account_and_path(request: Request, prefix: str) -> tuple[str, str]:
    """The account that a request names, and what follows it, still percent-encoded."""
    raw: str = request.scope["raw_path"].decode("ascii")
    account, _, rest = raw[len(prefix) :].partition("/")
    return account, rest


# Data Lake


async def _data_lake(request: Request, operation: Operation, account: str, path: Path) -> Response:
    lake: DataLake = request.app.state.lake
    if operation is Operation.APPEND:
        return await _append(request, lake, account, path)
    if operation is Operation.LIST:
        return await _list(request, lake, path)
    if operation is Operation.ACCESS_CONTROL:
        return _access_control(await lake.properties(path))
    async with lake.changing(account):
        return await _change(request, lake, operation, path)


async def _change(request: Request, lake: DataLake, operation: Operation, path: Path) -> Response:
    headers, query = request.headers, request.query_params
    if operation is Operation.CREATE:
        directory = query["resource"] == "directory"
        result = await lake.create(path, headers, directory=directory)
        return _done(HTTPStatus.CREATED, result)
    if operation is Operation.RENAME:
        source = dfs.rename_source(headers.get("x-ms-rename-source", ""))
        return _done(HTTPStatus.CREATED, await lake.rename(source, path, headers))
    if operation is Operation.FLUSH:
        return _done(HTTPStatus.OK, await lake.flush(path, headers, _position(query)))
    recursive = query.get("recursive", "false").lower() == "true"
    return _done(HTTPStatus.ACCEPTED, await lake.delete(path, headers, recursive=recursive))


async def _append(request: Request, lake: DataLake, account: str, path: Path) -> Response:
    position = _position(request.query_params)
    result = await lake.append(path, request.headers, position, request.stream())
    if request.query_params.get("flush", "false").lower() == "true":
        end = position + int(request.headers["content-length"])
        async with lake.changing(account):
            result = await lake.flush(path, {}, end)
    return _done(HTTPStatus.ACCEPTED, result)


async def _list(request: Request, lake: DataLake, file_system: Path) -> Response:
    query = request.query_params
    directory = Path(file_system.file_system, query.get("directory", "").strip("/"))
    recursive = query.get("recursive", "false").lower() == "true"
    entries = await lake.paths(directory, recursive=recursive)
    limit = min(int(query.get("maxResults", MAX_LIST_RESULTS)), MAX_LIST_RESULTS)
    page = dfs.page(entries, after=query.get("continuation", ""), limit=limit)
    headers = _identification()
    if page.continuation:
        headers["x-ms-continuation"] = page.continuation
    return Response(page.to_json(), headers=headers, media_type="application/json")


def _access_control(properties: httpx.Headers) -> Response:
    """Owner and permissions as a new path has them: local Azure keeps none of its own."""
    permissions = "rwxr-x---" if dfs.is_folder(properties) else "rw-r-----"
    response = _done(HTTPStatus.OK, properties)
    response.headers.update(
        {
            "x-ms-owner": "$superuser",
            "x-ms-group": "$superuser",
            "x-ms-permissions": permissions,
            "x-ms-resource-type": _resource_type(properties),
        }
    )
    return response


def _position(query: Mapping[str, str]) -> int:
    text = query.get("position", "")
    if not (text.isascii() and text.isdigit()):
        raise DataLakeError(
            400, "InvalidQueryParameterValue", f"position must be a number of bytes, not {text!r}."
        )
    return int(text)


def _resource_type(properties: Mapping[str, str]) -> str:
    return "directory" if dfs.is_folder(properties) else "file"


def _done(status: HTTPStatus, result: httpx.Headers) -> Response:
    kept = {name: result[name] for name in _RESULT_HEADERS if name in result}
    return Response(status_code=status, headers=_identification() | kept)


def _identification() -> dict[str, str]:
    return {
        "x-ms-request-id": str(uuid.uuid4()),
        "x-ms-version": _STORAGE_VERSION,
        "date": format_datetime(datetime.now(UTC), usegmt=True),
    }


# Calls that Azurite answers as they are


async def _forward(
    request: Request,
    service: Service,
    raw: str,
    *,
    path: Path | None = None,
    body: bytes | None = None,
) -> Response:
    """Pass a request on and its answer back, both while they arrive.

    Args:
        request: as it came in.
        service: whose request it is.
        raw: percent-encoded path below the account.
        path: the same, decoded, for a blob.
        body: in place of the request's own.
    """
    azurite: Azurite = request.app.state.azurite
    headers = end_to_end(request.headers.items())
    if body is not None:
        headers["content-length"] = str(len(body))
    answer = await azurite.stream(
        request.method,
        service,
        raw,
        request.url.query,
        headers=headers,
        content=_body(request) if body is None else body,
    )
    answer_headers = end_to_end(answer.headers.items())
    if path is not None and path.name and answer.is_success:
        answer_headers.setdefault("x-ms-resource-type", _resource_type(answer.headers))
    return StreamingResponse(
        answer.aiter_raw(),
        status_code=answer.status_code,
        headers=answer_headers,
        background=BackgroundTask(answer.aclose),
    )


def _body(request: Request) -> AsyncIterator[bytes] | None:
    has_body = {"content-length", "transfer-encoding"} & set(request.headers.keys())
    return request.stream() if has_body else None
