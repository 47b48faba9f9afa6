"""Where the weather comes from: Open-Meteo, or this machine's recorded observations."""

from __future__ import annotations

from local.machine import reachable
from local.settings import HOST_ALIAS, Settings

OPEN_METEO = "https://archive-api.open-meteo.com"


def weather_api(settings: Settings) -> str:
    """Base address of the weather API, as containers reach it.

    It is decided once in the life of a stack: another address would replace the container group,
    whenever the internet comes and goes.
    """
    file = settings.state / "weather-api"
    if not file.exists():
        online = reachable(OPEN_METEO)
        file.write_text(OPEN_METEO if online else settings.platform_url(HOST_ALIAS))
    return file.read_text()
