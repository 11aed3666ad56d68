"""The customer's own page behind its link."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import Route, expect

from tests.e2e.visit import Visit

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]


def late(route: Route) -> None:
    """Let our font come after the page was first laid out, as over a real network."""
    time.sleep(0.3)
    route.continue_()


def test_a_customer_sees_use_cost_reasons_savings_and_invoices(visit: Visit, tmp_path: Path) -> None:
    page = visit.sign_in("ann")
    visit.go("/console/finance/invoices?customer=hangang")
    page.locator("#rows tbody a").first.click()
    page.get_by_role("button", name="Link to the customer's page").click()
    address = urlsplit(page.locator("#link").inner_text()).path
    visit.see("customer-link")
    page = visit.open()
    page.route("**/*.otf", late)
    visit.go(address)
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    visit.see("customer-korean")
    for words in ("button[lang=ko]", "thead th", "thead th.figure"):
        assert visit.drawn_with(words) == {"ours"}, words
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", name="What you use")).to_be_visible()
    assert page.locator(".saves").count() >= 2
    expect(page.locator(".saves").first).to_contain_text("dropping it saves")
    with page.expect_download() as started:
        page.get_by_role("link", name="PDF").first.click()
    started.value.save_as(tmp_path / "mine.pdf")
    assert (tmp_path / "mine.pdf").read_bytes().startswith(b"%PDF")
    page = visit.open(viewport={"width": 390, "height": 844}, color_scheme="dark")
    visit.go(address)
    visit.see("customer-phone-dark")
    token = address.rpartition("/")[2]
    bent = token[:5] + ("x" if token[5] != "x" else "y") + token[6:]
    assert httpx.get(f"{visit.address}/console/customer/{bent}").status_code == 404
    assert httpx.get(f"{visit.address}/console/finance", cookies={}).status_code == 303
