"""Webhook endpoints are added, looked into where they fail, sent to again, paused, and given other secrets."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from standardwebhooks import Webhook

from tests.e2e.visit import Visit
from tests.webhook_receiver import Receiver, receiver

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]
DOWN = (503, {}, b'{"error": "down for repair"}')


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as opened:
        yield opened


def add(page: Page, url: str, description: str) -> str:
    """Fill in the form by the keyboard alone and return the secret that is shown."""
    if page.locator("#add").get_attribute("open") is None:
        page.locator("#add summary").press("Enter")
    page.locator("#add input[name=url]").press_sequentially(url)
    page.keyboard.press("Tab")
    page.keyboard.type(description)
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")  # From all to only these.
    for _ in range(4):
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.locator("input[name='type.invoice.paid']")).to_be_checked()
    page.keyboard.press("Enter")
    return page.locator("#secret").inner_text()


def opened(visit: Visit) -> str:
    """Go on from a secret to its endpoint, and return where that is."""
    visit.page.locator("main a").click()
    visit.page.wait_for_url("**/webhooks/whe_*")
    return visit.page.url.removeprefix(visit.address)


def remove(page: Page) -> None:
    """Leave nothing to the next story."""
    page.locator("#remove summary").click()
    page.locator("#remove button").click()
    page.wait_for_url("**/console/webhooks")


def pay(visit: Visit, customer: int) -> str:
    """Record that a customer's invoice is paid, and return its number."""
    page = visit.go("/console/finance/invoices")
    page.get_by_role("combobox").first.select_option(index=customer)
    expect(page.locator("#rows tbody tr")).to_have_count(2)
    page.locator("#rows tbody a").first.click()
    page.wait_for_url("**/invoices/in_*")
    page.locator("#pay summary").click()
    page.locator("#pay input[name=reference]").fill(f"transfer-{customer}")
    page.locator("#pay button").click()
    expect(page.locator("#pay")).to_have_count(0)
    return page.locator("h1").inner_text().split()[0]


def heard(there: Receiver, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(there.received) < count:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(1)  # Until it is written down.


def test_an_endpoint_is_added_by_whoever_has_the_role_and_by_nobody_else(visit: Visit, there: Receiver) -> None:
    page = visit.sign_in("ann")
    expect(page.get_by_role("link", name="Finance")).to_be_visible()
    expect(page.get_by_role("link", name="Webhooks")).to_have_count(0)
    page = visit.open()
    visit.sign_in("bob")
    page.get_by_role("link", name="Webhooks").click()
    expect(page.get_by_text("No endpoint yet")).to_be_visible()
    visit.see("webhooks-empty")
    page.get_by_label("Address").fill("http://10.0.0.1/hook")
    page.get_by_role("button", name="Add an endpoint").click()
    expect(page.get_by_role("alert").filter(has_text="public addresses only")).to_be_visible()
    expect(page.get_by_label("Address")).to_be_focused()
    assert "422" in visit.complaints.pop()
    visit.see("webhooks-refused")
    visit.go("/console/webhooks")
    assert add(page, there.url, "the books").startswith("whsec_")
    visit.see("webhook-secret")
    page.get_by_role("link", name="go on to the endpoint").click()
    expect(page.get_by_text("Nothing was to be sent yet.")).to_be_visible()
    remove(page)
    expect(page.get_by_text("No endpoint yet")).to_be_visible()


def test_what_failed_is_looked_into_and_sent_again(visit: Visit, there: Receiver) -> None:
    page = visit.sign_in("bob")
    visit.go("/console/webhooks")
    secret = add(page, there.url, "the books")
    address = opened(visit)
    there.answers = [DOWN, DOWN]
    number = pay(visit, 7)
    heard(there, 2)
    visit.go(address)
    expect(page.get_by_text("Nothing has arrived since")).to_be_visible()
    row = page.locator("#deliveries tbody tr")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("HTTP 503")
    visit.see("webhook-failing")
    row.get_by_role("button", name="Send again").press("Enter")
    expect(page.get_by_role("status")).to_contain_text("1 will be sent again.")
    heard(there, 3)
    visit.go(address)
    expect(row).to_contain_text("arrived")
    last = there.received[-1]
    told = Webhook(secret).verify(last.body, last.headers)
    assert (told["type"], told["data"]["number"]) == ("invoice.paid", number)
    row.get_by_role("link").click()
    expect(page.locator("pre").first).to_contain_text(number)
    expect(page.get_by_text("down for repair")).to_have_count(2)
    visit.see("webhook-delivery")
    visit.go(address)
    remove(page)


def test_a_secret_is_replaced_once_and_an_endpoint_paused(visit: Visit, there: Receiver) -> None:
    page = visit.sign_in("bob")
    visit.go("/console/webhooks")
    secret = add(page, there.url, "the books")
    address = opened(visit)
    page.locator("#rotate summary").press("Enter")
    page.locator("#rotate button").press("Enter")
    assert page.locator("#secret").inner_text() != secret
    expect(page.get_by_text("The one before signs beside it until")).to_be_visible()
    page.reload()  # The form once more: no second secret.
    expect(page.get_by_role("alert").filter(has_text="A new secret was made")).to_be_visible()
    assert "409" in visit.complaints.pop()
    visit.go(address)
    page.get_by_role("button", name="Disable").click()
    expect(page.get_by_text("Disabled by bob.")).to_be_visible()
    for each in page.locator("details.card summary").all():
        each.click()
    visit.see("webhook-disabled")
    page.get_by_role("button", name="Enable").click()
    expect(page.locator("h1 .tag")).to_have_text("active")
    remove(page)


@pytest.mark.parametrize(
    ("name", "colours", "locale", "width"),
    [("desktop", "dark", "en-US", 1280), ("phone", "light", "en-US", 390), ("phone-ko", "dark", "ko-KR", 390),
     ("desktop-ko", "light", "ko-KR", 1280)],
)  # fmt: skip
def test_webhooks_are_read_on_any_screen_in_both_languages(
    visit: Visit, there: Receiver, name: str, colours: Any, locale: str, width: int
) -> None:
    page = visit.open(viewport={"width": width, "height": 844}, color_scheme=colours, locale=locale)
    visit.sign_in("bob")
    visit.go("/console/webhooks")
    add(page, f"{there.url}/services/T0123/B0456/a-long-secret-of-{name}", "a channel")
    visit.see(f"webhook-secret-{name}")
    address = opened(visit)
    there.answers = [DOWN, DOWN, (410, {}, b"")]
    pay(visit, {"desktop": 2, "phone": 4, "phone-ko": 6, "desktop-ko": 8}[name])
    heard(there, 2)
    visit.go("/console/webhooks")
    page.locator("#add summary").click()
    page.locator("#add input[value=some]").check()
    visit.see(f"webhooks-{name}")
    visit.go(address)
    for each in page.locator("details summary").all():
        each.click()
    visit.see(f"webhook-{name}")
    buttons = page.locator("#deliveries button").evaluate_all(
        "all => all.every(each => each.getBoundingClientRect().right <= window.innerWidth)"
    )
    assert buttons
    page.locator("#deliveries a").first.click()
    page.wait_for_url(re.compile(".*/deliveries/evt_.*"))
    visit.see(f"webhook-delivery-{name}")
    assert json.loads(page.locator("pre").first.inner_text())["type"] == "invoice.paid"
    visit.go(address)
    remove(page)
