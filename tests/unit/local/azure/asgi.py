"""Requests to an application in this process, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import httpx
from starlette.applications import Starlette


def get(
    application: Starlette,
    path: str,
    *,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> httpx.Response:
    """The application's response to one GET request."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://local") as client:
            return await client.get(path, params=params, headers=headers)

    return asyncio.run(send())
