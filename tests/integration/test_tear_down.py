"""What is left after ``make down``: nothing. The last of the tests, by its file's name."""

from __future__ import annotations

from tests.integration.conftest import Deployed


def test_down_twice_is_clean(deployed: Deployed) -> None:
    first, second = deployed.clone.run("down"), deployed.clone.run("down")
    assert (first.code, second.code) == (0, 0), first.output + second.output
    assert not deployed.clone.settings.state.exists()
