from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """Undo what a test does to the process's logging."""
    root, azure = logging.getLogger(), logging.getLogger("azure")
    before = root.handlers[:], root.level, azure.level
    yield
    root.handlers[:], root.level, azure.level = before
