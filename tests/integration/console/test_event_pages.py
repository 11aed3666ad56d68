"""No event bills nothing in silence: in the console too, each says where it is billed or what it waits for."""

from __future__ import annotations

import pytest

from api.console.events import _A_PAGE
from api.console.wording import LANGUAGES, catalog
from billing.event_fate import Fate
from billing.metering.outcome import UnmatchedReason
from tests.billing_story import at
from tests.integration.api.door import Door
from tests.integration.console.browsing import Browsing

EVENTS = "/console/finance/events"


def send(door: Door, name: str, **changes: object) -> None:
    event = {"specversion": "1.0", "id": name, "source": "gateway", "type": "llm.request", "subject": "buyer",
             "time": "2026-02-03T10:00:00Z", "data": {"tokens": "5"}, **changes}  # fmt: skip
    assert door.call("POST", "/v1/events", event).status_code == 201


def test_an_event_says_why_it_bills_nothing(door: Door, browsing: Browsing) -> None:
    send(door, "strange", type="nobody.reads")
    send(door, "of nobody", subject="nobody")
    browsing.sign_in("eve")
    page = browsing.get(EVENTS).text
    assert "no meter reads this type" in page
    assert f"{EVENTS}?id=of%20nobody&amp;source=gateway" in page
    assert "unknown customer" in browsing.get(f"{EVENTS}?id=of%20nobody&source=gateway").text
    assert "no meter reads it" in browsing.get(f"{EVENTS}?id=strange").text
    assert "No such event was stored." in browsing.get(f"{EVENTS}?id=none").text
    assert f'<a href="{EVENTS}">' in browsing.get("/console/finance/months/2026-02").text


def test_many_unmatched_events_come_in_pages(door: Door, browsing: Browsing) -> None:
    for number in range(_A_PAGE + 1):
        send(door, f"e-{number:02}", subject="nobody")
    browsing.sign_in("eve")
    [after] = [part.partition('"')[0] for part in browsing.get(EVENTS).text.split(f"{EVENTS}?after=")[1:]]
    second = browsing.get(f"{EVENTS}?after={after}").text
    assert f"e-{_A_PAGE:02}" in second
    assert "e-00" not in second


def test_the_checklist_leads_to_the_drafts_that_wait(door: Door, browsing: Browsing) -> None:
    door.clock[0] = at("2026-03-02")
    door.call("POST", "/v1/closes/2026-02", {"grace_days": 3}, key="close")
    [draft] = [each for each in door.call("GET", "/v1/invoices").json()["items"] if each["state"] == "draft"]
    door.clock[0] = at("2026-04-02")
    browsing.sign_in("eve")
    page = browsing.get("/console/finance/months/2026-03").text
    assert f'<a href="/console/finance/invoices/{draft["id"]}">buyer 2026-02</a>' in page
    assert "ends at 2026-04-01 00:00 UTC" in page


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_fate_and_reason_is_worded(language: str) -> None:
    words = catalog(language).keys()
    assert {f"fate.{each.value}" for each in Fate} <= words
    assert {f"unmatched.{each.value}" for each in UnmatchedReason} <= words
