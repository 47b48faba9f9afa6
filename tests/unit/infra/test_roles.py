from __future__ import annotations

import re

from infra.roles import LAKE_WRITER, folder_condition

CONDITION = folder_condition(["weather", "_staging/weather"])


def test_parentheses_balance() -> None:
    depth = 0
    for character in CONDITION:
        depth += {"(": 1, ")": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0


def test_every_action_of_the_role_is_bound() -> None:
    bound = re.findall(r"!\(ActionMatches\{'([^']+)'\}\)", CONDITION)
    assert tuple(bound) == LAKE_WRITER.data_actions


def test_a_folder_with_the_same_beginning_is_outside() -> None:
    # "weather-archive" begins with "weather", but neither is it nor is it below it.
    quoted = re.findall(r"(StringEquals|StringStartsWith) '([^']+)'", CONDITION)
    assert set(quoted) == {
        ("StringEquals", "weather"),
        ("StringStartsWith", "weather/"),
        ("StringEquals", "_staging/weather"),
        ("StringStartsWith", "_staging/weather/"),
    }
