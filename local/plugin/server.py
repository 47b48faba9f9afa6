"""Serves a plugin to the Pulumi engine that started it."""

from __future__ import annotations

import logging
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
from pulumi.runtime.proto import provider_pb2_grpc

_WORKERS = 32
"""More than the engine's requests at a time; a request may wait for an image to be pulled."""

_MESSAGE_BYTES = 400 * 1024 * 1024
"""What the engine allows itself."""

MESSAGE_SIZES = [
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
]

_WATCH_S = 1
"""How soon the plugin ends after an engine that was killed."""


def serve(provider: provider_pb2_grpc.ResourceProviderServicer) -> None:
    """Serve on a free port of the loopback interface, for as long as the engine runs.

    The port is printed, as the engine expects.
    """
    logging.basicConfig(stream=sys.stderr, level=logging.ERROR)
    server = grpc.server(ThreadPoolExecutor(max_workers=_WORKERS), options=MESSAGE_SIZES)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    engine = os.getppid()
    while server.wait_for_termination(timeout=_WATCH_S) and os.getppid() == engine:
        pass
