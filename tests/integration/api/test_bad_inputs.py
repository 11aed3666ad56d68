"""The forty bad inputs through the doors: refused with a code of their own and no row, or accepted and harmless."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from billing.burn_down import InsufficientCreditError
from billing.database import Database
from billing.wallets import refund_credit
from models.tables.base import metadata
from models.values.period import BillingCycle, Interval
from tests.billing_story import UTC_ZONE, Company, at
from tests.integration.api.bad_inputs import EVENTS, KNOWN, REFUSED, WALLETS, BadInput, counted, event
from tests.integration.api.door import START, TENANTS, Door, open_door

SENDER = ("ingest", "quote", "read", "finance", "refund", "price_admin", "price_approve")
ACCEPTED = {5, 19, 24, 26, 30, 31, 33, 34}
FORMULA = "=cmd|' /C calc'!A0"


@pytest.fixture
def billed(database_url: str, tmp_path: Path) -> Iterator[Door]:
    """The default tenant has an invoice, a stored event, and wallets in yen and dinar."""

    def bill(database: Database) -> None:
        company = Company(database)
        company.found("buyer", legal_name=FORMULA)
        company.found("euro", currency="EUR")
        company.subscribe("buyer", company.publish(), {"seats": "2", "tokens": "0"})
        company.close("2026-01", "2026-02-02")

    for door in open_door(database_url, tmp_path, bill):
        assert door.call("POST", EVENTS, KNOWN).status_code == 201
        for name, currency in (("yen", "JPY"), ("dinar", "BHD")):
            assert door.call("POST", WALLETS, {"id": name, "currency": currency}, key=name).status_code == 201
        yield door


def rows(door: Door) -> dict[str, int]:
    """Count the rows of every table of both tenants, the list of what was refused as a conflict aside."""
    counts: dict[str, int] = {}
    for tenant in TENANTS:
        with door.database.reading(tenant) as uow:
            for name, table in metadata().tables.items():
                if name == "usage_conflict":
                    continue
                count = uow.connection.execute(select(func.count()).select_from(table)).scalar_one()
                counts[f"{tenant} {name}"] = count
    return counts


def send(door: Door, bad: BadInput, invoice: str) -> Any:
    headers = {"Authorization": f"Bearer {door.token(*SENDER)}"}
    headers |= {"Content-Type": "application/json", "Idempotency-Key": f"bad-{bad.number}", **bad.headers}
    path = bad.path.replace("{invoice}", invoice)
    content = None if bad.method == "GET" else bad.content
    return door.client.request(bad.method, path, content=content, headers=headers, params=bad.params)


def test_each_is_refused_with_its_code_and_no_row_and_the_process_lives(billed: Door) -> None:
    invoice = billed.call("GET", "/v1/invoices").json()["items"][0]["id"]
    billed.token(*SENDER)
    before, wrong = rows(billed), []
    for bad in REFUSED:
        answer = send(billed, bad, invoice)
        told = answer.json() if "json" in answer.headers.get("content-type", "") else {}
        got = (answer.status_code, told.get("code"), rows(billed) == before)
        if got != (bad.status, bad.code, True):
            wrong.append((bad.number, bad.name, (bad.status, bad.code), got, answer.text[:200]))
    assert not wrong, "\n".join(map(str, wrong))
    assert billed.call("POST", EVENTS, {**KNOWN, "id": "after"}).status_code == 201


def test_a_missing_price_book_is_told_by_the_currency(billed: Door) -> None:
    detail = billed.call("POST", "/v1/quotes", {"customer": "euro", "selection": {"seats": "1"}}, key="e").json()[
        "detail"
    ]
    assert detail == "currency: no price book is in force for channel direct, got 'EUR'"


def test_what_is_accepted_is_harmless(billed: Door) -> None:
    """Numbers 5, 19, 24, 26, 30 and 31; 33 and 34 are below."""
    invoices = billed.call("GET", "/v1/invoices").json()
    assert billed.call("POST", EVENTS, raw=counted("-0")).status_code == 201
    assert billed.call("POST", EVENTS, event(data={"tokens": 0})).json()["status"] == "duplicate"

    twice = billed.call("POST", f"{EVENTS}/batch", [event(id="twice"), event(id="twice"), event(id="twice", data={})])
    statuses = [each["status"] for each in twice.json()["outcomes"]]
    assert statuses == ["accepted", "duplicate", "conflict"]  # 19 and, refused alone, 20.

    for name in ("\u202egnp.exe", "zero\u200bwidth"):
        assert billed.call("POST", EVENTS, event(id=name)).status_code == 201
        assert billed.call("POST", EVENTS, event(id=name)).json()["status"] == "duplicate"
    assert billed.call("POST", EVENTS, event(id="zerowidth")).status_code == 201

    hostile = {"legal_entity": "hq", "legal_name": "'; DROP TABLE customer; --<script>", "country": "DE"}
    saved = billed.call("PUT", "/v1/customers/hostile", {**hostile, "currency": "USD"})
    assert saved.status_code == 200
    assert billed.call("GET", "/v1/customers/hostile").json()["legal_name"] == hostile["legal_name"]
    register = billed.call("GET", "/v1/exports/invoices", period="2026-01").text
    assert "buyer" in register
    assert not [cell for row in csv.reader(register.splitlines()) for cell in row if cell.startswith("=")]

    late = event(id="late", subject="buyer", time="2026-01-20T00:00:00Z")
    assert billed.call("POST", EVENTS, late).json()["status"] == "accepted"
    assert billed.call("GET", "/v1/invoices").json() == invoices

    for name, time in (("gap", "2025-03-30T02:30:00+01:00"), ("first", "2025-10-26T01:30:00+02:00"),
                       ("second", "2025-10-26T01:30:00+01:00")):  # fmt: skip
        assert billed.call("POST", EVENTS, event(id=name, time=time)).status_code == 201
    same = billed.call("POST", EVENTS, event(id="gap", time="2025-03-30T01:30:00Z"))
    other = billed.call("POST", EVENTS, event(id="second", time="2025-10-25T23:30:00Z"))
    assert (same.json()["status"], other.status_code) == ("duplicate", 409)


@pytest.mark.parametrize(("number", "anchor", "interval"), [(33, "2024-02-29", "year"), (34, "2026-01-31", "month")])
def test_an_anchor_that_a_month_lacks_leaves_no_gap_and_comes_back(number: int, anchor: str, interval: str) -> None:
    cycle = BillingCycle.anniversary(Interval(interval), UTC_ZONE, at(anchor))
    periods = [cycle.period_of(turn) for turn in range(13)]
    assert all(one.end == next_one.start for one, next_one in pairwise(periods))
    days = [period.start.strftime("%m-%d") for period in periods]
    expected = {33: ["02-29", "02-28", "02-28", "02-28", "02-29"], 34: ["01-31", "02-28", "03-31", "04-30", "05-31"]}
    assert days[:5] == expected[number]


def test_of_two_credits_at_once_one_is_given(billed: Door) -> None:
    invoice = billed.call("GET", "/v1/invoices").json()["items"][0]["id"]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: _credit(billed, invoice, f"credit-{n}"), range(8)))
    assert sorted(each.status_code for each in answers) == [201] + [422] * 7
    assert {each.json()["code"] for each in answers if each.status_code == 422} == {"not_creditable"}


def test_no_more_credit_is_paid_back_than_is_free(billed: Door) -> None:
    grant = {"id": "gift", "amount": "5", "kind": "promotional"}
    assert billed.call("POST", f"{WALLETS}/yen/grants", grant, key="gift").status_code == 201
    before = rows(billed)
    with pytest.raises(InsufficientCreditError), billed.database.writing("default") as uow:
        refund_credit(uow, "r", "gift", units=50_001, processor="stripe", at=START, recorded_at=START)
    assert rows(billed) == before


def test_sixty_four_clients_with_one_key_have_one_effect(billed: Door) -> None:
    grant = {"id": "gift", "amount": "5", "kind": "promotional"}
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda _: billed.call("POST", f"{WALLETS}/yen/grants", grant, key="one"), range(64)))
    assert {(each.status_code, each.text) for each in answers} == {(201, answers[0].text)}
    assert sum("idempotent-replayed" in each.headers for each in answers) == 63
    [yen] = [each for each in billed.call("GET", WALLETS).json()["items"] if each["id"] == "yen"]
    assert yen["free"] == "5"


def test_every_input_is_documented_with_its_code() -> None:
    documented = (Path(__file__).parents[3] / "docs" / "bad-inputs.md").read_text()
    table = {int(line.split("|")[1]): line for line in documented.splitlines() if re.match(r"\| \d", line)}
    assert sorted(table) == list(range(1, 41))
    assert not [(bad.number, bad.code) for bad in REFUSED if f"`{bad.code}`" not in table[bad.number]]
    assert {bad.number for bad in REFUSED} | ACCEPTED | {20} == set(table)
    assert {number for number, line in table.items() if "accepted" in line} == ACCEPTED


def _credit(door: Door, invoice: str, key: str) -> Any:
    return door.call("POST", f"/v1/invoices/{invoice}/credit-notes", {"reason": "test"}, key=key)
