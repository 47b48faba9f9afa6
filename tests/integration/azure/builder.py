"""The real docker-build plugin, which only claims to have built an image.

Checks and differences are the real plugin's. It tells nobody the hash of a context that it did not
build, so that hash, and the digest that follows from it, are this one's.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.json_format import MessageToDict
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from local.plugin.server import MESSAGE_SIZES, serve

PLUGIN = "DOCKER_BUILD_PLUGIN"
"""Variable with the path of the real plugin."""

_HASH = "contextHash"

_FORWARDED = (
    "Attach",
    "Cancel",
    "Check",
    "CheckConfig",
    "Configure",
    "DiffConfig",
    "GetMapping",
    "GetPluginInfo",
    "GetSchema",
    "Handshake",
    "Invoke",
)


def _forwarded(name: str) -> Callable[..., Any]:
    def method(self: Builder, request: Any, context: grpc.ServicerContext) -> Any:
        return self.ask(name, request, context)

    return method


class Builder(provider_pb2_grpc.ResourceProviderServicer):
    """The plugin, in front of the real one."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._real = provider_pb2_grpc.ResourceProviderStub(channel)

    def ask(self, method: str, request: Any, context: grpc.ServicerContext) -> Any:
        """Forward a request; an error is passed on as it is."""
        try:
            return getattr(self._real, method)(request)
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())

    def Diff(  # noqa: N802
        self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext
    ) -> provider_pb2.DiffResponse:
        response: provider_pb2.DiffResponse = self.ask("Diff", request, context)
        if request.olds[_HASH] == _context_hash(request.news):
            response.detailedDiff.pop(_HASH, None)
            if not response.detailedDiff:
                response.changes = provider_pb2.DiffResponse.DIFF_NONE
        return response

    def Create(  # noqa: N802
        self, request: provider_pb2.CreateRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CreateResponse:
        build = not request.preview
        request.preview = True
        response: provider_pb2.CreateResponse = self.ask("Create", request, context)
        if build:
            response.id = _claim(response.properties)
        return response

    def Update(  # noqa: N802
        self, request: provider_pb2.UpdateRequest, context: grpc.ServicerContext
    ) -> provider_pb2.UpdateResponse:
        build = not request.preview
        request.preview = True
        response: provider_pb2.UpdateResponse = self.ask("Update", request, context)
        if build:
            _claim(response.properties)
        return response

    def Delete(self, request: provider_pb2.DeleteRequest, context: Any) -> Empty:  # noqa: N802
        return Empty()


for _name in _FORWARDED:
    setattr(Builder, _name, _forwarded(_name))


def _claim(properties: Struct) -> str:
    """Add what a build and push would have added; returns the digest."""
    digest = f"sha256:{_context_hash(properties)}"
    reference = f"{MessageToDict(properties)['tags'][0]}@{digest}"
    properties.update({_HASH: digest.removeprefix("sha256:"), "digest": digest, "ref": reference})
    return digest


def _context_hash(properties: Struct) -> str:
    """Hash of all that the image is built from."""
    context = MessageToDict(properties)["context"]
    named = [each["location"] for _, each in sorted(context.get("named", {}).items())]
    digest = hashlib.sha256()
    for folder in map(Path, [context["location"], *named]):
        for path in sorted(folder.rglob("*")):
            digest.update(f"{path.relative_to(folder)} {path.stat().st_mode}".encode())
            digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()


if __name__ == "__main__":
    command = [os.environ[PLUGIN], *sys.argv[1:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as real:
        assert real.stdout
        address = f"127.0.0.1:{real.stdout.readline().strip()}"
        with grpc.insecure_channel(address, options=MESSAGE_SIZES) as real_plugin:
            serve(Builder(real_plugin))
        real.kill()
