"""Sees for each wrong thing that the program could declare whether a unit test fails.

``python -m tests.mutation [text …]`` prints the mutants that no test noticed, and exits with 1 if
there are any; with texts only those mutants are tried whose description contains one of them.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pytest
from _pytest.runner import runtestprotocol

from tests.mutation.mutants import Mutant, mutants
from tests.mutation.unguarded import is_unguarded
from tests.unit.infra import engine as engine_module
from tests.unit.infra import stacks
from tests.unit.infra.engine import Engine, run_key

_STACKS = (stacks.everything(), stacks.with_container_scheduler(), stacks.with_sign_in())
"""Stacks that declare one of everything between them."""


class Runs(dict[str, Engine]):
    """The program's runs by configuration, as a mutant would have made them.

    Attributes:
        used: the configurations that were asked for.
        mutated: runs that a mutant changes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.used: set[str] = set()
        self.mutated: dict[str, Engine] = {}

    def __setitem__(self, key: str, engine: Engine) -> None:
        self.used.add(key)
        super().__setitem__(key, engine)

    def __getitem__(self, key: str) -> Engine:
        self.used.add(key)
        return self.mutated.get(key) or super().__getitem__(key)

    def mutate(self, mutant: Mutant) -> None:
        """Let every configuration's run be as with the mutant."""
        self.mutated = {}
        for key, engine in self.items():
            for place, resource in enumerate(engine.declared):
                if (resource.type, resource.name) != (mutant.type, mutant.name):
                    continue
                instead = mutant.apply(resource)
                if instead != [resource]:
                    declared = list(engine.declared)
                    declared[place : place + 1] = instead
                    self.mutated[key] = Engine(preview=engine.preview, declared=declared)


@dataclass
class Trial:
    """A plugin of pytest: runs the tests of the program against every mutant.

    Attributes:
        only: texts; a mutant's description must contain one of them, if there are any.
        tried: how many mutants there were.
        survivors: those with which no test failed.
        left_out: tests that need the program to run again and so cannot be asked.
        problems: what keeps the trial from being one.
    """

    only: Sequence[str]
    tried: int = 0
    survivors: list[Mutant] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        runs = Runs()
        engine_module._ran = runs
        asked = self._asked(session.items, runs)
        if not self.problems:
            self._try(asked, runs)
        return True

    def _asked(self, items: Iterable[pytest.Item], runs: Runs) -> dict[pytest.Item, set[str]]:
        """The tests that look at what was declared, with the configurations that they look at."""
        asked = {}
        for item in items:
            runs.used = set()
            if not _passes(item):
                self.problems.append(f"{item.nodeid} fails without any mutant")
            elif runs.used and _passes(item):
                asked[item] = runs.used
            elif runs.used:
                self.left_out.append(item.nodeid)
        return asked

    def _try(self, asked: dict[pytest.Item, set[str]], runs: Runs) -> None:
        everything = (each for stack in _STACKS for each in runs[run_key(stack)].declared)
        kills: Counter[tuple[str, pytest.Item]] = Counter()
        for mutant in mutants(everything):
            if is_unguarded(mutant) or not _contains(str(mutant), self.only):
                continue
            runs.mutate(mutant)
            if not runs.mutated:
                continue
            self.tried += 1
            # What noticed the last mutant of such a resource probably notices this one.
            looking = [each for each, keys in asked.items() if keys & runs.mutated.keys()]
            looking.sort(key=lambda item: -kills[mutant.type, item])
            killer = next((item for item in looking if not _passes(item)), None)
            if killer:
                kills[mutant.type, killer] += 1
            else:
                self.survivors.append(mutant)


def _contains(text: str, parts: Sequence[str]) -> bool:
    return not parts or any(part in text for part in parts)


def _passes(item: pytest.Item) -> bool:
    reports = runtestprotocol(item, log=False, nextitem=None)
    return all(report.passed for report in reports)


def main(only: Sequence[str]) -> int:
    started = time.monotonic()
    trial = Trial(only)
    quiet = ["-p", "no:terminal", "--override-ini=addopts=--import-mode=importlib"]
    pytest.main([*quiet, "tests/unit/infra"], plugins=[trial])
    report = [*trial.problems, *(f"No test fails with {mutant}" for mutant in trial.survivors)]
    found, seconds = trial.tried - len(trial.survivors), time.monotonic() - started
    report.append(f"{found} of {trial.tried} mutants noticed in {seconds:.0f} s")
    report += (f"Not asked, as it needs the program to run anew: {name}" for name in trial.left_out)
    sys.stdout.write("\n".join(report) + "\n")
    return 1 if trial.problems or trial.survivors or not trial.tried else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
