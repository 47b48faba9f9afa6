"""Configurations of stacks in Azure that together use everything the program can declare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from local.settings import REPOSITORY

Config = dict[str, Any]


def committed(stack: str) -> Config:
    """The configuration of a stack as it is in the repository."""
    text = (REPOSITORY / f"Pulumi.{stack}.yaml").read_text()
    return dict(yaml.safe_load(text)["config"])


def _with(config: Config, **changes: Mapping[str, Any]) -> Config:
    """A configuration with other keys in some of its sections."""
    sections = {f"pipelines:{name}": values for name, values in changes.items()}
    return {**config, **{key: {**config.get(key, {}), **sections[key]} for key in sections}}


def _with_secret(config: Config) -> Config:
    weather = config["pipelines:extractors"]["weather"]
    return _with(config, extractors={"weather": {**weather, "secrets": {"API_KEY": "weather-key"}}})


CONFIGURATIONS: Mapping[str, tuple[str, Config]] = {
    "dev": ("dev", committed("dev")),
    "dev, isolated, in a container": (
        "dev",
        _with(committed("dev"), network={"isolated": True}, scheduler={"host": "container"}),
    ),
    "prod": (
        "prod",
        _with(_with_secret(committed("prod")), network={"deployerAddresses": ["203.0.113.7"]}),
    ),
    "prod, open, in a container": (
        "prod",
        _with(
            committed("prod"),
            network={"isolated": False},
            policies={"publicNetwork": True},
            scheduler={"host": "container"},
        ),
    ),
}
"""By what is special about it: the stack and its configuration. Both stacks, both hosts of the
scheduler, and a network of the stack's own or none; together they declare each type there is."""
