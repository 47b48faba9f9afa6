from __future__ import annotations

import pytest

from infra import naming


@pytest.mark.parametrize("name", ["a", "weather", "sales-orders-2", "0", "a" * 63])
def test_accepts_what_container_instances_accepts(name: str) -> None:
    assert naming.is_container_group_name(name)


@pytest.mark.parametrize(
    "name", ["", "Weather", "sales_orders", "-a", "a-", "a--b", "a" * 64, "a.b", "ä"]
)
def test_refuses_what_container_instances_refuses(name: str) -> None:
    assert not naming.is_container_group_name(name)


@pytest.mark.parametrize(
    ("name", "accepted"),
    [("raw", True), ("a" * 63, True), ("ab", False), ("a" * 64, False), ("Raw", False)],
)
def test_file_system_names(name: str, accepted: bool) -> None:
    assert naming.is_file_system_name(name) is accepted


@pytest.mark.parametrize(
    ("name", "accepted"),
    [("STATIONS", True), ("_a1", True), ("1A", False), ("A-B", False), ("", False)],
)
def test_environment_names(name: str, accepted: bool) -> None:
    assert naming.is_environment_name(name) is accepted


def test_the_resource_group_is_called_like_project_and_stack() -> None:
    assert naming.resource_group("pipelines", "dev") == "pipelines-dev"


def test_refuses_a_stack_whose_resource_group_would_be_too_long() -> None:
    longest = "s" * (naming.RESOURCE_GROUP_MAX - len("pipelines-"))
    assert len(naming.resource_group("pipelines", longest)) == naming.RESOURCE_GROUP_MAX
    with pytest.raises(ValueError, match=r'name is "s+x".*at most 90 characters'):
        naming.resource_group("pipelines", longest + "x")
