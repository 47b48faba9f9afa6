from __future__ import annotations

import pytest
from pydantic import Field, SecretStr

from extractor.runtime import SettingError, Settings
from extractor.runtime.settings import RuntimeSettings

ENVIRONMENT = {
    "JOB_NAME": "weather",
    "IMAGE_DIGEST": "sha256:" + "a" * 64,
    "TABLES_ENDPOINT": "https://account.table.core.windows.net",
    "LAKE_ENDPOINT": "https://account.dfs.core.windows.net",
    "LAKE_FILE_SYSTEM": "lake",
    "PATH": "/bin",
}


def test_variables_become_fields() -> None:
    settings = RuntimeSettings.read(ENVIRONMENT)
    assert settings.job_name == "weather"
    assert str(settings.lake_endpoint) == "https://account.dfs.core.windows.net/"
    assert settings.azure_client_id is None


def test_an_endpoint_keeps_its_path() -> None:
    local = ENVIRONMENT | {"TABLES_ENDPOINT": "https://host.docker.internal:15000/tables/account/"}
    endpoint = RuntimeSettings.read(local).tables_endpoint
    assert str(endpoint) == "https://host.docker.internal:15000/tables/account/"


@pytest.mark.parametrize(
    ("variable", "value", "shown"),
    [
        ("JOB_NAME", "_staging", "'_staging'; it must be lower-case letters and digits"),
        ("JOB_NAME", "a/b", "'a/b'"),
        ("JOB_NAME", "x" * 200, f"'{'x' * 100}…'"),
        ("IMAGE_DIGEST", "latest", "'latest'; it must be 'sha256:' and 64 hexadecimal digits"),
        ("LAKE_ENDPOINT", "http://lake", "'http://lake'; it must be the https address"),
    ],
)
def test_a_wrong_variable_is_named_with_its_value_and_what_is_allowed(
    variable: str, value: str, shown: str
) -> None:
    with pytest.raises(SettingError) as caught:
        RuntimeSettings.read(ENVIRONMENT | {variable: value})
    assert str(caught.value).startswith(f"The environment variable {variable} is {shown}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("variable", sorted(set(ENVIRONMENT) - {"PATH"}))
@pytest.mark.parametrize("emptied", [True, False])
def test_a_variable_that_is_missing_or_empty_is_named(variable: str, emptied: bool) -> None:
    environment = {name: value for name, value in ENVIRONMENT.items() if name != variable}
    if emptied:
        environment[variable] = ""
    with pytest.raises(SettingError, match=f"{variable} is not set; it must be "):
        RuntimeSettings.read(environment)


def test_a_secret_is_not_shown() -> None:
    class Secretive(Settings):
        api_key: SecretStr = Field(min_length=20, description="a key of the API")

    with pytest.raises(SettingError, match=r"API_KEY is \*\*\*; it must be a key") as caught:
        Secretive.read({"API_KEY": "hunter2"})
    assert "hunter2" not in str(caught.value)
