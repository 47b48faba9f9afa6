"""The tables in ``docs/`` that say what tests have seen; ``make docs`` writes them anew."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from local.plugin.rules import has_name_rule
from local.settings import REPOSITORY
from tests.integration.azure.models import Findings
from tests.integration.azure.program import Step
from tests.integration.azure.requests import APIS, Checked, native_api_version

UPDATE = "UPDATE_DOCS"
"""Variable that has the tables written instead of compared."""


def compare(file: str, name: str, table: str) -> None:
    """Fail where a table of a document is not this one.

    Args:
        file: name of the document in ``docs/``.
        name: stands in the comments that enclose the table.
        table: in Markdown.
    """
    path = REPOSITORY / "docs" / file
    text = path.read_text()
    enclosed = re.compile(rf"(<!-- {name} -->\n)(.*?)(<!-- end -->)", re.DOTALL)
    (found,) = enclosed.finditer(text)
    if os.environ.get(UPDATE):
        path.write_text(text[: found.end(1)] + table + text[found.start(3) :])
        return
    assert found.group(2) == table, f"docs/{file} is out of date; run `make docs` and look at it."


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def resources_table(checked: Iterable[Checked]) -> str:
    """What was checked of each type of resource."""
    by_kind: dict[str, list[Checked]] = defaultdict(list)
    for each in checked:
        by_kind[each.kind].append(each)
    head = ("resource", "API version", "model", "properties", "one of a list", "required", "limits")
    return markdown(head, (_row(kind, found) for kind, found in sorted(by_kind.items())))


def changes_table(plans: Mapping[str, Sequence[Step] | None], total: int) -> str:
    """What becomes of the resources for each change.

    Args:
        plans: the engine's steps by change; ``None`` where it refuses.
        total: how many resources there are before any change.
    """
    head = ("change of", "created", "updated", "replaced", "deleted", "kept")
    return markdown(head, (_plan(change, steps, total) for change, steps in plans.items()))


def _plan(change: str, steps: Sequence[Step] | None, total: int) -> Sequence[str]:
    if steps is None:
        return (change, "", "", "refused, for data", "refused, for data", f"all {total}")
    operations = ("create", "update", "replace", "delete")
    kept = sum(step.operation == "same" for step in steps)
    return (change, *(_named(steps, each) for each in operations), f"{kept} of {total}")


def _named(steps: Sequence[Step], operation: str) -> str:
    """The resources of an operation by type, with their names where there are few."""
    by_kind: dict[str, list[str]] = defaultdict(list)
    for step in steps:
        if step.operation == operation:
            by_kind[step.kind.rpartition(":")[2]].append(step.name)
    return ", ".join(
        f"{kind} {' and '.join(sorted(names))}" if len(names) < _MANY else f"{len(names)} {kind}"
        for kind, names in sorted(by_kind.items())
    )


_MANY = 3


def _row(kind: str, found: Sequence[Checked]) -> Sequence[str]:
    api = APIS[kind]
    native, (version,) = native_api_version(kind), {each.api_version for each in found}
    findings = _together(each.findings for each in found)
    nearest = "" if version == native else f", API {version}"
    limits = sorted(_leaves(findings.ruled))
    documented = ["name, as documented"] if has_name_rule(kind) else []
    return (
        f"`{kind}`",
        native,
        f"`{api.model}` of {api.distribution}{nearest}",
        str(len(_places(findings.checked))),
        ", ".join(sorted(_leaves(findings.listed))),
        ", ".join(sorted(_leaves(findings.required))),
        ", ".join([*limits, *documented]),
    )


def _together(findings: Iterable[Findings]) -> Findings:
    result = Findings()
    for each in findings:
        result.checked |= each.checked
        result.listed |= each.listed
        result.required |= each.required
        result.ruled |= each.ruled
    return result


def _places(places: Iterable[str]) -> set[str]:
    """Properties, whatever their place in a list or a map."""
    return {re.sub(r"\[.*?\]", "", place) for place in places}


def _leaves(places: Iterable[str]) -> set[str]:
    return {f"`{place.rpartition('.')[2]}`" for place in _places(places)}
