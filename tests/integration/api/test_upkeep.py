"""What is over is ended: by command, and by the server itself."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.event import listen

from api.cli.main import main
from api.settings import load_settings
from billing import holds, progressive, usage_holds, wallets
from billing.burn_down import Grant, GrantKind
from billing.database import Database, UnreachableError
from billing.holds import Hold, HoldState
from billing.invoices import Invoice
from billing.phases import Thresholds
from billing.progressive import bill_thresholds
from billing.repositories.quotes import QuoteRepository
from billing.repositories.usage_holds import find_usage_hold
from billing.unit_of_work import UnitOfWork
from billing.upkeep import Ended, end_what_is_over
from models.values.errors import InvalidValueError, LimitExceededError
from tests.billing_story import Company, at, event
from tests.integration.api.door import START, Door, open_door
from tests.integration.usage_holds.story import CENT, expected, give

SOON = START + timedelta(hours=1)
LATER = START + timedelta(days=20)


def sell(database: Database) -> None:
    """Something of each kind that will be over."""
    company = Company(database)
    company.found("acme")
    company.subscribe("acme", company.publish(), {"tokens": "1", "calls": "1"})
    give(company, 1000)
    grant = Grant("gift", "main", "", "", GrantKind.PROMOTIONAL, CENT, START, 0, units=CENT, expires_at=SOON)
    with database.writing("default") as uow:
        wallets.grant_credit(uow, grant, recorded_at=START)
        usage_holds.authorize(uow, replace(expected("h", 5), expires_at=SOON), START)
        holds.hold(uow, Hold("amount", "acme", "USD", "chat", 5, START, SOON))


@pytest.fixture
def sold(database_url: str, tmp_path: Path) -> Iterator[Door]:
    for door in open_door(database_url, tmp_path, sell, upkeep_seconds=0.05):
        quote = door.call("POST", "/v1/quotes", {"customer": "acme-default", "selection": {"seats": "3"}}, key="q")
        assert quote.status_code == 201
        yield door


def states(door: Door) -> tuple[HoldState, list[str]]:
    with door.database.reading("default") as uow:
        quotes = uow.connection.exec_driver_sql("select state from quote").scalars()
        return find_usage_hold(uow, "h").state, list(quotes)


def test_the_server_ends_what_is_over(sold: Door) -> None:
    assert states(sold) == (HoldState.PENDING, ["open"])
    sold.clock[0] = LATER
    deadline = time.monotonic() + 30
    while states(sold) != (HoldState.EXPIRED, ["expired"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    while end_what_is_over(sold.database, "default", LATER) != Ended(0, 0, 0, 0, 0):
        assert time.monotonic() < deadline
    [wallet] = sold.call("GET", "/v1/customers/acme/wallets").json()["items"]
    assert (wallet["free"], wallet["held"]) == ("10", "0")


def test_it_does_so_for_every_tenant_that_calls(sold: Door) -> None:
    body = {"customer": "acme-other", "selection": {"seats": "3"}}
    theirs = sold.token("quote", tenant="other")
    quote = sold.call("POST", "/v1/quotes", body, token=theirs, key="q").json()["id"]
    with sold.database.reading("other") as uow:
        assert QuoteRepository(uow).get(quote).state == "open"
    sold.clock[0] = LATER
    deadline = time.monotonic() + 30
    while True:
        with sold.database.reading("other") as uow:
            if QuoteRepository(uow).get(quote).state == "expired":
                return
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_usage_is_billed_where_it_reaches_the_threshold_that_was_agreed(database_url: str, tmp_path: Path) -> None:
    for door in open_door(database_url, tmp_path, upkeep_seconds=0.05):

        def made(path: str, body: object, status: int, door: Door = door) -> Any:
            answer = door.call("POST", path, body, key=path)
            assert answer.status_code == status, answer.text
            return answer.json()

        quote = made("/v1/quotes", {"customer": "acme-default", "selection": {"tokens": "1"}}, 201)["id"]
        for wrong in ({"thresholds": ["0"]}, {"threshold_every": "-1"}, {"minimum_spend": "-1"}, {"zone": "Nowhere"}):
            refused = door.call("POST", f"/v1/quotes/{quote}/accept", wrong, key="wrong")
            assert (refused.status_code, refused.json()["field"]) == (422, next(iter(wrong)))
        agreed = {"thresholds": ["3"], "threshold_every": "5", "minimum_spend": "10", "interval": "quarter"}
        made(f"/v1/quotes/{quote}/accept", agreed, 200)
        shown = door.call("GET", f"/v1/subscriptions/{quote}").json()["phases"][0]["agreement"]
        assert (shown["minimum_spend"], shown["thresholds"]) == ("10", {"amounts": ["3"], "recurring": "5"})
        assert shown["cycle"]["interval"] == "quarter"
        for number, tokens in ((1, 500_000), (2, 400_000)):
            sent = event(number, "acme-default", door.clock[0].isoformat(), tokens)
            assert door.call("POST", "/v1/events", sent).status_code == 201
            time.sleep(0.3)
        door.wait(hours=1)
        deadline = time.monotonic() + 30
        while not (found := door.call("GET", "/v1/invoices").json()["items"]):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        [invoice] = found
        assert (invoice["state"], invoice["customer"]) == ("finalised", "acme-default")


def test_a_customer_that_cannot_be_billed_keeps_no_other_from_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    company = Company(database)
    company.found("acme", "bolt")
    book = company.publish()
    for customer in ("acme", "bolt"):
        company.subscribe(customer, book, {"tokens": "1"}, thresholds=Thresholds((Decimal(2),)))
        company.ingest([event(customer, customer, "2026-01-05", 1_000)], "2026-01-05T01:00")

    def refuse_acme(uow: UnitOfWork, customer: str, *when: datetime, **more: Any) -> list[Invoice]:
        billed = bill_thresholds(uow, customer, *when, **more)
        if customer == "acme":
            raise LimitExceededError("would overflow", field="balance", code="balance_overflow")
        return billed

    monkeypatch.setattr(progressive, "bill_thresholds", refuse_acme)
    done = progressive.bill_reached(database, company.tenant, at("2026-01-06"))
    assert [each.customer for each in done.invoices] == ["bolt"]
    assert {customer: error.code for customer, error in done.refused.items()} == {"acme": "balance_overflow"}
    assert (len(company.invoices("acme")), len(company.invoices("bolt"))) == (0, 1)


def test_whose_usage_reaches_no_threshold_is_told_without_reading_its_events(database: Database) -> None:
    company = Company(database)
    company.found("acme")
    company.subscribe("acme", company.publish(), {"tokens": "1"}, thresholds=Thresholds((Decimal(4),)))
    company.ingest([event(1, "acme", "2026-01-05", 1_000)], "2026-01-05T01:00")
    asked: list[str] = []
    listen(database.engine, "before_cursor_execute", lambda *call: asked.append(call[2]))
    assert progressive.bill_reached(database, company.tenant, at("2026-01-06")).invoices == []
    assert asked
    assert not [each for each in asked if "usage_event" in each]
    company.ingest([event(2, "acme", "2026-01-06", 1_000)], "2026-01-06T01:00")
    [billed] = progressive.bill_reached(database, company.tenant, at("2026-01-07")).invoices
    assert billed.exact == Decimal("5.1")


def test_a_tenant_that_is_never_done_lets_the_others_have_their_turn(
    sqlite_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns: Counter[str] = Counter()

    class Busy:
        def __init__(self, tenant: str) -> None:
            self.tenant = tenant

        async def deliver(self, _report: object, go_on: Callable[[], bool]) -> None:
            turns[self.tenant] += 1
            while self.tenant == "default" and go_on():  # noqa: ASYNC110 - it asks, as the worker does
                await asyncio.sleep(0.01)

    monkeypatch.setattr("api.upkeep.webhook_worker", lambda *given: Busy(given[-1]))
    path = tmp_path / "alacarte.db"
    path.write_bytes(sqlite_template.read_bytes())
    for door in open_door(f"sqlite:///{path}", tmp_path, webhook_seconds=0.05):
        assert door.call("GET", "/v1/quotes", token=door.token("quote", tenant="other")).status_code == 200
        deadline = time.monotonic() + 20
        while turns["other"] < 3:
            assert time.monotonic() < deadline, turns
            time.sleep(0.05)


def test_everything_is_ended_once_and_not_too_early(database: Database) -> None:
    sell(database)
    assert end_what_is_over(database, "default", START) == Ended(0, 0, 0, 0, 0)
    assert end_what_is_over(database, "default", SOON) == Ended(0, 1, 1, 1, 0)
    assert end_what_is_over(database, "other", LATER) == Ended(0, 0, 0, 0, 0)


def test_the_command_says_what_it_ended(
    sqlite_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "alacarte.db"
    path.write_bytes(sqlite_template.read_bytes())
    database = Database(f"sqlite:///{path}")
    sell(database)
    database.close()
    monkeypatch.setenv("ALACARTE_DATABASE_URL", f"sqlite:///{path}")
    monkeypatch.setenv("ALACARTE_SIGNING_KEY", str(tmp_path / "key.pem"))
    ended = [(main(["tick"]), capsys.readouterr().out) for _ in range(2)]
    assert ended[0] == (
        0,
        "ended: 0 quotes, 1 holds on usage, 1 holds on credit, 1 grants, limited units of 0 subscriptions\n",
    )
    assert ended[1] == (
        0,
        "ended: 0 quotes, 0 holds on usage, 0 holds on credit, 0 grants, limited units of 0 subscriptions\n",
    )


@pytest.mark.parametrize("variable", ["ALACARTE_UPKEEP_SECONDS", "ALACARTE_WEBHOOK_SECONDS"])
def test_a_pause_is_a_whole_number_of_seconds(variable: str) -> None:
    settings = load_settings({variable: "0"})
    assert 0 in {settings.upkeep_seconds, settings.webhook_seconds}
    for wrong in ("-1", "1.5", "soon"):
        with pytest.raises(InvalidValueError):
            load_settings({variable: wrong})


@pytest.mark.parametrize(
    ("error", "said", "whole"),
    [
        (RuntimeError("the machine broke"), "", "the machine broke"),
        (UnreachableError("does not answer", field="database"), ", database: does not answer", "None"),
    ],
)
def test_an_upkeep_that_failed_is_logged_and_tried_again(
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    said: str,
    whole: str,
) -> None:
    """What our code did is logged with its way there, a database that is away, each second, in a line."""
    tried = []

    def fail_once(*_where: object) -> None:
        tried.append(len(tried))
        if len(tried) == 1:
            raise error

    monkeypatch.setattr("api.upkeep.end_what_is_over", fail_once)
    log = logging.getLogger("api.upkeep")
    for _ in open_door(database_url, tmp_path, upkeep_seconds=1):
        log.addHandler(caplog.handler)  # Here, as serving sets up its own log.
        until = time.monotonic() + 30
        while len(tried) < 2 and time.monotonic() < until:
            time.sleep(0.05)
    log.removeHandler(caplog.handler)
    assert len(tried) >= 2
    [failure] = [record for record in caplog.records if record.name == "api.upkeep"]
    assert failure.getMessage() == f"upkeep of default failed{said}; it is tried again in 1 seconds"
    assert whole in str(failure.exc_info)


def test_the_server_stops_after_an_upkeep_that_has_begun(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread would be left with a database that is closed."""
    begun, order, close = threading.Event(), [], Database.close

    def take_long(*_where: object) -> None:
        begun.set()
        time.sleep(0.3)
        order.append("ended")

    def close_later(database: Database) -> None:
        order.append("closed")
        close(database)

    monkeypatch.setattr("api.upkeep.end_what_is_over", take_long)
    for _ in open_door(database_url, tmp_path, upkeep_seconds=1):
        assert begun.wait(30)
        order.clear()
        monkeypatch.setattr(Database, "close", close_later)
    assert order[:2] == ["ended", "closed"]
