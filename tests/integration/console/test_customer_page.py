"""A customer's link opens that customer's page, and nobody else's documents."""

from __future__ import annotations

from datetime import timedelta

from api.customer_links import CustomerLink, write_link
from tests.integration.api.door import START, Door
from tests.integration.console.browsing import Browsing
from tests.quote_facts import SIGNER


def test_a_link_opens_its_customers_documents_alone(door: Door, browsing: Browsing) -> None:
    invoice = door.call("GET", "/v1/invoices").json()["items"][0]
    links = {
        customer: write_link(CustomerLink("default", customer, START + timedelta(days=1)), SIGNER)
        for customer in ("buyer", "acme-default", "nobody")
    }
    page = browsing.get(f"/console/customer/{links['buyer']}")
    assert page.status_code == 200
    assert invoice["number"] in page.text
    assert "2026-03-02" not in page.text  # The link ends by the machine's clock, the page is told by the tenant's.
    pdf = browsing.get(f"/console/customer/{links['buyer']}/invoices/{invoice['id']}")
    assert pdf.content.startswith(b"%PDF")
    assert browsing.get(f"/console/customer/{links['acme-default']}/invoices/{invoice['id']}").status_code == 404
    made = door.call("POST", f"/v1/invoices/{invoice['id']}/credit-notes", {"reason": "was late"}, key="note").json()
    again = browsing.get(f"/console/customer/{links['buyer']}").text
    assert made["number"] in again
    assert "was late" in again
    printed = browsing.get(f"/console/customer/{links['buyer']}/credit-notes/{made['id']}")
    assert printed.content.startswith(b"%PDF")
    assert browsing.get(f"/console/customer/{links['acme-default']}/credit-notes/{made['id']}").status_code == 404
    assert "None yet." in browsing.get(f"/console/customer/{links['acme-default']}").text
    assert browsing.get(f"/console/customer/{links['nobody']}").status_code == 404
    door.wait(days=2)
    assert browsing.get(f"/console/customer/{links['buyer']}").status_code == 404
