"""The product's and the checkout's stories, as people live them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal

import httpx
import pytest
from playwright.sync_api import expect

from tests.e2e.visit import Visit

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]


def total(visit: Visit) -> Decimal:
    return Decimal(visit.page.locator("#total").inner_text().replace(",", ""))


def test_a_stranger_signs_in_and_out_again(visit: Visit) -> None:
    page = visit.go("/")
    expect(page).to_have_url(f"{visit.address}/console/sign-in?next=/console")
    visit.see("sign-in")
    visit.sign_in("ann")
    expect(page.get_by_role("heading", level=1)).to_have_text("Feature board")
    cookie = next(each for each in page.context.cookies() if each["name"] == "alacarte_session")
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Lax")
    page.get_by_role("button", name="Sign out").click()
    page.goto(visit.address + "/console/product")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.context.add_cookies([cookie])
    page.goto(visit.address + "/console/product")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_toggling_a_feature_moves_price_and_reasons(visit: Visit) -> None:
    page = visit.sign_in("ann")
    expect(page.locator("#total")).to_be_visible()
    before, bars = total(visit), page.locator("#price svg.bar").count()
    page.get_by_role("checkbox", name="Audit log").click()
    expect(page.locator("#price svg.bar")).not_to_have_count(bars)
    toggled = total(visit)
    assert toggled != before
    page.get_by_label("Quantity of Seats").fill("500")
    expect(page.locator("#price")).to_contain_text("500")
    assert total(visit) > toggled
    assert "q.seats=500" in page.url
    visit.see("board")
    page.get_by_role("checkbox", name="Priority lane").check()
    page.get_by_role("checkbox", name="Dedicated capacity").check()
    expect(page.locator("#price")).to_contain_text("cannot be sold")
    visit.see("board-refused")


def test_a_list_that_changes_the_page_is_gone_through_by_arrow_keys(visit: Visit) -> None:
    page = visit.sign_in("ann")
    customers = page.get_by_label("Customer")
    customers.focus()
    names = customers.locator("option").evaluate_all("all => all.map(each => each.value)")
    for name in names[1:3]:
        page.keyboard.press("ArrowDown")
        page.wait_for_url(f"**/product?customer={name}&**")
        expect(customers).to_be_focused()
        expect(customers).to_have_value(name)


def test_the_board_works_from_the_keyboard_and_without_scripts(visit: Visit) -> None:
    page = visit.sign_in("ann")
    expect(page.locator("#total")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the content")
    page.get_by_role("checkbox", name="Audit log").focus()
    bars = page.locator("#price svg.bar").count()
    page.keyboard.press("Space")
    expect(page.locator("#price svg.bar")).not_to_have_count(bars)
    state = page.context.storage_state()
    page = visit.open(java_script_enabled=False, storage_state=state)
    page.goto(visit.address + "/console/product")
    was = total(visit)
    page.get_by_role("checkbox", name="Audit log").click()
    page.get_by_role("button", name="Price it").click()
    assert total(visit) != was


def test_a_sealed_quote_verifies_green_and_one_digit_turns_it_red(visit: Visit) -> None:
    page = visit.sign_in("ann")
    visit.go("/console/checkout")
    page.get_by_role("checkbox", name="Audit log").check()
    expect(page.locator("#answer")).to_contain_text('"audit_log"')
    shown = total(visit)
    assert f'"rounded_total": "{shown.normalize():f}"' in page.locator("#answer").inner_text()
    visit.see("checkout")
    page.get_by_role("button", name="Seal this quote").click()
    expect(page.locator("#verdict .notice.good")).to_contain_text("Verified")
    visit.see("verified")
    document = page.locator("#document").input_value()
    at = document.index('"amount": "') + len('"amount": "')
    forged = document[:at] + ("2" if document[at] != "2" else "3") + document[at + 1 :]
    page.locator("#document").fill(forged)
    expect(page.locator("#verdict .notice.bad")).to_contain_text("Refused")
    expect(page.locator("#verdict")).to_contain_text("amount")
    visit.see("forged")
    page.locator("#document").fill(document)
    expect(page.locator("#verdict .notice.good")).to_contain_text("Verified")
    page.locator("#document").fill("{")
    expect(page.locator("#verdict .notice.bad")).to_be_visible()


def pasted(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_code_samples_answer_as_they_are_pasted(visit: Visit) -> None:
    page = visit.sign_in("ann")
    visit.go("/console/checkout")
    without_key = page.locator("#asked pre").all_inner_texts()
    page.get_by_role("button", name="Make a sandbox key").click()
    token = page.locator("#token").inner_text()
    visit.see("samples")
    for samples, environment in ((page.locator("pre").all_inner_texts(), {}), (without_key, {"ALACARTE_KEY": token})):
        shell, *programs = samples
        total = json.loads(pasted(["bash", "-c", f"{shell} --silent --fail"], environment))["rounded_total"]
        assert Decimal(total) > 0
        assert [pasted([sys.executable, "-c", each], environment).strip() for each in programs] == [total, total]
    headers = {"Authorization": f"Bearer {token}"}
    assert httpx.get(f"{visit.address}/v1/customers", headers=headers).status_code == 403


def test_a_phone_in_the_dark_in_korean(visit: Visit) -> None:
    page = visit.open(viewport={"width": 390, "height": 844}, color_scheme="dark", locale="ko-KR")
    visit.sign_in("ann")
    expect(page.get_by_role("heading", level=1)).to_have_text("기능 보드")
    visit.see("board-phone-dark-korean")
    page.get_by_role("button", name="밝게").click()
    assert page.locator("html").get_attribute("data-theme") == "light"
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Feature board")
    visit.go("/console/checkout")
    visit.see("checkout-phone-light")
