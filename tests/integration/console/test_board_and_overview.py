"""The first pages of the doors: nothing is refused before it is chosen, nothing is counted that nobody was billed."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO

import pytest
from rich.console import Console

from billing.customers import Customer
from billing.repositories.customers import CustomerRepository
from examples.llm_gateway.summary import by_feature, revenue_table
from tests.billing_story import Company, repriced
from tests.integration.api.door import START, Door
from tests.integration.console.browsing import Browsing

SUMS = ("revenue", "carried")
EMPTY, REFUSED = "Choose a feature to see what it costs.", "This selection cannot be sold"


@pytest.mark.parametrize("page", ["/console/product", "/console/checkout"])
def test_a_page_on_which_nothing_is_chosen_refuses_nothing(browsing: Browsing, page: str) -> None:
    browsing.sign_in("pia")
    for asked in ("", "?customer=acme-default", "?customer=acme-default&chosen=acme-default"):
        shown = browsing.get(page + asked).text
        assert EMPTY in shown
        assert REFUSED not in shown
    refused = browsing.get(f"{page}?customer=acme-default&chosen=acme-default&on.seats=1&q.seats=0").text
    assert REFUSED in refused
    assert EMPTY not in refused


def test_revenue_adds_up_and_says_what_is_carried(door: Door, browsing: Browsing) -> None:
    """Three invoices of 10.004 are rounded to 10.00 each: the rest is neither revenue nor lost, in any table."""
    company = Company(door.database)
    company.found("one", "two", "three")
    book = company.publish(repriced("seats", {"model": "unit", "unit_amount": "10.004"}))
    for customer in ("one", "two", "three"):
        company.subscribe(customer, book, {"seats": "1"}, starts="2026-02-01")
    company.close("2026-02", "2026-03-01T06:00")
    browsing.sign_in("pia")
    shown = browsing.get("/console/product").text
    rows = {name: re.sub(r"<[^>]+>|\s+", " ", shown.split(f'<tr id="{name}">')[1].split("</tr>")[0]) for name in SUMS}
    assert "50.00" in rows["revenue"]
    assert "0.01" in rows["carried"]
    with door.database.reading("default") as uow:
        sums = by_feature(uow, datetime(2026, 2, 1, tzinfo=UTC))
    assert (sums["seats"].exact, sums["seats"].carried) == (Decimal("50.012"), Decimal("0.012"))
    printed = Console(width=120, record=True, file=StringIO())
    printed.print(revenue_table({datetime(2026, 2, 1, tzinfo=UTC): sums}))
    said = printed.export_text()
    assert "50.00" in said
    assert "0.0120" in said


def test_a_sample_in_python_names_the_customer_as_he_is(door: Door, browsing: Browsing) -> None:
    with door.database.writing("default") as uow:
        CustomerRepository(uow).save([Customer("true-north", "hq", "True North Ltd", "IE", "USD")], START)
    browsing.sign_in("pia")
    shown = browsing.get("/console/checkout?customer=true-north&chosen=true-north&on.sso=1").text
    sample = html.unescape(shown.split('aria-label="Python">')[1].split("</pre>")[0])
    assert '"customer": "true-north"' in sample
    assert '"sso": True' in sample


def test_the_overview_counts_currencies_in_which_something_was_billed(door: Door, browsing: Browsing) -> None:
    with door.database.writing("default") as uow:
        CustomerRepository(uow).save([Customer("later", "hq", "Later SARL", "FR", "EUR")], START)
    browsing.sign_in("eve")
    shown = browsing.get("/console/finance").text
    assert "<small>USD" in shown
    assert "<small>EUR" not in shown
