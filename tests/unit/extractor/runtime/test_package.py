from __future__ import annotations

import subprocess
import sys

import pytest

import extractor.runtime


def test_the_schedulers_part_loads_none_of_the_extractors_libraries() -> None:
    program = (
        "import sys, extractor.runtime.records, extractor.runtime.log; "
        "print(sorted({'pyarrow', 'pydantic', 'azure'} & sys.modules.keys()))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"


@pytest.mark.parametrize("name", extractor.runtime.__all__)
def test_what_is_offered_is_there(name: str) -> None:
    assert getattr(extractor.runtime, name).__name__ == name


def test_what_is_not_offered_is_not_there() -> None:
    with pytest.raises(AttributeError, match="'nothing'"):
        getattr(extractor.runtime, "nothing")  # noqa: B009 - mypy knows that it is not there
