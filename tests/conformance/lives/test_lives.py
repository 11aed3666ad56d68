"""Subscriptions as Kill Bill and Lago bill them in their tests, lived again: sold, changed and closed month by month.

Kill Bill and Lago bill on the day, we bill with the month: what they bill and take back between two closes is one line
here. Their cents are rounded line by line, so a line's exact amount is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import pytest

from billing.books_checks import BOOKS_CHECKS
from billing.credit_notes import CreditRequest, issue_credit_note
from billing.database import Database
from billing.invoices import Invoice
from billing.ledger_checks import CHECKS
from billing.phases import Subscription
from billing.previews import preview_invoices
from billing.subscriptions import (
    Change,
    Who,
    billed,
    cancel,
    change_cycle,
    change_quantity,
    change_selection,
    downgrade,
    in_force,
    pause,
    resume,
)
from billing.verification import verify
from models.values.period import BillingCycle, Interval
from pricing_engine.price_book import PriceBook, parse_price_book
from pricing_engine.proration import MidPeriod, end_of_day
from tests.billing_story import NO_TAX, UTC_ZONE, Company, at, event, make

Case = Mapping[str, Any]
CASES: Sequence[Case] = json.loads((Path(__file__).parent / "figures.json").read_text())["cases"]
CENT = Decimal("0.01")


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["id"]))
def test_life_comes_to_the_same_amounts(case: Case, database: Database) -> None:
    company, life = Company(database), Life(case)
    life.begin(company)
    for month in case["closes"]:
        first_after = (date.fromisoformat(f"{month}-01") + timedelta(days=32)).replace(day=1)
        life.go_on(company, at(first_after.isoformat()))
        with database.reading(company.tenant) as uow:
            seen = preview_invoices(uow, "acme", first_after, at(first_after.isoformat()), rates=NO_TAX)
        company.close(month, f"{first_after.isoformat()}T01:00")
        made = [invoice for invoice in company.invoices("acme") if invoice.period == month]
        assert _billed(seen) == _billed(made), "a preview shows what the close makes"
    lines = [line for invoice in company.invoices("acme") for line in invoice.lines]
    amounts = [line.exact.quantize(CENT, ROUND_HALF_UP) for line in lines if line.exact]
    assert sorted(amounts) == sorted(Decimal(amount) for amount in case["expected"])
    with database.reading(company.tenant) as uow:
        assert verify(uow, (*CHECKS, *BOOKS_CHECKS)).findings == ()


def _billed(invoices: Iterable[Invoice]) -> list[tuple[object, ...]]:
    lines = [line for invoice in invoices for line in invoice.lines]
    return [(line.feature, line.kind, line.service, line.exact, line.net_minor) for line in lines]


class Life:
    """One customer's subscription with what happens to it, each step on the day on which it becomes known."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.steps = list(case["steps"])
        self.events = list(case.get("events", []))
        self.document = _book(case)

    @property
    def book(self) -> PriceBook:
        """The price book."""
        return parse_price_book(dict(self.document))

    def begin(self, company: Company) -> None:
        """Sell the first plan."""
        case = self.case
        company.found("acme")
        chosen = {case["plan"]: case.get("quantity", "1")} | dict.fromkeys(case.get("with_plans", []), "1")
        if "usage" in case:
            chosen["usage"] = "1"
        company.subscribe(
            "acme",
            company.publish(self.document),
            chosen,
            starts=case["starts"],
            cycle=_cycle(case.get("interval", "month"), case.get("anchor_day"), case.get("anchor", case["starts"])),
            trial_days=case.get("trial_days", 0),
            minimum_spend=Decimal(case.get("minimum", 0)),
        )
        if "ends" in case:
            make(company, cancel(company.subscription("sub-acme"), at(case["ends"]), Who(at(case["starts"]))))

    def go_on(self, company: Company, until: datetime) -> None:
        """Take the steps that are known before an instant, after the usage that arrived by then."""
        while self.events and at(self.events[0][0]) < until:
            when, units = self.events.pop(0)
            company.ingest([event(when, "acme", when, units)], when)
        while self.steps and at(self.steps[0][0]) < until:
            known, verb, *facts = self.steps.pop(0)
            if verb == "credit":
                self.credit(company, at(known), int(Decimal(facts[0]) * 100))
                continue
            # The day itself may have been billed in its first hour.
            change = self.change(company.subscription("sub-acme"), verb, at(known), facts)
            who = at(known) + timedelta(hours=12)
            make(company, replace(change, phases=tuple(replace(each, recorded_at=who) for each in change.phases)))

    def credit(self, company: Company, now: datetime, net: int) -> None:
        """Credit a part of the first line that was billed."""
        first = company.invoices("acme")[0]
        with company.database.writing(company.tenant) as uow:
            issue_credit_note(uow, CreditRequest("c", first.id, "adjusted", now.date(), {1: net}), now)

    def change(self, subscription: Subscription, verb: str, known: datetime, facts: Sequence[Any]) -> Change:
        """Work out a change."""
        who = Who(known)
        match verb, facts:
            case "change", [plan, *rest]:
                when = at(rest[0]) if rest else known
                return change_selection(subscription, self.book, {plan: Decimal(1)}, when, who)
            case "downgrade", [plan]:
                agreement = replace(in_force(subscription, known).agreement, selection={plan: Decimal(1)})
                return downgrade(subscription, agreement, known, who)
            case "quantity", [quantity, when]:
                return change_quantity(subscription, self.book, self.case["plan"], Decimal(quantity), at(when), who)
            case "cycle", [interval, day, *rest]:
                when = at(rest[0]) if rest else known
                return change_cycle(subscription, _cycle(interval, day, (rest or [known.isoformat()])[-1]), when, who)
            case "pause", rest:
                return pause(subscription, at(rest[0]) if rest else known, who)
            case "resume", rest:
                return resume(subscription, at(rest[0]) if rest else known, who)
            case "cancel", ["end of day", *rule]:
                ended = cancel(subscription, end_of_day(known, UTC_ZONE), who)
                return billed(ended, MidPeriod(rule[0])) if rule else ended
            case "cancel", []:
                return cancel(subscription, known, who)
        raise AssertionError(verb, facts)


def _cycle(interval: str, day: int | None, anchor: str) -> BillingCycle:
    if day is None:
        return BillingCycle.calendar(Interval(interval), UTC_ZONE)
    if interval in {"day", "week"}:
        return BillingCycle(Interval(interval), UTC_ZONE, at(anchor).date(), 1)
    return BillingCycle.on_day(Interval(interval), UTC_ZONE, day, at(anchor))


def _book(case: Case) -> dict[str, Any]:
    kind, billed_when = case.get("kind", "switch"), case["billed"]
    features: list[dict[str, Any]] = []
    for key, price in case["plans"].items():
        tariff = {"model": "flat", "amount": price} if kind == "switch" else {"model": "unit", "unit_amount": price}
        features.append({"key": key, "name": key, "kind": kind, "billed": billed_when, "tariff": tariff})
    if "usage" in case:
        tariff = {"model": "unit", "unit_amount": case["usage"]}
        features.append({"key": "usage", "name": "Usage", "kind": "metered", "meter": "tokens", "tariff": tariff})
    return {
        "key": "lives", "version": 1, "currency": "USD", "effective_from": "2010-01-01T00:00:00Z",
        "meters": [{"key": "tokens", "event_type": "llm.request", "aggregation": "sum", "value_property": "tokens"}],
        "features": features,
    }  # fmt: skip
