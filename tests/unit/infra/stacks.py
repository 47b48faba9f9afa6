"""Configurations of stacks, as the tests and the mutants look at them."""

from __future__ import annotations

from typing import Any

Config = dict[str, Any]

WITHOUT_TAGS = frozenset(
    {
        "BlobContainer",
        "BlobServiceProperties",
        "ManagementLockByScope",
        "ManagementPolicy",
        "PrivateDnsZoneGroup",
        "RoleAssignment",
        "RoleDefinition",
        "Subnet",
        "Table",
        "WebAppAuthSettingsV2",
        "WebAppFtpAllowed",
        "WebAppScmAllowed",
    }
)
"""Types of Azure that take no tags."""


def minimal() -> Config:
    """A stack with the weather extractor, all options at their defaults."""
    return {
        "azure-native:location": "westeurope",
        "pipelines:extractors": {
            "weather": {"schedule": "0 6 * * *", "start": "2024-01-01T00:00:00Z"}
        },
    }


def everything() -> Config:
    """A stack with all that makes it safer."""
    config = minimal()
    config["pipelines:extractors"]["weather"]["secrets"] = {"API_KEY": "weather-key"}
    return {
        **config,
        "pipelines:lake": {"locked": True, "coolAfterDays": 90},
        "pipelines:monitoring": {"alerts": {"emails": ["team@example.com"]}},
        "pipelines:network": {"isolated": True},
    }


def with_sign_in() -> Config:
    """A stack whose functions people may call."""
    client = "aaaaaaaa-0000-4000-8000-000000000001"
    return {**minimal(), "pipelines:scheduler": {"authentication": {"clientId": client}}}


def with_container_scheduler() -> Config:
    """A stack whose scheduler is a container group."""
    return {**minimal(), "pipelines:scheduler": {"host": "container"}}
