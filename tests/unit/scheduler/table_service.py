"""Azure Table Storage as its clients see it: HTTP answers, as Microsoft documents them.

Sources: learn.microsoft.com/rest/api/storageservices, "Insert Entity", "Update Entity",
"Performing entity group transactions",
"Query Entities", "Query timeout and pagination" and "Table service error codes".
"""

from __future__ import annotations

import io
import json
import operator
import re
import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count, islice
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import requests
from azure.core.credentials import AccessToken
from azure.core.pipeline.transport import RequestsTransport
from azure.data.tables import TableServiceClient
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse

ENDPOINT = "https://account.table.core.windows.net"

_KEY = re.compile(r"(?P<table>\w+)\(PartitionKey='(?P<partition>.*)',RowKey='(?P<row>.*)'\)")
_TERM = re.compile(r"(\w+) (eq|ne|lt|le|gt|ge) (?:datetime)?('(?:[^']|'')*'|\w+)")
_DELETION = re.compile(r"^DELETE (\S+) HTTP/1\.1\r?$", re.MULTILINE)
MOST_OF_A_BATCH = 100
_PLAIN_TYPES = {"Edm.String", "Edm.Boolean", "Edm.Int32"}
"""The service leaves these out of its answers, as JSON has them."""

_MESSAGES = {
    "EntityAlreadyExists": "The specified entity already exists.",
    "ResourceNotFound": "The specified resource does not exist.",
    "UpdateConditionNotSatisfied": "The update condition specified in the request was not "
    "satisfied.",
    "ServerBusy": "The server is currently unable to receive requests. Please retry.",
    "TooManyRequests": "The request was throttled.",
    "InternalError": "The server encountered an internal error. Please retry the request.",
}

Entity = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """An answer in place of the right one.

    Args:
        status: of HTTP.
        code: Azure's.
        retry_after: seconds, for the header of that name.
        applied: whether the request took effect all the same, and only its answer is lost.
    """

    status: int
    code: str
    retry_after: int | None = None
    applied: bool = False


class TableService(HTTPAdapter):
    """A storage account's tables. The service orders versions by itself, so no two are alike.

    Args:
        page: most entities in one answer; Azure's is 1000.

    Attributes:
        faults: answers to the next requests, instead of the right ones.
        requests: how many have come, those of retries among them.
    """

    def __init__(self, page: int = 1000) -> None:
        super().__init__()
        self.faults: deque[Fault] = deque()
        self.requests = 0
        self._page = page
        self._tables: dict[str, dict[tuple[str, str], tuple[Entity, str]]] = {}
        self._versions = count(1)
        self._lock = threading.Lock()

    def client(self) -> TableServiceClient:
        """A client that sends its requests here, through its whole pipeline."""
        session = requests.Session()
        session.mount("https://", self)
        return TableServiceClient(
            ENDPOINT,
            credential=_Anybody(),
            transport=RequestsTransport(session=session, session_owner=False),
        )

    def seed(self, table: str, entity: Entity) -> None:
        """Put an entity there without a request; as a client sends it, in JSON."""
        key = (entity["PartitionKey"], entity["RowKey"])
        self._put(self._tables.setdefault(table, {}), key, entity)

    def send(
        self, request: requests.PreparedRequest, *_: object, **__: object
    ) -> requests.Response:
        with self._lock:
            self.requests += 1
            fault = self.faults.popleft() if self.faults else None
            if fault is None:
                return self._answer(request)
            if fault.applied:
                self._answer(request)
            headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
            return _error(request, fault.status, fault.code, headers)

    def _answer(self, request: requests.PreparedRequest) -> requests.Response:
        url = urlsplit(request.url or "")
        path = unquote(url.path).strip("/")
        if key := _KEY.fullmatch(path):
            rows = self._tables.setdefault(key["table"], {})
            return self._entity(request, rows, (_unquoted(key["partition"]), _unquoted(key["row"])))
        if path == "$batch":
            return self._delete_all(request)
        rows = self._tables.setdefault(path.removesuffix("()"), {})
        if request.method == "POST":
            return self._insert(request, rows)
        return self._query(request, rows, {k: v[0] for k, v in parse_qs(url.query).items()})

    def _insert(
        self, request: requests.PreparedRequest, rows: dict[tuple[str, str], tuple[Entity, str]]
    ) -> requests.Response:
        sent = json.loads(request.body or "{}")
        key = (sent["PartitionKey"], sent["RowKey"])
        if key in rows:
            return _error(request, 409, "EntityAlreadyExists")
        return _response(request, 204, self._put(rows, key, sent))

    def _entity(
        self,
        request: requests.PreparedRequest,
        rows: dict[tuple[str, str], tuple[Entity, str]],
        key: tuple[str, str],
    ) -> requests.Response:
        condition = request.headers.get("If-Match")
        if key not in rows:
            return _error(request, 404, "ResourceNotFound")
        entity, etag = rows[key]
        if condition not in (None, "*", etag):
            return _error(request, 412, "UpdateConditionNotSatisfied")
        if request.method == "DELETE":
            del rows[key]
            return _response(request, 204)
        if request.method in ("PUT", "PATCH"):
            kept = entity if request.method == "PATCH" else {}
            return _response(
                request, 204, self._put(rows, key, kept | json.loads(request.body or "{}"))
            )
        return _response(request, 200, etag, _shown(entity, etag))

    def _delete_all(self, request: requests.PreparedRequest) -> requests.Response:
        """An entity group transaction of deletions: all of them or none."""
        body = request.body or b""
        sent = unquote(body if isinstance(body, str) else body.decode())
        paths = [urlsplit(url).path.strip("/") for url in _DELETION.findall(sent)]
        keys = [key for path in paths if (key := _KEY.fullmatch(path))]
        assert len(keys) == len(paths) == sent.count("application/http") <= MOST_OF_A_BATCH
        for number, key in enumerate(keys):
            row = (_unquoted(key["partition"]), _unquoted(key["row"]))
            if row not in self._tables[key["table"]]:
                return _batch_response(request, [_part(404, number, "ResourceNotFound")])
        for key in keys:
            del self._tables[key["table"]][_unquoted(key["partition"]), _unquoted(key["row"])]
        return _batch_response(request, [_part(204) for _ in keys])

    def _query(
        self,
        request: requests.PreparedRequest,
        rows: dict[tuple[str, str], tuple[Entity, str]],
        query: Mapping[str, str],
    ) -> requests.Response:
        matches = _condition(query.get("$filter", ""))
        first = (query.get("NextPartitionKey", ""), query.get("NextRowKey", ""))
        size = min(self._page, int(query.get("$top", self._page)))
        keys = sorted(rows)
        following = islice(keys, bisect_left(keys, first), None)
        found = list(islice((key for key in following if matches(rows[key][0])), size + 1))
        headers = {}
        if len(found) > size:
            names = ("x-ms-continuation-NextPartitionKey", "x-ms-continuation-NextRowKey")
            headers = dict(zip(names, found[size], strict=True))
        wanted = query["$select"].split(",") if "$select" in query else None
        shown = [_shown(*rows[key], wanted) for key in found[:size]]
        return _response(request, 200, None, {"value": shown}, headers)

    def _put(
        self,
        rows: dict[tuple[str, str], tuple[Entity, str]],
        key: tuple[str, str],
        entity: Entity,
    ) -> str:
        etag = f"W/\"datetime'2026-03-10T00%3A00%3A00.{next(self._versions):07d}Z'\""
        rows[key] = (entity, etag)
        return etag


