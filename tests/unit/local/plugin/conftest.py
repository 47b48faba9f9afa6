"""The services of a local stack in memory."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from local import settings as settings_module
from local.containers import ContainerGroups
from local.plugin.bodies import LocalServices
from local.plugin.storage import LocalStorage
from local.settings import Settings
from tests.unit.local.fake_docker import FakeDocker
from tests.unit.local.plugin.fake_storage import FakeStorage

IMAGE = "127.0.0.1:15001/weather@sha256:0"


@pytest.fixture
def daemon() -> FakeDocker:
    return FakeDocker(images_here={IMAGE})


@pytest.fixture
def storage() -> FakeStorage:
    return FakeStorage()


@pytest.fixture
def services(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, daemon: FakeDocker, storage: FakeStorage
) -> LocalServices:
    monkeypatch.setattr(settings_module, "SHARED", tmp_path)
    settings = Settings(name="unit")
    settings.certificates.mkdir(parents=True)
    settings.certificate_bundle.write_text("PEM")
    services = LocalServices(settings)
    services.groups = ContainerGroups(settings, daemon.client)
    services.storage = cast(LocalStorage, storage)
    return services
