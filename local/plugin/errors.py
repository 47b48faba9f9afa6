"""What the plugin refuses, as one sentence for whoever runs it."""

from __future__ import annotations


class RefusedError(Exception):
    """A request that can't be met; the text is one sentence that says what and why."""


class NotFoundError(RefusedError):
    """The type or the resource does not exist."""
