"""Lago's golden rows of what meets on an invoice: thresholds, coupons, taxes, minimums, credit notes and wallets.

Its charges are our metered features, its fixed charges our quantities, its plan fee a switch. It bills usage anew and
takes back what a threshold invoice billed, ours is the difference: `net` is its sub-total, `open` what it asks for.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from billing.books_checks import BOOKS_CHECKS
from billing.burn_down import Grant, GrantKind
from billing.chart_of_accounts import Account
from billing.coupons import define_coupon, grant_coupon
from billing.credit_notes import CreditRequest, issue_credit_note
from billing.customers import Customer, LegalEntity
from billing.database import Database
from billing.ledger import balance
from billing.ledger_checks import CHECKS
from billing.phases import Thresholds
from billing.progressive import bill_thresholds
from billing.settlements import Money, pay
from billing.tax import TaxRate
from billing.verification import verify
from billing.wallets import Wallet, balances, grant_credit, open_wallet
from pricing_engine.coupons import parse_coupon
from tests.billing_story import Company, at

Case = Mapping[str, Any]
CASES: list[Case] = json.loads((Path(__file__).parent / "figures.json").read_text())["cases"]
DOCUMENT = Path(__file__).parents[3] / "docs" / "conformance.md"
BEGIN_PART, END_PART = "<!-- documents: begin, written by tests/conformance/documents -->", "<!-- documents: end -->"
BLOCKS = {
    "b05": "thresholds: fixed, recurring, several in a period, usage that falls",
    "b06": "wallets that pay a part, all, some features",
    "b15": "two features on one invoice",
    "b17": "three and more on one invoice",
    "b19": "two of the same on one invoice",
    "coupons_breakdown_spec.rb": "eight fees at two rates, three coupons with limits",
}
CENT = 10**6
BEGIN = "2024-03-01"


class Rates:
    """A tax rate for each category."""

    def __init__(self, percents: Mapping[str, str]) -> None:
        self._percents = percents

    def rate(self, category: str, _customer: Customer, _seller: LegalEntity, _on: date) -> TaxRate:
        """Return the rate of the category."""
        return TaxRate(category, Decimal(self._percents.get(category, self._percents.get("all", "0"))))


@pytest.fixture(scope="module")
def shared(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """One database for all rows, each a tenant of its own. That both databases bill alike is tested elsewhere."""
    path = tmp_path_factory.mktemp("documents") / "alacarte.db"
    shutil.copy(sqlite_template, path)
    opened = Database(f"sqlite:///{path}")
    yield opened
    opened.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["id"]))
def test_invoices_come_to_what_lagos_do(case: Case, shared: Database) -> None:
    company = Company(shared, tenant=case["id"].replace("/", "-"), rates=Rates(case.get("rates", {})))
    begin(company, case)
    asked: dict[str, dict[str, int]] = {}
    for number, step in enumerate(case["steps"]):
        take(company, step, number)
        collect(company, asked)
    told: dict[str, Any] = {"invoices": list(asked.values())}
    with shared.reading(company.tenant) as uow:
        told["credit"] = -balance(uow, Account("customer_credit", "EUR", "acme")) // CENT
        told["wallets"] = {each.wallet.id: each.free // CENT for each in balances(uow, "acme", at("2024-05-01"))}
        assert verify(uow, (*CHECKS, *BOOKS_CHECKS)).findings == ()
    assert {name: told[name] for name in case["expected"]} == case.get("ours", case["expected"])
    assert case.get("ours") != case["expected"]


def collect(company: Company, asked: dict[str, dict[str, int]]) -> None:
    """Note what each new invoice asks for, and pay it."""
    for each in company.invoices("acme"):
        if each.id not in asked:
            asked[each.id] = {"net": each.net_minor, "open": each.open_minor}
            if each.tax_minor:
                asked[each.id]["tax"] = each.tax_minor
            if each.open_minor > 0:
                now = each.finalise_from
                with company.database.writing(company.tenant) as uow:
                    pay(uow, each.id, Money(each.id, each.open_minor, now), now)


def begin(company: Company, case: Case) -> None:
    features = case["features"]
    metered = [key for key, facts in features.items() if "price" in facts and "quantity" not in facts]
    company.found("acme", currency="EUR")
    book = company.publish(
        {
            "key": "documents", "version": 1, "currency": "EUR", "effective_from": "2020-01-01T00:00:00Z",
            "meters": [
                {"key": key, "event_type": key, "aggregation": features[key].get("aggregation", "sum"),
                 "value_property": "units"} for key in metered
            ],
            "features": [feature(key, facts) for key, facts in features.items()],
        }
    )  # fmt: skip
    every = case.get("every")
    company.subscribe(
        "acme",
        book,
        {key: facts.get("quantity", "1") for key, facts in features.items()},
        BEGIN,
        currency="EUR",
        minimum_spend=Decimal(case.get("minimum", 0)),
        thresholds=Thresholds(
            tuple(Decimal(amount) for amount in case.get("thresholds", ())), None if every is None else Decimal(every)
        ),
    )
    with company.database.writing(company.tenant) as uow:
        for terms in case.get("coupons", ()):
            coupon = parse_coupon({"key": "coupon", **terms})
            define_coupon(uow, coupon, None if coupon.amount_off is None else "EUR", at(BEGIN))
            grant_coupon(uow, "acme", coupon.key, at(BEGIN), at(BEGIN))
        for number, facts in enumerate(case.get("wallets", ()), start=1):
            name, limits = f"w{number}", facts.get("features")
            wallet = Wallet(name, "acme", "EUR", facts.get("priority", 0), None if limits is None else tuple(limits))
            open_wallet(uow, wallet, recorded_at=at(BEGIN))
            units = facts["units"] * CENT
            granted = Grant(f"g{number}", name, "acme", "EUR", GrantKind.PROMOTIONAL, units, at(BEGIN), 0, units=units)
            grant_credit(uow, granted, recorded_at=at(BEGIN))


def feature(key: str, facts: Mapping[str, str]) -> dict[str, Any]:
    tariff = {"tax_category": facts.get("tax", "standard")}
    if "amount" in facts:
        return {"key": key, "name": key, "kind": "switch",
                "tariff": {"model": "flat", "amount": facts["amount"], **tariff}}  # fmt: skip
    tariff |= {"model": "unit", "unit_amount": facts["price"]}
    if "minimum" in facts:
        tariff["minimum_spend"] = facts["minimum"]
    kind = {"kind": "quantity"} if "quantity" in facts else {"kind": "metered", "meter": key}
    return {"key": key, "name": key, **kind, "tariff": tariff}


def take(company: Company, step: list[Any], number: int) -> None:
    """Take one step: usage, a look at thresholds, a close, a payment, a credit note."""
    match step:
        case [when, "use", key, units]:
            moment = at(when).isoformat().replace("+00:00", "Z")
            usage = {"specversion": "1.0", "id": f"e{number}", "source": "test", "type": key, "subject": "acme"}
            company.ingest([{**usage, "time": moment, "data": {"units": units}}], when)
        case [when, "bill"]:
            with company.database.writing(company.tenant) as uow:
                bill_thresholds(uow, "acme", at(when), at(when), company.rates)
        case ["close", month]:
            first_after = (date.fromisoformat(f"{month}-01") + timedelta(days=32)).replace(day=1)
            company.close(month, f"{first_after.isoformat()}T01:00")
        case [when, "credit", position, key, cents]:
            found = company.invoices("acme")[position]
            line = next(place for place, each in enumerate(found.lines, start=1) if each.feature == key)
            with company.database.writing(company.tenant) as uow:
                issue_credit_note(
                    uow, CreditRequest(f"c{number}", found.id, "other", at(when).date(), {line: cents}), at(when)
                )
        case _:
            raise AssertionError(step)


def test_the_document_says_what_the_rows_say() -> None:
    head, _, rest = DOCUMENT.read_text().partition(BEGIN_PART)
    whole = head + written() + rest.partition(END_PART)[2]
    if os.environ.get("ALACARTE_WRITE_DOCS"):
        DOCUMENT.write_text(whole)
    assert DOCUMENT.read_text() == whole, "run ALACARTE_WRITE_DOCS=1 pytest tests/conformance/documents"


def written() -> str:
    """Return the table of all rows."""
    rows = Counter(case["id"].partition("/")[0] for case in CASES)
    different = [case for case in CASES if "ours" in case]
    same = len(CASES) - len(different)
    lines = [
        BEGIN_PART,
        "",
        f"{len(CASES)} rows of Lago's scenarios (`spec/scenarios`, most of its golden matrix) about what meets on an",
        f"invoice are billed again, {same} to the same sub-totals, taxes, amounts due and balances.",
        "",
        "| rows | of | passed |",
        "|---|---|---:|",
    ]
    for block, name in BLOCKS.items():
        passed = rows[block] - sum(1 for case in different if case["id"].startswith(block))
        lines.append(f"| `{block}` | {name} | {passed} of {rows[block]} |")
    lines += [
        "",
        "Deliberately different:",
        "",
        *(f"- `{case['id']}`: {case['why']}." for case in different),
        "",
        END_PART,
    ]
    return "\n".join(lines)
