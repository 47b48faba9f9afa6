from __future__ import annotations

import logging

import pytest

from extractor.runtime import log
from extractor.runtime.log import facts

pytestmark = pytest.mark.usefixtures("restored_logging")


def test_facts_are_quoted_where_they_have_to_be() -> None:
    assert facts(a=1, b=None, c="two words", d="job/window=x", e="") == (
        'a=1 c="two words" d=job/window=x e=""'
    )


def test_an_exception_takes_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure()
    try:
        int("first\nsecond")
    except ValueError:
        logging.getLogger("any").exception("failed")
    line, rest = capsys.readouterr().out.split("\n", 1)
    assert rest == ""
    assert " ERROR failed\\nTraceback" in line
    assert "\\nValueError: invalid literal" in line


def test_azures_clients_do_not_log_their_requests(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure()
    logging.getLogger("azure.core.pipeline").info("Request URL")
    assert capsys.readouterr().out == ""