class _Anybody:
    def get_token(self, *_: str, **__: Any) -> AccessToken:
        return AccessToken("token", 2**40)


_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    name: getattr(operator, name) for name in ("eq", "ne", "lt", "le", "gt", "ge")
}


def _condition(text: str) -> Callable[[Entity], bool]:
    """A filter of comparisons that are joined by ``and``."""
    terms = [_TERM.fullmatch(term.strip(" ()")) for term in text.split(" and ") if term]

    def matches(entity: Entity) -> bool:
        for term in terms:
            assert term is not None, f"the filter {text!r} is not understood"
            name, comparison, value = term.groups()
            wanted = _unquoted(value[1:-1]) if value.startswith("'") else json.loads(value)
            if name not in entity or not _COMPARISONS[comparison](entity[name], wanted):
                return False
        return True

    return matches


def _unquoted(text: str) -> str:
    return text.replace("''", "'")


def _shown(entity: Entity, etag: str, wanted: list[str] | None = None) -> Entity:
    types = {name: value for name, value in entity.items() if name.endswith("@odata.type")}
    return {"odata.etag": etag} | {
        name: value
        for name, value in entity.items()
        if types.get(name) not in _PLAIN_TYPES
        and (wanted is None or name.removesuffix("@odata.type") in wanted)
    }


def _error(
    request: requests.PreparedRequest,
    status: int,
    code: str,
    headers: Mapping[str, str] | None = None,
) -> requests.Response:
    message = {"lang": "en-US", "value": f"{_MESSAGES[code]}\nRequestId:0\nTime:2026-03-10"}
    body = {"odata.error": {"code": code, "message": message}}
    return _response(request, status, None, body, {"x-ms-error-code": code} | dict(headers or {}))


def _part(status: int, number: int = 0, code: str = "") -> str:
    """A response within that of a transaction."""
    lines = ["Content-Type: application/http", "Content-Transfer-Encoding: binary", ""]
    lines += [f"HTTP/1.1 {status} {'Not Found' if code else 'No Content'}"]
    if code:
        message = {"lang": "en-US", "value": f"{number}:{_MESSAGES[code]}\nRequestId:0"}
        lines += ["Content-Type: application/json", ""]
        lines += [json.dumps({"odata.error": {"code": code, "message": message}})]
    return "\r\n".join([*lines, "", ""])


def _batch_response(request: requests.PreparedRequest, parts: list[str]) -> requests.Response:
    inner = "".join(f"--changeset\r\n{part}\r\n" for part in parts) + "--changeset--\r\n"
    begin = "--batch\r\nContent-Type: multipart/mixed; boundary=changeset\r\n\r\n"
    content = f"{begin}{inner}--batch--\r\n".encode()
    raw = HTTPResponse(
        io.BytesIO(content),
        status=202,
        headers={"Content-Type": "multipart/mixed; boundary=batch"},
        preload_content=False,
    )
    return HTTPAdapter().build_response(request, raw)


def _response(
    request: requests.PreparedRequest,
    status: int,
    etag: str | None = None,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> requests.Response:
    content = b"" if body is None else json.dumps(body).encode()
    raw = HTTPResponse(
        io.BytesIO(content),
        status=status,
        headers={
            "Content-Type": "application/json;odata=minimalmetadata",
            "Content-Length": str(len(content)),
            **({"ETag": etag} if etag else {}),
            **(headers or {}),
        },
        preload_content=False,
    )
    return HTTPAdapter().build_response(request, raw)
