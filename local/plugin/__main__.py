"""The plugin's command, which the Pulumi engine starts."""

from __future__ import annotations

from local.plugin.bodies import LocalServices
from local.plugin.server import serve
from local.plugin.servicer import Provider
from local.settings import Settings

if __name__ == "__main__":
    serve(Provider(LocalServices(Settings.from_environment())))
