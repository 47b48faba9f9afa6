"""Azure's list prices: the table beside this file, and how to bring it up to date.

``python -m infra.prices westeurope`` (``make prices REGION=westeurope``) asks Azure's Retail Prices
API, which needs no account, and writes the region's prices and the day into ``prices.json``:
https://learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from scheduler import history

FILE = Path(__file__).with_name("prices.json")
ENDPOINT = "https://prices.azure.com/api/retail/prices?api-version=2023-01-01-preview"
GLOBAL = "Global"
"""What the API calls the region of a price that holds everywhere."""

_TIMEOUT_S = 30
_HOUR_S = 3600


class PriceError(Exception):
    """A price can't be had; the text is one sentence."""


@dataclass(frozen=True)
class Meter:
    """What Azure counts, in the words of its API.

    Args:
        service: ``serviceName``.
        product: ``productName``; ``None`` for any.
        meter: ``meterName``, written with or without spaces.
        unit: ``unitOfMeasure``.
        everywhere: whether the price holds in every region.
    """

    service: str
    product: str | None
    meter: str
    unit: str
    everywhere: bool = False

    def query(self, region: str) -> str:
        """Address of the API's answer for a region."""
        parts = [f"serviceName eq '{self.service}'", "priceType eq 'Consumption'"]
        if self.product:
            parts.append(f"productName eq '{self.product}'")
        if not self.everywhere:
            parts.append(f"armRegionName eq '{region}'")
        return f"{ENDPOINT}&$filter={quote(' and '.join(parts))}"


def _plan(tier: str, name: str) -> Meter:
    return Meter("Azure App Service", f"Azure App Service {tier} Plan - Linux", name, "1 Hour")


_CONTAINERS = "Container Instances"
_REGISTRY = "Container Registry"

METERS: Mapping[str, Meter] = {
    "container-cpu": Meter(_CONTAINERS, _CONTAINERS, "Standard vCPU Duration", "1 Hour"),
    "container-memory": Meter(_CONTAINERS, _CONTAINERS, "Standard Memory Duration", "1 GB Hour"),
    "plan-B1": _plan("Basic", "B1"),
    "plan-B2": _plan("Basic", "B2"),
    "plan-B3": _plan("Basic", "B3"),
    "plan-S1": _plan("Standard", "S1"),
    "plan-P0v3": _plan("Premium v3", "P0v3 App"),
    "plan-P1v3": _plan("Premium v3", "P1v3 App"),
    "plan-P2v3": _plan("Premium v3", "P2v3 App"),
    "registry-basic": Meter(_REGISTRY, _REGISTRY, "Basic Registry Unit", "1/Day"),
    "registry-premium": Meter(_REGISTRY, _REGISTRY, "Premium Registry Unit", "1/Day"),
    "private-endpoint": Meter(
        "Virtual Network",
        "Virtual Network Private Link",
        "Standard Private Endpoint",
        "1 Hour",
        everywhere=True,
    ),
    "nat-gateway": Meter(
        "NAT Gateway", "NAT Gateway", "Standard Gateway", "1 Hour", everywhere=True
    ),
    "public-address": Meter(
        "Virtual Network", "IP Addresses", "Standard IPv4 Static Public IP", "1 Hour"
    ),
    "private-zone": Meter("Azure DNS", None, "Private Zone", "1/Month", everywhere=True),
}
"""By the names that the table uses."""


@dataclass(frozen=True)
class Price:
    """A row of the table.

    Args:
        meter: a key of :data:`METERS`.
        region: where it holds.
        price: in the table's currency, per unit.
        unit: ``unitOfMeasure`` of the API.
        taken: the day on which the API said so.
    """

    meter: str
    region: str
    price: float
    unit: str
    taken: date


