from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from infra import prices
from infra.prices import METERS, Price, PriceError, PriceTable, fetch, main, parse

TODAY = date(2026, 11, 25)


def item(**changes: Any) -> dict[str, Any]:
    """An item in the shape of the API's documentation."""
    return {
        "currencyCode": "USD",
        "tierMinimumUnits": 0.0,
        "retailPrice": 0.0405,
        "unitPrice": 0.0405,
        "armRegionName": "eastus",
        "location": "US East",
        "effectiveStartDate": "2021-06-08T00:00:00Z",
        "meterId": "00000000-0000-0000-0000-000000000000",
        "meterName": "Standard vCPU Duration",
        "productId": "DZH000000000",
        "skuId": "DZH000000000/0000",
        "availabilityId": None,
        "productName": "Container Instances",
        "skuName": "Standard",
        "serviceName": "Container Instances",
        "serviceId": "DZH000000000",
        "serviceFamily": "Containers",
        "unitOfMeasure": "1 Hour",
        "type": "Consumption",
        "isPrimaryMeterRegion": True,
        "armSkuName": "",
        **changes,
    }


OTHERS = [
    item(meterName="Standard Memory Duration", unitOfMeasure="1 GB Hour", retailPrice=0.00445),
    item(meterName="Standard Spot vCPU Duration", retailPrice=0.01),
    item(productName="Container Instances with GPU", retailPrice=3.06),
    item(serviceName="Logic Apps", retailPrice=0.1997),
    item(armRegionName="westus", retailPrice=0.05),
    item(type="Reservation", retailPrice=9),
    item(unitOfMeasure="100 Seconds", retailPrice=1),
    item(tierMinimumUnits=1000.0, retailPrice=0.0001),
]


def test_finds_the_meter_among_all_that_look_like_it() -> None:
    found = parse([*OTHERS, item()], "container-cpu", "eastus", TODAY)
    assert found == Price("container-cpu", "eastus", 0.0405, "1 Hour", TODAY)


def test_takes_the_newest_of_several() -> None:
    newer = item(retailPrice=0.04, effectiveStartDate="2026-01-01T00:00:00Z")
    assert parse([newer, item()], "container-cpu", "eastus", TODAY).price == 0.04


def test_a_meter_that_azure_does_not_name_is_one_sentence() -> None:
    with pytest.raises(PriceError) as caught:
        parse(OTHERS, "container-cpu", "eastus", TODAY)
    assert str(caught.value) == (
        'Azure names no price of "Standard vCPU Duration" per 1 Hour in eastus.'
    )


@pytest.mark.parametrize(
    ("name", "meter", "tier"),
    [
        ("plan-B1", "B1", "Basic"),
        ("plan-P1v3", "P1 v3 App", "Premium v3"),
        ("plan-S1", "S1 App", "Standard"),
    ],
)
def test_plans_are_found_however_they_are_written(name: str, meter: str, tier: str) -> None:
    plan = item(
        serviceName="Azure App Service",
        productName=f"Azure App Service {tier} Plan - Linux",
        meterName=meter,
        retailPrice=0.1,
    )
    windows = {**plan, "productName": f"Azure App Service {tier} Plan", "retailPrice": 9}
    assert parse([windows, plan], name, "eastus", TODAY).price == 0.1


def test_a_price_that_holds_everywhere_is_the_global_one() -> None:
    endpoint = item(
        serviceName="Virtual Network",
        productName="Virtual Network Private Link",
        meterName="Standard Private Endpoint",
        armRegionName="Global",
        retailPrice=0.01,
    )
    found = parse([endpoint], "private-endpoint", "eastus", TODAY)
    assert (found.region, found.price) == ("Global", 0.01)


