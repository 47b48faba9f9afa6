"""The reference in docs/configuration.md says what the model says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import BaseModel

from infra import reference
from infra.config import NAMESPACE, StackConfig
from infra.policies import POLICIES
from infra.schema import class_within

PAGE = reference.PAGE.read_text()


def sections() -> dict[str, dict[str, list[str]]]:
    """The cells of each row by section and key, as the page has them."""
    found: dict[str, dict[str, list[str]]] = {}
    for line in PAGE.splitlines():
        if line.startswith("## "):
            path = line.removeprefix("## ").strip("`").removeprefix(f"{NAMESPACE}:")
            rows = found.setdefault("" if path == "All keys" else path, {})
        elif line.startswith("| `"):
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            rows[cells[0].strip("` ")] = cells[1:]
    return found


def objects(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """The model and all within it, with the paths of the configuration."""
    yield path, model
    for name, field in model.model_fields.items():
        inner = class_within(field.annotation)
        if inner and issubclass(inner, BaseModel):
            name_of_one = ".<name>" if "dict" in str(field.annotation) else ""
            yield from objects(inner, f"{path}.{field.alias or name}".lstrip(".") + name_of_one)


def test_the_page_is_what_make_schema_writes() -> None:
    assert reference.page(PAGE) == PAGE, "stale; run `make schema`"


def test_what_is_written_by_hand_stays() -> None:
    page = f"before\n{reference.BEGIN}\nof yesterday\n{reference.END}\nafter\n"
    written = reference.page(page)
    assert written.startswith(f"before\n{reference.BEGIN}\n")
    assert written.endswith(f"{reference.END}\nafter\n")
    assert "of yesterday" not in written


@pytest.mark.parametrize(("path", "model"), list(objects(StackConfig)), ids=str)
def test_every_key_has_its_row(path: str, model: type[BaseModel]) -> None:
    rows = sections()[path]
    assert set(rows) == {field.alias or name for name, field in model.model_fields.items()}
    for name, field in model.model_fields.items():
        kind, default, _, meaning = rows[field.alias or name]
        assert kind
        assert len(meaning) > len("x.")
        assert (default == "required") is field.is_required()


@pytest.mark.parametrize(
    ("section", "key", "cells"),
    [
        ("extractors.<name>", "maxAttempts", ["whole number", "`3`", "1 to 100"]),
        ("extractors.<name>", "cpu", ["number", "`1`", "1 to 4"]),
        ("extractors.<name>", "runDeadline", ["duration", "`PT1H`"]),
        ("extractors.<name>", "environment", ["texts by name", ""]),
        ("extractors.<name>", "timeZone", ["time zone", "`UTC`"]),
        ("extractors.<name>", "after", ["list of texts", ""]),
        ("scheduler", "host", ["choice", "`function`", "`function`, `container`"]),
        ("lake", "locked", ["true or false", "`false`", ""]),
        ("lake", "coolAfterDays", ["whole number", "", "0 to 99999"]),
        (
            "monitoring.alerts",
            "noTickMinutes",
            ["whole number", "`5`", "5 to 1440; a multiple of 5"],
        ),
        ("scheduler.authentication", "principals", ["list of UUIDs", "", ""]),
    ],
)
def test_a_row_says_type_default_and_what_is_allowed(
    section: str, key: str, cells: list[str]
) -> None:
    assert sections()[section][key][: len(cells)] == cells


def test_a_choice_says_what_each_value_means() -> None:
    meaning = sections()["extractors.<name>"]["overlap"][-1]
    assert "<br>`queue`: One further run waits" in meaning


def test_no_markup_of_the_code_is_left() -> None:
    assert ":class:" not in PAGE
    assert "``" not in PAGE
    assert "`timed_out`" in PAGE
    assert "`max_window`" not in PAGE


def test_every_policy_is_there_with_its_source() -> None:
    for policy in POLICIES:
        assert f"[{policy.name}]({policy.source}) | `{policy.type}`" in PAGE
