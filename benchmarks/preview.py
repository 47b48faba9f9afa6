"""How long the engine takes to preview a stack with many extractors, none of which exists yet.

All is real but Azure: engine, program and image plugin; see ``tests/integration/azure``.

    make measure EXTRACTORS=200
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from local import tools
from local.machine import exclusive
from tests.integration.azure.configurations import committed
from tests.integration.azure.offline import offline
from tests.integration.azure.program import SETTINGS, AzureProgram, copies_of_weather

_LIMIT_S = 60


def main() -> int:
    """Print what it took; the exit code says whether that was less than a minute."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("extractors", type=int, nargs="?", default=200)
    count = parser.parse_args().extractors
    with exclusive():
        tools.ensure_pulumi(SETTINGS)
        tools.ensure_docker_build(SETTINGS)
    with tempfile.TemporaryDirectory() as folder:
        resources, seconds, cpu_s = measure(Path(folder), count)
    sys.stdout.write(
        f"{count} extractors, {resources} resources: previewed in {seconds:.1f} s "
        f"({cpu_s:.1f} s of CPU on {os.cpu_count()} cores)\n"
    )
    return int(seconds > _LIMIT_S)


def measure(folder: Path, count: int) -> tuple[int, float, float]:
    """Preview a stack like ``dev``.

    Args:
        folder: an empty folder.
        count: how many extractors it has.

    Returns:
        How many resources would be made; seconds; seconds of CPU, of all processes together.
    """
    config = committed("dev")
    weather = config["pipelines:extractors"]["weather"]
    names = [f"weather-{number}" for number in range(count)]
    config["pipelines:extractors"] = dict.fromkeys(names, weather)
    # Azure's quota, which a subscription may have raised, is half of what is measured here.
    config["pipelines:policies"] = {"containerGroups": count + 1}
    (folder / "stack").mkdir()
    with copies_of_weather(folder / "sources", names), offline() as proxy:
        program = AzureProgram(folder / "stack", "dev", config, proxy)
        begun, cpu_s = time.monotonic(), _cpu_s()
        created = program.preview_program()["create"]
        return created, time.monotonic() - begun, _cpu_s() - cpu_s


def _cpu_s() -> float:
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    sys.exit(main())
