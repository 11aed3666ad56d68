"""The finance door's stories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.visit import Visit

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]


def download(visit: Visit, name: str, path: Path) -> bytes:
    with visit.page.expect_download() as started:
        visit.page.get_by_role("link", name=name, exact=True).click()
    started.value.save_as(path)
    return path.read_bytes()


def test_an_invoice_opens_down_to_its_events(visit: Visit, tmp_path: Path) -> None:
    page = visit.sign_in("ann")
    visit.go("/console/finance")
    visit.see("finance")
    page.get_by_role("link", name="Invoices").click()
    visit.see("invoices")
    before = page.locator("#rows tbody tr").count()
    page.get_by_label("Customer").select_option(label="Aurora Robotics GmbH")
    expect(page.locator("#rows tbody tr")).to_have_count(2)
    assert before > 2
    page.locator("#rows tbody a").first.click()
    visit.see("invoice")
    shown = page.locator("section").first.locator("tbody td:nth-child(5)").all_inner_texts()
    assert download(visit, "PDF", tmp_path / "invoice.pdf").startswith(b"%PDF")
    document = json.loads(download(visit, "JSON", tmp_path / "invoice.json"))
    assert [text.replace("\N{MINUS SIGN}", "-").replace(",", "") for text in shown] == [
        each["exact"] for each in document["lines"]
    ]
    page.get_by_role("link", name="1. Input tokens").click()
    expect(page.get_by_text("equal to the last digit")).to_be_visible()
    expect(page.get_by_text(document["lines"][0]["exact"]).first).to_be_visible()
    events = page.locator("#events tbody tr")
    assert events.count() > 5
    reads = sum(int(text) for text in page.locator("#events td.figure").all_inner_texts())
    assert reads == int(document["lines"][0]["quantity"])
    visit.see("invoice-line")
    page.set_viewport_size({"width": 360, "height": 740})
    visit.see("invoice-line-phone")
    page.set_viewport_size({"width": 1280, "height": 900})


def test_the_books_balance_and_the_month_says_where_it_stands(visit: Visit, tmp_path: Path) -> None:
    page = visit.sign_in("ann")
    visit.go("/console/finance/balance")
    debit, credit = page.locator("tfoot td.figure").all_inner_texts()
    assert debit == credit
    page.get_by_role("button", name="Verify the ledger").click()
    expect(page.get_by_role("status")).to_contain_text("Sound")
    visit.see("balance")
    visit.go("/console/finance/receivables")
    visit.see("receivables")
    visit.go("/console/finance/reconciliation")
    expect(page.get_by_text("Stripe is not set up")).to_be_visible()
    visit.see("reconciliation")
    visit.go("/console/finance/months/2026-09")
    expect(page.get_by_text("This month is closed.")).to_be_visible()
    expect(page.get_by_role("button", name="Open it again")).to_be_hidden()  # A later one is closed.
    visit.go("/console/finance/months/2026-10")
    expect(page.get_by_role("button", name="Open it again")).to_be_visible()
    visit.see("month")
    visit.go("/console/finance/months/2099-01")
    expect(page.get_by_text("Not yet")).to_be_visible()
    visit.go("/console/finance/downloads")
    visit.see("downloads")
    register = download(visit, "Invoices 2026-10 CSV", tmp_path / "register.csv").decode()
    assert len(register.splitlines()) == 13
    assert download(visit, "CSV", tmp_path / "journal.csv").count(b"\n") > 20


def test_an_invoice_is_credited_in_part_and_the_rest_paid(visit: Visit) -> None:
    page = visit.sign_in("ann")
    visit.go("/console/finance/invoices")
    page.get_by_label("Customer").select_option(index=3)
    expect(page.locator("#rows tbody tr")).to_have_count(2)
    page.locator("#rows tbody a").first.click()
    page.wait_for_url("**/invoices/in_*")
    page.locator("#credit summary").click()
    for each in (page.locator("#credit input.quantity").all())[1:]:
        each.fill("")
    page.locator("#credit input.quantity").first.fill("0.02")
    page.get_by_label("Why it is credited").fill("an hour's outage")
    page.get_by_role("button", name="Issue a credit note").click()
    expect(page.get_by_text("an hour's outage")).to_be_visible()
    page.locator("#pay summary").click()
    owed = page.get_by_label("Amount, USD").input_value()
    page.get_by_label("Amount, USD").fill("12,50")
    page.get_by_label("Reference of the bank").fill("transfer-4711")
    page.get_by_role("button", name="Record a payment").click()
    expect(page.get_by_role("alert").filter(has_text="This is no number.")).to_be_visible()
    visit.complaints.clear()  # The browser says of its own that the answer was 422.
    visit.see("invoice-refused")
    page.get_by_label("Amount, USD").fill(owed)
    page.get_by_role("button", name="Record a payment").click()
    expect(page.get_by_text("Open: 0.00 USD")).to_be_visible()
    expect(page.locator("h1 .tag")).to_have_text("paid")
    assert page.locator("#pay").count() == 0
    visit.see("invoice-paid")


def test_money_is_paid_back_by_somebody_with_the_role_for_it_from_the_keyboard(visit: Visit) -> None:
    page = visit.sign_in("ann")
    visit.go("/console/finance/invoices")
    page.get_by_label("Customer").select_option(index=5)
    expect(page.locator("#rows tbody tr")).to_have_count(2)
    page.locator("#rows tbody a").first.click()
    page.wait_for_url("**/invoices/in_*")
    address = page.url.removeprefix(visit.address)
    page.locator("#pay summary").focus()
    page.keyboard.press("Enter")
    page.get_by_label("Reference of the bank").fill("transfer-4712")
    page.keyboard.press("Enter")
    expect(page.locator("h1 .tag")).to_have_text("paid")
    expect(page.get_by_text("Money is paid back by somebody with the role refund.")).to_be_visible()
    page = visit.open()
    visit.sign_in("bob")
    visit.go(address)
    page.locator("#refund summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("999999")
    page.keyboard.press("Enter")
    expect(page.locator("#refusal")).to_contain_text("More than was paid")
    expect(page.locator("#refund input[name=amount]")).to_be_focused()
    visit.complaints.clear()  # The browser says of its own that the answer was 422.
    visit.see("refund-refused")
    page.keyboard.press("Control+A")
    page.keyboard.type("0.50")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Open: 0.50 USD")).to_be_visible()
    visit.see("refunded")


def test_an_event_is_looked_up_and_leads_to_its_invoice(visit: Visit) -> None:
    page = visit.sign_in("ann")
    visit.go("/console/finance/invoices")
    page.locator("#rows tbody a").first.click()
    page.wait_for_url("**/invoices/in_*")
    number = page.locator("h1").inner_text().split()[0]
    page.get_by_role("link", name="Input tokens").last.click()
    event = page.locator("#events code").first.inner_text().split()[1]
    page.get_by_role("link", name="Events", exact=True).click()
    page.get_by_label("Id of an event").fill(event)
    page.get_by_role("button", name="Find it").click()
    expect(page.locator(".found .tag").first).to_be_visible()
    visit.see("event")
    page.locator(".found").get_by_role("link", name=number).first.click()
    expect(page.locator("h1")).to_contain_text(number)


@pytest.mark.parametrize(("colours", "locale"), [("dark", "ko-KR"), ("light", "en-US")])
def test_amounts_are_in_sight_on_a_phone(visit: Visit, colours: Any, locale: str) -> None:
    page = visit.open(viewport={"width": 390, "height": 844}, color_scheme=colours, locale=locale)
    visit.sign_in("ann")
    for name in ("finance", "finance/events", "finance/receivables", "finance/balance", "finance/invoices"):
        visit.go(f"/console/{name}")
        visit.see(f"{name.replace('/', '-')}-phone-{colours}")
        assert hidden_amounts(page) == [], name
    for narrow in ("finance/balance", "finance/invoices"):  # Their amounts are more than the last.
        visit.go(f"/console/{narrow}")
        assert page.locator(".scroll").evaluate_all("all => all.every(each => each.scrollWidth <= each.clientWidth)")
    numbers = page.locator("#rows tbody a")
    assert numbers.evaluate_all("all => all.every(each => each.getClientRects().length === 1)")
    numbers.first.click()
    page.wait_for_url("**/invoices/in_*")
    for each in page.locator("details.card summary").all():
        each.click()
    visit.see(f"invoice-phone-{colours}")
    assert hidden_amounts(page) == []


def hidden_amounts(page: Page) -> list[str]:
    """Return what stands in the last column of a table without being seen before anybody scrolls."""
    found: list[str] = page.locator(".scroll tr > .figure:last-child").evaluate_all(
        """all => all.filter(each => each.getBoundingClientRect().right > window.innerWidth)
            .map(each => each.innerText)"""
    )
    return found
