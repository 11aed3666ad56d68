"""A price is dragged, drafted, sent for approval and published by somebody else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from api.cli.main import main as alacarte
from tests.e2e.conftest import World
from tests.e2e.visit import Visit

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]


def test_a_dragged_price_replays_last_month_and_two_people_publish_it(visit: Visit) -> None:
    page = visit.sign_in("ann")
    visit.go("/console/product/replay?feature=seats")
    expect(page.locator("#result")).to_contain_text("comes out as invoiced, to the smallest unit")
    was = page.locator("#revenue").inner_text()
    page.locator("#price").fill("9")
    expect(page.locator("#asked")).to_contain_text("9")
    expect(page.locator("#revenue")).not_to_have_text(was)
    expect(page.locator("#result")).to_contain_text("Would pay more")
    visit.see("replay")
    page.get_by_role("link", name="Draft a price book with this price").click()
    page.get_by_label("Reason").fill("support costs more")
    text = page.locator("#document").input_value()
    wrong = text.replace("version: 2", "version: two")
    page.get_by_label("From a file").set_input_files(
        {"name": "catalog.yaml", "mimeType": "application/yaml", "buffer": wrong.encode()}
    )
    expect(page.locator("#document")).to_have_value(wrong)
    page.get_by_role("button", name="Keep the draft").click()
    expect(page.get_by_role("alert")).to_contain_text(re.compile(r"catalog:\d+"))
    assert "422" in visit.complaints.pop()
    visit.see("price-edit-refused")
    page.locator("#document").fill(text)
    page.get_by_role("button", name="Keep the draft").click()
    expect(page.locator("table")).to_contain_text("features.seats.tariff.unit_amount")
    page.get_by_role("button", name="Ask for approval").click()
    expect(page.get_by_text("Waits for a second person")).to_be_visible()
    expect(page.get_by_role("button", name="Approve and publish")).to_have_count(0)
    visit.see("price-asked")
    address = page.url.removeprefix(visit.address)
    page = visit.open()
    visit.sign_in("bob")
    visit.go(address)
    visit.see("price-to-approve")
    page.get_by_role("button", name="Approve and publish").click()
    expect(page.get_by_text("Published, approved by bob.")).to_be_visible()
    visit.go("/console/product/prices")
    expect(page.locator("table").last.locator("tbody tr").first).to_contain_text("llm-gateway v2")
    visit.see("prices")


def test_replay_on_a_phone_in_the_dark_in_korean(visit: Visit) -> None:
    visit.open(viewport={"width": 390, "height": 844}, color_scheme="dark", locale="ko-KR")
    visit.sign_in("ann")
    visit.go("/console/product/replay?feature=sso")
    visit.see("replay-phone-dark-korean")
    visit.go("/console/product/prices")
    visit.see("prices-phone-dark-korean")


def test_demand_is_drawn_where_there_is_enough_and_too_little_is_said(visit: Visit) -> None:
    page = visit.sign_in("bob")
    visit.go("/console/product/demand")
    seats = page.locator("section", has=page.get_by_role("heading", name="Seats"))
    expect(seats.locator("svg .curve")).to_have_count(1)
    expect(seats.locator("svg .band")).to_have_count(1)
    assert seats.locator("svg .dot").count() == seats.locator("tbody tr").count() > 3
    lane = page.locator("section", has=page.get_by_role("heading", name="Priority lane"))
    expect(lane).to_contain_text("Too little data")
    expect(lane.locator("svg .curve")).to_have_count(0)
    visit.see("demand")
    visit.go("/console/product/experiments")
    assert page.locator("tbody tr").count() >= 12
    visit.see("experiments")


def test_an_epoch_that_was_proposed_is_put_in_force_by_a_person_and_stopped(
    visit: Visit, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in world.environment.items():
        monkeypatch.setenv(name, value)
    assert alacarte(("demand", "fit")) == 0
    assert alacarte(("demand", "propose", "--out", str(tmp_path / "proposal.json"))) == 0
    page = visit.sign_in("bob")
    visit.go("/console/product/demand")
    expect(page.get_by_text("is proposed by cli and waits to be published")).to_be_visible()
    visit.see("epoch-to-publish")
    page.get_by_role("button", name="Put in force").click()
    expect(page.get_by_text("waits to be published")).to_have_count(0)
    expect(page.get_by_role("button", name="Put in force")).to_have_count(0)
    stop = page.get_by_role("button", name="Back to list prices")
    page.get_by_label("Why").fill("complaints")
    visit.see("epoch-in-force")
    stop.click()
    expect(stop).to_have_count(0)
