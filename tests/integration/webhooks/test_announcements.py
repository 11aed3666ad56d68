"""Every kind of change is announced once, in the transaction of the change, to those who subscribed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select

from billing import wallets
from billing.credit_notes import CreditRequest, issue_credit_note
from billing.database import Database
from billing.invoicing import void
from billing.metering.alerts import Alert, set_alert
from billing.publishing import publish
from billing.repositories import webhook_outbox
from billing.repositories.subscriptions import SubscriptionRepository
from billing.settlements import Money, pay, refund
from billing.subscriptions import Who, pause, record
from billing.wallets import BurnRequest, Wallet
from billing.webhooks.endpoints import add_endpoint, disable, replay_after
from billing.webhooks.secret_box import SecretBox
from models.values.errors import LimitExceededError
from pricing_engine.price_book import parse_price_book
from tests.billing_story import BOOK, Company, at, event
from tests.integration.webhooks.worker import LOOPBACK
from tests.ledger_facts import grant
from tests.quote_facts import SIGNER

NOW = at("2026-02-02")


def subscribe(database: Database, *types: str, id: str = "whe_1", tenant: str = "default") -> None:
    with database.writing(tenant) as uow:
        box = SecretBox(SIGNER)
        add_endpoint(uow, box, LOOPBACK, id, b"s" * 32, "http://127.0.0.1:9/", types, "", NOW)


def told(database: Database, tenant: str = "default") -> list[tuple[str, dict[str, Any]]]:
    with database.reading(tenant) as uow:
        table = webhook_outbox.EVENT
        query = select(table.c.type, table.c.data).where(table.c.tenant == tenant).order_by(table.c.recorded_at)
        return [(row.type, row.data) for row in uow.connection.execute(query)]


def types(database: Database) -> Counter[str]:
    return Counter(kind for kind, _ in told(database))


@pytest.fixture
def company(database: Database) -> Company:
    company = Company(database)
    company.found("buyer")
    return company


def test_a_months_story_tells_each_thing_once(database: Database, company: Company) -> None:
    subscribe(database)
    book = company.publish()
    company.subscribe("buyer", book, {"seats": "2", "tokens": "1"})
    meter = next(each for each in parse_price_book(BOOK).meters if each.key == "tokens")
    with database.writing("default") as uow:
        set_alert(uow, Alert("tokens", "buyer", meter, Decimal(100)), at("2026-01-05"))
    company.ingest([event(1, "buyer", "2026-01-10", 150)], "2026-01-10")
    company.ingest([event(2, "buyer", "2026-01-11", 150)], "2026-01-11")
    assert company.close("2026-01", "2026-02-02").invoices
    assert company.close("2026-01", "2026-02-02").was_closed
    (invoice,) = company.invoices("buyer")
    for _ in range(2):
        with database.writing("default") as uow:
            pay(uow, invoice.id, Money("p1", invoice.total_minor, NOW), NOW)
    assert types(database) == {
        "price_book.published": 1,
        "subscription.changed": 1,
        "usage.alert": 1,
        "invoice.finalised": 1,
        "invoice.paid": 1,
    }
    data = dict(told(database))
    assert data["invoice.paid"]["invoice"] == invoice.id
    assert (data["invoice.finalised"]["total"], data["invoice.finalised"]["open"]) == ("20.9", "20.9")
    assert (data["invoice.paid"]["open"], data["invoice.paid"]["currency"]) == ("0", "USD")
    assert (data["usage.alert"]["threshold"], data["usage.alert"]["units"]) == ("100", "150")
    assert data["price_book.published"]["content_hash"] == book
    assert data["subscription.changed"]["selection"] == {"seats": "2", "tokens": "1"}

    with database.writing("default") as uow:
        refund(uow, invoice.id, Money("r1", 500, NOW), NOW, reopens=True)
        pay(uow, invoice.id, Money("p2", 500, NOW), NOW)
        wanted = CreditRequest("c1", invoice.id, "goodwill", NOW.date(), {1: 50})
        issue_credit_note(uow, wanted, NOW)
        issue_credit_note(uow, wanted, NOW)
        found = SubscriptionRepository(uow).get("sub-buyer")
        record(uow, pause(found, NOW, Who(NOW)))
    after = types(database)
    assert (after["invoice.paid"], after["credit_note.issued"], after["subscription.changed"]) == (2, 1, 2)


def test_a_void_invoice_and_a_credit_that_pays_are_told(database: Database, company: Company) -> None:
    subscribe(database)
    company.subscribe("buyer", company.publish(), {"seats": "1"})
    company.close("2026-01", "2026-02-02")
    (invoice,) = company.invoices("buyer")
    with database.writing("default") as uow:
        void(uow, invoice.id, "wrong", NOW)
        void(uow, invoice.id, "wrong", NOW)
    assert types(database)["invoice.voided"] == 1
    company.close("2026-02", "2026-03-02")
    open_one, later = company.invoices("buyer")[-1], at("2026-03-02")
    with database.writing("default") as uow:
        issue_credit_note(uow, CreditRequest("all", open_one.id, "gift", later.date(), None), later)
    assert types(database)["invoice.paid"] == 1


def test_a_wallet_is_low_when_it_falls_below_and_not_while_it_stays_there(database: Database, company: Company) -> None:
    subscribe(database)
    with database.writing("default") as uow:
        wallet = Wallet("main", "buyer", "USD", top_up_below=50, top_up_units=100)
        wallets.open_wallet(uow, wallet, recorded_at=NOW)
        wallets.grant_credit(uow, grant("paid", 100), recorded_at=NOW, processor="stripe")
    for key, units, told_so_far in (("a", 50, 0), ("b", 1, 1), ("b", 1, 1), ("c", 10, 1)):
        with database.writing("default") as uow:
            wallets.burn(uow, BurnRequest(key, "buyer", "USD", "chat", units, at("2026-03-02")), recorded_at=NOW)
        assert types(database)["wallet.low"] == told_so_far, key
    (data,) = [data for kind, data in told(database) if kind == "wallet.low"]
    assert (data["wallet"], data["free_units"], data["top_up_below_units"]) == ("main", "49", "50")


def test_a_wallet_is_low_whatever_took_its_credit(database: Database, company: Company) -> None:
    """An invoice, an expiry, what is paid back: each takes a wallet from 100 dollars below its threshold, once."""
    subscribe(database)
    company.subscribe("buyer", company.publish(), {"seats": "6"})
    hundred = grant("", 100 * 10**8)
    with database.writing("default") as uow:
        for name in ("pays", "expires", "goes"):
            features = ("seats",) if name == "pays" else ("chat",)
            wallet = Wallet(name, "buyer", "USD", features=features, top_up_below=50 * 10**8, top_up_units=100)
            wallets.open_wallet(uow, wallet, recorded_at=NOW)
            ends = NOW + timedelta(days=9) if name == "expires" else None
            given = replace(hundred, id=name, wallet=name, starts_at=at("2026-01-01"), expires_at=ends)
            wallets.grant_credit(uow, given, recorded_at=NOW, processor="stripe")
    company.close("2026-01", "2026-02-02")
    later = NOW + timedelta(days=10)
    for _ in range(2):
        with database.writing("default") as uow:
            wallets.expire_credit(uow, at=later, recorded_at=later)
            wallets.refund_credit(uow, "r", "goes", units=60 * 10**8, processor="stripe", at=later, recorded_at=later)
    low = [(data["wallet"], data["free_units"]) for kind, data in told(database) if kind == "wallet.low"]
    assert sorted(low) == [("expires", "0"), ("goes", str(40 * 10**8)), ("pays", str(40 * 10**8))]


def test_credit_taken_back_before_it_begins_brings_no_wallet_down(database: Database, company: Company) -> None:
    subscribe(database)
    wallet = Wallet("main", "buyer", "USD", top_up_below=50 * 10**8, top_up_units=100)
    with database.writing("default") as uow:
        wallets.open_wallet(uow, wallet, recorded_at=NOW)
        wallets.grant_credit(uow, replace(grant("now", 10 * 10**8), wallet="main"), recorded_at=NOW, processor="stripe")
        ahead = replace(grant("ahead", 100 * 10**8), wallet="main", starts_at=NOW + timedelta(days=9))
        wallets.grant_credit(uow, ahead, recorded_at=NOW, processor="stripe")
        back = wallets.Withdrawal("k", "ahead", processor="stripe")
        assert wallets.withdraw_credit(uow, back, at=NOW, recorded_at=NOW).remaining == 0
    assert [kind for kind, _ in told(database)].count("wallet.low") == 0


def test_nothing_is_told_of_a_change_that_did_not_happen(database: Database, company: Company) -> None:
    subscribe(database)

    class BrokenError(Exception):
        pass

    book = company.publish()

    def publish_and_break() -> None:
        with database.writing("default") as uow:
            publish(uow, parse_price_book({**BOOK, "version": 2}), SIGNER, NOW, "test")
            raise BrokenError

    with pytest.raises(BrokenError):
        publish_and_break()
    assert [data["content_hash"] for _, data in told(database)] == [book]


def test_only_what_somebody_wants_is_kept_and_only_for_the_active(database: Database, company: Company) -> None:
    book = company.publish()
    assert told(database) == []
    subscribe(database, "invoice.finalised", id="whe_invoices")
    subscribe(database, "subscription.changed", id="whe_off")
    with database.writing("default") as uow:
        disable(uow, "whe_off", "holiday")
    company.subscribe("buyer", book, {"seats": "1"})
    assert types(database) == {"subscription.changed": 1}
    with database.reading("default") as uow:
        assert webhook_outbox.counts(uow) == {}
    assert told(database, "other") == []


def test_a_replay_after_an_event_takes_what_the_endpoint_wants(
    database: Database, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscribe(database)
    subscribe(database, "subscription.changed", id="whe_subs")
    book = company.publish()
    company.found("b2", "b3")
    for customer, starts in (("buyer", "2026-01-01"), ("b2", "2026-01-02"), ("b3", "2026-01-03")):
        company.subscribe(customer, book, {"seats": "1"}, starts)
    with database.writing("default") as uow:
        table = webhook_outbox.EVENT
        first = uow.connection.execute(
            select(table.c.id).where(table.c.type == "subscription.changed").order_by(table.c.recorded_at)
        ).scalars()
        oldest = next(iter(first))
        assert replay_after(uow, "whe_subs", oldest) == 2
        monkeypatch.setattr("billing.webhooks.endpoints.MAX_REPLAYED", 1)
        with pytest.raises(LimitExceededError):
            replay_after(uow, "whe_subs", oldest)


def test_deliveries_of_one_day_come_in_pages_latest_first(database: Database) -> None:
    subscribe(database)
    with database.writing("default") as uow:
        for second in (1, 2, 2, 3):
            name = f"evt_{second}_{uow.connection.scalar(select(func.count()).select_from(webhook_outbox.EVENT))}"
            webhook_outbox.add_event(uow, name, "invoice.paid", {}, NOW.replace(second=second))
            webhook_outbox.queue(uow, [("whe_1", name)])
        first = webhook_outbox.deliveries(uow, "whe_1", None, 2)
        rest = webhook_outbox.deliveries(uow, "whe_1", (first[-1].recorded_at, first[-1].event), 5)
    assert [each.event for each in (*first, *rest)] == ["evt_3_3", "evt_2_2", "evt_2_1", "evt_1_0"]
