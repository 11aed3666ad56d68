"""Months in the console: closed, opened again with a reason, closed once more; and a close that is given up."""

from __future__ import annotations

import pytest

from api.console.wording import LANGUAGES, catalog
from billing import audit
from billing.close_checks import checklist
from billing.close_tasks import InTurn
from billing.closing import close
from billing.repositories.closes import CloseRepository
from tests.billing_story import at
from tests.integration.api.door import Door
from tests.integration.console.browsing import Browsing

JANUARY = "/console/finance/months/2026-01"
FEBRUARY = "/console/finance/months/2026-02"


def actions(door: Door, period: str) -> list[tuple[str, str, str]]:
    with door.database.reading("default") as uow:
        return [(action, actor, reason) for action, actor, reason, _ in CloseRepository(uow).actions(period)]


def test_a_closed_month_is_opened_again_with_a_reason_and_closed_once_more(door: Door, browsing: Browsing) -> None:
    browsing.sign_in("eve")
    assert "Open it again" in browsing.get(JANUARY).text
    assert browsing.post(f"{JANUARY}/reopen", {"reason": " "}).status_code == 422
    assert browsing.post(f"{JANUARY}/reopen", {"reason": "usage came late"}).status_code == 303
    assert "Close the month" in browsing.get(JANUARY).text
    assert browsing.post(f"{JANUARY}/close").status_code == 303
    assert "Open it again" in browsing.get(JANUARY).text
    assert ("reopen", "eve", "usage came late") in actions(door, "2026-01")
    with door.database.reading("default") as uow:
        trail = [(entry.actor, entry.action) for entry in audit.entries(uow)][-2:]
    assert trail == [("eve", "month.reopen"), ("eve", "month.close")]


def test_a_close_that_cannot_be_finished_is_given_up_and_only_the_last_month_is_opened(
    door: Door, browsing: Browsing
) -> None:
    class Stuck(InTurn):
        def run(self, *_args: object) -> None:  # type: ignore[override]
            raise InterruptedError

    door.clock[0] = at("2026-03-02")
    with pytest.raises(InterruptedError):
        close(door.database, "default", "2026-02", at("2026-03-02"), executor=Stuck())
    browsing.sign_in("eve")
    assert "Give this close up" in browsing.get(FEBRUARY).text
    assert "Open it again" not in browsing.get(JANUARY).text
    assert browsing.post(f"{JANUARY}/reopen", {"reason": "x"}).status_code == 422
    assert browsing.post(f"{FEBRUARY}/reopen", {"reason": "it stopped"}).status_code == 303
    assert [action for action, _, _ in actions(door, "2026-02")] == ["begin", "reopen"]
    assert "Close the month" in browsing.get(FEBRUARY).text


def test_every_item_of_the_checklist_is_worded(door: Door) -> None:
    with door.database.reading("default") as uow:
        names = {check.name for check in checklist(uow, "2026-02", at("2026-03-02"))}
    for language in LANGUAGES:
        assert {f"{group}.{name}" for group in ("check", "check_detail") for name in names} <= catalog(language).keys()


def test_details_of_the_checklist_are_in_the_readers_language(browsing: Browsing) -> None:
    browsing.sign_in("eve")
    assert "0 unmatched events" in browsing.get(FEBRUARY).text
    browsing.client.cookies.set("alacarte_language", "ko", path="/console")
    shown = browsing.get(FEBRUARY).text
    assert "연결되지 않은 이벤트 0건" in shown
    assert "unmatched" not in shown


def test_only_finance_opens_a_month(door: Door, browsing: Browsing) -> None:
    browsing.sign_in("pia")
    assert browsing.post(f"{JANUARY}/reopen", {"reason": "x"}).status_code == 403
    assert actions(door, "2026-01")[-1][0] == "lock"
