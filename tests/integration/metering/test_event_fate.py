"""Every event has, for each meter, a charge or a reason on record."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from api.cli.main import main
from billing.database import Database
from billing.event_fate import EventFate, Fate, fates_of
from models.values.errors import NotFoundError
from tests.billing_story import Company, event

BOOK: dict[str, Any] = {
    "key": "gateway",
    "version": 1,
    "currency": "USD",
    "effective_from": "2020-01-01T00:00:00Z",
    "meters": [
        {"key": "tokens", "event_type": "llm.request", "value_property": "tokens"},
        {"key": "eu", "event_type": "llm.request", "aggregation": "count", "filters": {"region": ["eu"]}},
        {"key": "cached", "event_type": "llm.request", "value_property": "cached"},
        {"key": "calls", "event_type": "llm.request", "aggregation": "count"},
    ],
    "features": [
        {"key": "tokens", "name": "Tokens", "kind": "metered", "meter": "tokens",
         "tariff": {"model": "unit", "unit_amount": "0.5", "included_units": "10"}},
        {"key": "eu", "name": "EU", "kind": "metered", "meter": "eu", "tariff": {"model": "unit", "unit_amount": "1"}},
        {"key": "cached", "name": "Cached", "kind": "metered", "meter": "cached",
         "tariff": {"model": "unit", "unit_amount": "1"}},
        {"key": "calls", "name": "Calls", "kind": "metered", "meter": "calls",
         "tariff": {"model": "unit", "unit_amount": "1"}},
    ],
}  # fmt: skip


@pytest.fixture
def company(database: Database) -> Company:
    company = Company(database)
    company.found("acme", "idle")
    book_hash = company.publish(BOOK)
    company.subscribe("acme", book_hash, {"tokens": "1", "eu": "1", "cached": "1"})
    return company


def fate(company: Company, number: int | str) -> EventFate:
    with company.database.reading(company.tenant) as uow:
        (found,) = fates_of(uow, f"e{number}")
    return found


def by_feature(found: EventFate) -> dict[str, Fate]:
    return {each.feature: each.fate for each in found.fates}


def test_before_the_close_an_event_is_not_billed_yet(company: Company) -> None:
    company.ingest([event(1, "acme", "2026-01-05", 4, region="us")], "2026-01-06")
    assert by_feature(fate(company, 1)) == {
        "tokens": Fate.NOT_BILLED_YET,
        "eu": Fate.FILTERED_OUT,
        "cached": Fate.NO_VALUE,
        "calls": Fate.FEATURE_NOT_CHOSEN,
    }


def test_after_the_close_it_is_billed_or_inside_the_free_units(company: Company) -> None:
    sent = [event(n, "acme", f"2026-01-0{n}", 4) for n in (1, 2, 3, 4)]
    company.ingest(sent, "2026-01-06")
    company.close("2026-01", "2026-02-02")
    tokens = [fate(company, n).fates[0] for n in (1, 2, 3, 4)]
    assert [each.fate for each in tokens] == [Fate.INSIDE_FREE_UNITS] * 2 + [Fate.BILLED] * 2
    assert [each.amount for each in tokens] == [0, 0, Decimal("1"), Decimal("2")]
    (invoice,) = company.invoices("acme")
    assert {charge[1] for each in tokens for charge in each.charges} == {invoice.number}
    assert sum(each.amount or 0 for each in tokens) == invoice.lines[0].exact


def test_a_late_event_waits_and_is_then_billed_by_the_next_close(company: Company) -> None:
    company.ingest([event(1, "acme", "2026-01-05", 20)], "2026-01-06")
    company.close("2026-01", "2026-02-02")
    company.ingest([event(2, "acme", "2026-01-07", 2)], "2026-02-03")
    assert fate(company, 2).fates[0].fate is Fate.LATE
    company.close("2026-02", "2026-03-02")
    billed = fate(company, 2).fates[0]
    assert billed.fate is Fate.BILLED
    assert billed.charges != fate(company, 1).fates[0].charges
    assert {number for _, number in billed.charges} == {company.invoices("acme")[1].number}


def test_what_keeps_an_event_from_every_meter_is_said_once(company: Company) -> None:
    company.ingest(
        [
            event(1, "nobody", "2026-01-05"),
            event(2, "idle", "2026-01-05"),
            event(3, "acme", "2025-12-31"),
            {**event(4, "acme", "2026-01-05"), "type": "unheard-of"},
            event(5, "acme", "2026-01-05"),
            {**event(6, "acme", "2026-01-05", 7), "correctsid": "e5"},
            {key: value for key, value in event(7, "acme", "2026-01-05").items() if key != "data"}
            | {"correctsid": "e6", "cancels": True},
            {**event(8, "acme", "2026-01-05"), "correctsid": "e99"},
        ],
        "2026-01-06",
    )
    said = {n: [each.fate for each in fate(company, n).fates] for n in range(1, 9)}
    assert said == {
        1: [Fate.UNKNOWN_CUSTOMER],
        2: [Fate.NO_SUBSCRIPTION],
        3: [Fate.NO_SUBSCRIPTION],
        4: [Fate.UNKNOWN_METER],
        5: [Fate.CORRECTED],
        6: [Fate.CANCELLED],
        7: [Fate.IS_CANCELLATION],
        8: [Fate.WAITS_FOR_CORRECTED_EVENT],
    }
    assert fate(company, 7).fates[0].detail == "of test e6"


def test_refused_bodies_are_named_and_an_unknown_id_is_an_error(company: Company) -> None:
    company.ingest([event(1, "acme", "2026-01-05", 1), event(1, "acme", "2026-01-05", 2)], "2026-01-06")
    assert len(fate(company, 1).refused) == 1
    with company.database.reading(company.tenant) as uow, pytest.raises(NotFoundError):
        fates_of(uow, "e2")


def test_the_command_prints_it(
    company: Company, database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ALACARTE_DATABASE_URL", database_url)
    company.ingest([event(1, "acme", "2026-01-05", 12)], "2026-01-06")
    company.close("2026-01", "2026-02-02")
    assert main(["explain-event", "e1"]) == 0
    out = capsys.readouterr().out
    assert "tokens (meter tokens, subscription sub-acme): billed adds 1 in INV" in out
    assert "calls (meter calls, subscription sub-acme): feature not chosen" in out
    assert main(["explain-event", "none"]) == 3
