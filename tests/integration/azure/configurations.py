"""Configurations of stacks in Azure that together use everything the program can declare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from local.settings import REPOSITORY

Config = dict[str, Any]

WEATHER = {"schedule": "0 6 * * *", "start": "2024-01-01T00:00:00Z"}

_PROD: Config = {
    "azure-native:location": "westeurope",
    "pipelines:extractors": {
        "weather": {
            **WEATHER,
            "timeZone": "Europe/Amsterdam",
            "cpu": 2,
            "memory": 3.5,
            "environment": {"RESOLUTION": "daily"},
            "secrets": {"API_KEY": "weather-api-key"},
        }
    },
    "pipelines:lake": {"locked": True, "coolAfterDays": 30, "softDeleteDays": 30},
    "pipelines:monitoring": {
        "retentionDays": 90,
        "alerts": {"emails": ["team@example.com"], "noTickMinutes": 10},
    },
    "pipelines:tags": {"owner": "data"},
}

_ISOLATED = {"isolated": True, "deployerAddresses": ["203.0.113.7"]}

_REGISTRATION = {
    "clientId": "11111111-2222-4333-8444-555555555555",
    "principals": ["66666666-7777-4888-9999-000000000000"],
}


def _dev() -> Config:
    text = (REPOSITORY / "Pulumi.dev.yaml").read_text()
    return dict(yaml.safe_load(text)["config"])


CONFIGURATIONS: Mapping[str, tuple[str, Config]] = {
    "dev": ("dev", _dev()),
    "dev, isolated, container": (
        "dev",
        {
            **_dev(),
            "pipelines:network": {"isolated": True},
            "pipelines:scheduler": {"host": "container"},
        },
    ),
    "prod, container": ("prod", {**_PROD, "pipelines:scheduler": {"host": "container"}}),
    "prod, isolated": (
        "prod",
        {
            **_PROD,
            "pipelines:network": _ISOLATED,
            "pipelines:scheduler": {"plan": "P0v3", "authentication": _REGISTRATION},
        },
    ),
}
"""By what is special about it: the stack and its configuration. Both stacks, both hosts of the
scheduler, and a network of the stack's own or none."""
