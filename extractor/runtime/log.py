"""Log lines: one line each, to stdout, with their facts as ``key=value``."""

from __future__ import annotations

import json
import logging
import sys
import time

from extractor.runtime import secrets


def configure() -> None:
    """Send this process's log to stdout, which is where a container's log is read from."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # Azure's clients log every request at INFO.
    logging.getLogger("azure").setLevel(logging.WARNING)


def _utc(seconds: float | None = None) -> time.struct_time:
    return time.gmtime(seconds)


class OneLine(logging.Formatter):
    """A record on one line, a traceback included, so that no record is cut in two.

    Secrets are masked here, where the text is complete: with its arguments and its traceback.
    """

    converter = staticmethod(_utc)

    def format(self, record: logging.LogRecord) -> str:
        return secrets.mask(super().format(record)).replace("\r", "").replace("\n", "\\n")


def facts(**values: object) -> str:
    """``key=value`` for each value that is not ``None``, quoted where it has to be."""
    return " ".join(f"{key}={_text(value)}" for key, value in values.items() if value is not None)


def _text(value: object) -> str:
    text = str(value)
    plain = text and not any(character.isspace() or character == '"' for character in text)
    return text if plain else json.dumps(text, ensure_ascii=False)