@dataclass(frozen=True)
class PriceTable:
    """Prices, each with its region and day."""

    currency: str
    note: str
    prices: Sequence[Price]

    @classmethod
    def load(cls, file: Path = FILE) -> PriceTable:
        """Read the table.

        Raises:
            PriceError: a row names no known meter, or another unit than the meter has.
        """
        document = json.loads(file.read_text())
        rows = [
            Price(**{**row, "taken": date.fromisoformat(row["taken"])})
            for row in document["prices"]
        ]
        for row in rows:
            if row.meter not in METERS or row.unit != METERS[row.meter].unit:
                raise PriceError(f"{file.name} has {row.meter} per {row.unit}, which is no meter.")
        return cls(document["currency"], document["note"], rows)

    def find(self, meter: str, region: str) -> Price | None:
        """The price of a region; where there is none, the first one of any other."""
        rows = [row for row in self.prices if row.meter == meter]
        own = (row for row in rows if row.region in (region, GLOBAL))
        return next(own, rows[0] if rows else None)

    def of_containers(self, region: str) -> history.Price | None:
        """What the scheduler has to know to say what a run cost; see :meth:`find`."""
        core = self.find("container-cpu", region)
        memory = self.find("container-memory", region)
        if core is None or memory is None:
            return None
        return history.Price(
            currency=self.currency,
            core_second=core.price / _HOUR_S,
            gb_second=memory.price / _HOUR_S,
        )

    def updated(self, new: Iterable[Price]) -> PriceTable:
        """The table with prices put in place of older ones of the same meter and region."""
        rows = {(row.meter, row.region): row for row in self.prices}
        rows |= {(row.meter, row.region): row for row in new}
        return replace(self, prices=list(rows.values()))

    def rendered(self) -> str:
        """The file's content, a line for each price."""
        rows = [json.dumps({**asdict(row), "taken": row.taken.isoformat()}) for row in self.prices]
        lines = ",\n".join(f"    {row}" for row in rows)
        head = f'  "currency": {json.dumps(self.currency)},\n  "note": {json.dumps(self.note)},\n'
        return f'{{\n{head}  "prices": [\n{lines}\n  ]\n}}\n'


def parse(items: Iterable[Mapping[str, Any]], name: str, region: str, today: date) -> Price:
    """Find a meter's price among the API's items.

    Args:
        items: what the API calls ``Items``, of all pages.
        name: a key of :data:`METERS`.
        region: the region that was asked for.
        today: the day of the answer.

    Raises:
        PriceError: none of the items is the meter's.
    """
    meter = METERS[name]
    places = (GLOBAL, "") if meter.everywhere else (region,)
    fitting = [
        item
        for item in items
        if item["type"] == "Consumption"
        and item["serviceName"] == meter.service
        and meter.product in (None, item["productName"])
        and _squeezed(item["meterName"]) == _squeezed(meter.meter)
        and item["unitOfMeasure"] == meter.unit
        and item["armRegionName"] in places
        # What is beyond a tier's minimum is cheaper; estimates begin at the first unit.
        and not item.get("tierMinimumUnits")
    ]
    if not fitting:
        raise PriceError(f'Azure names no price of "{meter.meter}" per {meter.unit} in {region}.')
    newest = max(fitting, key=lambda item: str(item["effectiveStartDate"]))
    where = GLOBAL if meter.everywhere else region
    return Price(name, where, float(newest["retailPrice"]), meter.unit, today)


def _squeezed(name: str) -> str:
    # The API writes "P1 v3 App" and "P0v3 App", "B1" and "S1 App".
    return name.replace(" ", "").lower().removesuffix("app")


def fetch(url: str) -> Iterator[Mapping[str, Any]]:
    """All items of a query, page after page.

    Raises:
        PriceError: the API can't be reached, or its answer is none.
    """
    following: str | None = url
    while following:
        try:
            answer = requests.get(following, timeout=_TIMEOUT_S)
            answer.raise_for_status()
            page = answer.json()
            yield from page["Items"]
            following = page.get("NextPageLink")
        except (requests.RequestException, ValueError, KeyError) as error:
            raise PriceError(f"Azure's prices can't be read ({error}).") from error


def main(arguments: Sequence[str]) -> int:
    """Write the prices of a region into the table; those that Azure does not name stay."""
    if len(arguments) != 1 or not arguments[0].isalnum():
        sys.stderr.write("error: REGION is missing; allowed is a region such as westeurope.\n")
        return 1
    (region,) = arguments
    found: list[Price] = []
    failures: list[str] = []
    for name, meter in METERS.items():
        try:
            found.append(parse(fetch(meter.query(region)), name, region, datetime.now(UTC).date()))
        except PriceError as error:
            failures.append(str(error))
    FILE.write_text(PriceTable.load(FILE).updated(found).rendered())
    sys.stdout.write(f"Wrote {len(found)} of {len(METERS)} prices into {FILE.name}.\n")
    sys.stderr.writelines(f"error: {failure}\n" for failure in failures)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
