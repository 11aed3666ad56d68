"""The first pages of the doors: nothing is refused before it is chosen, nothing is counted that nobody was billed."""

from __future__ import annotations

import html

import pytest

from billing.customers import Customer
from billing.repositories.customers import CustomerRepository
from tests.integration.api.door import START, Door
from tests.integration.console.browsing import Browsing

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
