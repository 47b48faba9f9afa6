"""The secrets of an extractor, once its run has read them from the key vault.

They are kept in this process's memory alone: its environment is inherited by every command that an
extractor starts, and shown by whatever prints an environment.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from urllib.parse import quote, quote_plus

MASK = "***"

_TELLING_CHARACTERS = 8
"""A shorter part of a secret, such as a brace, tells nothing, and occurs all over a log."""

_held: dict[str, str] = {}


class SecretError(Exception):
    """A secret cannot be read; the text is one sentence that says what is missing where."""


def hold(values: Mapping[str, str]) -> None:
    """Let settings read these secrets by their names, and mask their values, until the end."""
    _held.update(values)


def held() -> Mapping[str, str]:
    """The secrets by the names under which the extractor asks for them."""
    return MappingProxyType(_held)


def mask(text: str) -> str:
    """``text`` with ``***`` for each secret, also where it is percent-encoded or quoted."""
    if not _held:
        return text
    # The longest first: one secret may be the beginning of another.
    forms = sorted(set(_forms(_held.values())), key=len, reverse=True)
    return re.sub("|".join(map(re.escape, forms)), MASK, text)


def _forms(values: Iterable[str]) -> Iterator[str]:
    for value in values:
        yield from filter(
            None,
            (
                value,
                quote(value),
                quote(value, safe=""),
                quote_plus(value),
                json.dumps(value)[1:-1],
                json.dumps(value, ensure_ascii=False)[1:-1],
                repr(value)[1:-1],
                # A secret of several lines may be shown a line at a time.
                *(each for each in value.split() if len(each) >= _TELLING_CHARACTERS),
            ),
        )
