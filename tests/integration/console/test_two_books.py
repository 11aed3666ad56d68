"""Two price books in two currencies: each page of the product door shows the one that is chosen, in its own money."""

from __future__ import annotations

import pytest

from api.console import customer_choice
from api.console.wording import catalog
from billing.customers import Customer
from billing.repositories.customers import CustomerRepository
from tests.billing_story import BOOK, Company
from tests.integration.api.door import START, Door
from tests.integration.console.browsing import Browsing

EUROPE = {**BOOK, "key": "europe", "currency": "EUR"}


def sell_in_europe(door: Door) -> None:
    company = Company(door.database)
    company.found("euro", legal_name="Euro Ltd", currency="EUR")
    book = company.publish(EUROPE)
    company.subscribe("euro", book, {"seats": "3"}, starts="2026-02-01", currency="EUR")
    company.close("2026-02", "2026-03-01T06:00")


def tiles(page: str, label: str) -> list[str]:
    """Return the value and the hint of each tile of that label."""
    found = []
    for part in page.split(f'<span class="label">{label}')[1:]:
        value, _, rest = part.split('<span class="value"', 1)[1].partition("</span>")
        hint = rest.split('<span class="hint">', 1)[1].split("</span>")[0]
        found.append(f"{value.partition('>')[2]}; {hint}".replace("<small>", "").replace("</small>", ""))
    return found


def test_a_replay_states_each_currency_on_its_own(door: Door, browsing: Browsing) -> None:
    sell_in_europe(door)
    browsing.sign_in("pia")
    page = browsing.get("/console/product/replay?book=europe&feature=seats&of=seats&price=12").text
    assert tiles(page, "Revenue") == ["36.00 EUR; was 30.00", "20.00 USD; was 20.00"]
    assert tiles(page, "Margin") == ["36.00; was 30.00", "20.00; was 20.00"]
    assert "<td>Euro Ltd</td>" in page
    assert "6.00 EUR</td>" in page
    assert "/console/product/prices/new?book=europe&amp;feature=seats" in page
    assert 'name="book" value="europe"' in page


def test_every_page_of_prices_lets_a_book_be_chosen(door: Door, browsing: Browsing) -> None:
    browsing.sign_in("pia")
    sell_in_europe(door)
    for page in (f"/console/product/{name}" for name in ("replay", "demand", "experiments")):
        assert f'<a href="{page}?book=europe" aria-current="page">' in browsing.get(f"{page}?book=europe").text
        missing = browsing.get(f"{page}?book=none")
        assert (missing.status_code, catalog("en")["refusal.unknown_price_book"] in missing.text) == (404, True)


def test_what_goes_with_a_feature_is_named_as_the_buyer_knows_it(door: Door, browsing: Browsing) -> None:
    book = {**BOOK, "version": 7, "rules": [{"rule": "requires", "feature": "support", "needs": ["seats"]}]}
    assert door.call("POST", "/v1/price-books", book).status_code == 201
    browsing.sign_in("pia")
    chosen = "customer=buyer&chosen=buyer&on.seats=1&q.seats=2&on.support=1&q.support=1"
    page = browsing.get(f"/console/product?{chosen}").text
    assert "(together: Seats, Support)" in page


def test_a_page_begins_with_a_customer_to_whom_something_is_sold(door: Door, browsing: Browsing) -> None:
    with door.database.writing("default") as uow:
        CustomerRepository(uow).save([Customer("aaa", "hq", "First Oy", "FI", "EUR")], START)
    browsing.sign_in("pia")
    for page in ("/console/product", "/console/checkout"):
        shown = browsing.get(page)
        assert (shown.status_code, 'value="aaa"' in shown.text) == (200, True)
        assert browsing.get(f"{page}?customer=aaa").status_code == 404


def test_who_is_beyond_the_list_of_customers_is_named_and_stays_chosen(
    door: Door, browsing: Browsing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(customer_choice, "MOST", 1)
    browsing.sign_in("ann")
    for page in ("/console/finance/invoices", "/console/product", "/console/checkout"):
        shown = browsing.get(f"{page}?customer=buyer").text
        assert '<option value="buyer" selected>' in shown, page
        assert shown.count("<option value=") <= 3, page
    assert "<td>buyer</td>" not in browsing.get("/console/finance/invoices").text