def test_a_query_names_service_product_and_region() -> None:
    query = parse_qs(urlsplit(METERS["plan-B1"].query("eastus")).query)
    (condition,) = query["$filter"]
    assert condition == (
        "serviceName eq 'Azure App Service' and priceType eq 'Consumption' and "
        "productName eq 'Azure App Service Basic Plan - Linux' and armRegionName eq 'eastus'"
    )


class Answer:
    def __init__(self, page: object) -> None:
        self._page = page

    def raise_for_status(self) -> None: ...

    def json(self) -> object:
        return self._page


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    answers: dict[str, object] = {}
    monkeypatch.setattr(requests, "get", lambda url, timeout: Answer(answers[url]))
    return answers


def test_reads_page_after_page(pages: dict[str, object]) -> None:
    pages["first"] = {"Items": [{"n": 1}], "NextPageLink": "second", "Count": 1}
    pages["second"] = {"Items": [{"n": 2}], "NextPageLink": None, "Count": 1}
    assert [each["n"] for each in fetch("first")] == [1, 2]


def test_an_answer_that_is_none_is_one_sentence(pages: dict[str, object]) -> None:
    pages["first"] = {"Error": "busy"}
    with pytest.raises(PriceError, match=r"Azure's prices can't be read \('Items'\)\."):
        list(fetch("first"))


def test_writes_what_azure_names_and_keeps_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "prices.json"
    old = [
        Price("container-cpu", "eastus", 0.01, "1 Hour", date(2020, 1, 1)),
        Price("plan-B1", "eastus", 0.02, "1 Hour", date(2020, 1, 1)),
    ]
    file.write_text(PriceTable("USD", "a note", old).rendered())
    monkeypatch.setattr(prices, "FILE", file)
    monkeypatch.setattr(prices, "fetch", lambda _: iter([item()]))

    assert main(["eastus"]) == 1

    written = {each.meter: each for each in PriceTable.load(file).prices}
    assert written["container-cpu"].price == 0.0405
    assert written["plan-B1"] == old[1]
    said = capsys.readouterr()
    assert said.out == f"Wrote 1 of {len(METERS)} prices into prices.json.\n"
    assert 'error: Azure names no price of "B1" per 1 Hour in eastus.' in said.err


def test_a_region_has_to_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 1
    assert capsys.readouterr().err.startswith("error: REGION is missing; allowed is ")


def test_the_price_of_a_region_its_own_else_any() -> None:
    table = PriceTable.load()
    own = table.find("container-cpu", "eastus")
    other = table.find("container-cpu", "nowhere")
    assert own is not None
    assert own.region == "eastus"
    assert other == table.prices[0]
    assert table.find("plan-S1", "eastus") is None


def test_the_file_is_written_as_it_is_read() -> None:
    assert prices.FILE.read_text() == PriceTable.load().rendered()


def test_a_row_of_no_meter_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    table = PriceTable("USD", "", [Price("container-cpu", "eastus", 1, "1 Second", TODAY)])
    file.write_text(table.rendered())
    with pytest.raises(PriceError, match="container-cpu per 1 Second, which is no meter"):
        PriceTable.load(file)


def test_a_price_that_holds_everywhere_is_no_other_regions() -> None:
    other = Price("private-endpoint", "there", 9, "1 Hour", TODAY)
    everywhere = Price("private-endpoint", "Global", 1, "1 Hour", TODAY)
    assert PriceTable("USD", "", [other, everywhere]).find("private-endpoint", "here") == everywhere


def test_a_container_is_priced_by_the_second() -> None:
    rows = [
        Price("container-cpu", "eastus", 0.36, "1 Hour", TODAY),
        Price("container-memory", "eastus", 0.036, "1 GB Hour", TODAY),
    ]
    price = PriceTable("EUR", "", rows).of_containers("eastus")
    assert price is not None
    assert price.currency == "EUR"
    assert price.core_second == pytest.approx(0.0001)
    assert price.gb_second == pytest.approx(0.00001)
    assert PriceTable("EUR", "", rows[:1]).of_containers("eastus") is None
