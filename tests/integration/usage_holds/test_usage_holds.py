"""Usage is authorised at the price the invoice will have, kept from credit, and counted once when it happened."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from billing import usage_holds
from billing.burn_down import InsufficientCreditError
from billing.database import Database
from billing.holds import HoldEndedError, HoldState
from billing.repositories.usage_holds import UsageHold, find_usage_hold
from billing.usage_increment import NotMeteredError
from models.values.errors import ConflictError, DomainError, InvalidValueError, NotFoundError, RuleBrokenError
from tests.billing_story import BOOK, Company, at, repriced
from tests.integration.usage_holds.story import (
    HOUR,
    NOW,
    USED_BEFORE,
    amounts,
    authorize,
    balance,
    company_on,
    expected,
    give,
    settle,
    used,
)


@pytest.fixture
def company(database: Database) -> Company:
    """900 tokens are used already, and 10 dollars are paid ahead."""
    company = company_on(database)
    company.ingest([used("before", USED_BEFORE)], "2026-01-10")
    give(company, 1000)
    return company


def stored(company: Company, key: str) -> UsageHold:
    with company.database.reading(company.tenant) as uow:
        return find_usage_hold(uow, key)


def events(company: Company) -> int:
    with company.database.reading(company.tenant) as uow:
        return int(uow.connection.exec_driver_sql("select count(*) from usage_event").scalar_one())


def test_a_hold_keeps_the_difference_across_tiers_and_settling_pays_what_was_used(company: Company) -> None:
    held = authorize(company, expected("h", 200))
    assert amounts(held.reserved) == {"tokens": Decimal("0.51")}  # 100 at 0.003, 100 at 0.0021.
    assert authorize(company, expected("h", 200), NOW + HOUR / 2) == held == stored(company, "h")
    assert balance(company) == (Decimal("948.999999"), Decimal("51.000001"))  # The call costs less than a unit.
    settled = settle(company, "h", used("real", 150))
    assert amounts(settled.settled) == {"tokens": Decimal("0.405")}
    assert settle(company, "h", used("real", 150)) == settled == stored(company, "h")
    assert balance(company) == (Decimal("959.5"), Decimal(0))
    assert events(company) == 2
    company.close("2026-01", "2026-02-02")
    [invoice] = company.invoices("acme")
    assert invoice.exact == Decimal("3.105000000002")  # What was settled, and 900 tokens before it.
    assert (invoice.total_minor, invoice.settled_minor) == (311, 311)
    assert balance(company)[0] == Decimal("1000") - Decimal("40.5") - 271  # 40 of 40.5 cents paid, 271 from grants.


def test_pending_holds_count_as_used_and_free_what_they_kept_when_they_end(company: Company) -> None:
    assert amounts(authorize(company, expected("a", 100)).reserved) == {"tokens": Decimal("0.3")}
    assert amounts(authorize(company, expected("b", 100)).reserved) == {"tokens": Decimal("0.21")}
    with company.database.writing(company.tenant) as uow:
        released = usage_holds.release(uow, "a", NOW)
        assert usage_holds.release(uow, "a", NOW) == released
    assert (released.state, stored(company, "a").state) == (HoldState.RELEASED, HoldState.RELEASED)
    assert balance(company)[1] == 30  # Of what a kept, b needs 9 cents now that it comes first.
    assert amounts(authorize(company, expected("c", 100)).reserved) == {"tokens": Decimal("0.21")}
    with company.database.writing(company.tenant) as uow:
        assert usage_holds.expire_usage_holds(uow, NOW + HOUR) == 2
        assert usage_holds.expire_usage_holds(uow, NOW + HOUR) == 0
    assert balance(company) == (Decimal(1000), Decimal(0))
    for key in ("a", "b"):
        with pytest.raises(HoldEndedError):
            settle(company, key, used("real", 1), NOW + HOUR)
    assert events(company) == 1


def test_a_hold_past_its_time_ends_when_somebody_looks(company: Company) -> None:
    authorize(company, expected("a", 3_000))
    with pytest.raises(InsufficientCreditError) as refused:
        authorize(company, expected("b", 3_000))
    assert (refused.value.field, refused.value.value) == ("customer", "acme")
    assert re.fullmatch(r"has [0-9.]+ USD free, and [67]\.[0-9]+ is needed", refused.value.rule)
    assert authorize(company, expected("b", 3_000, expires_at=NOW + 2 * HOUR), NOW + HOUR).state is HoldState.PENDING
    assert stored(company, "a").state is HoldState.EXPIRED
    with pytest.raises(HoldEndedError):
        settle(company, "b", used("real", 1), NOW + 2 * HOUR)


def test_rising_tiers_are_covered_in_whatever_order_holds_settle(database: Database) -> None:
    dear = {"model": "graduated", "tiers": [{"up_to": "10", "unit_amount": "1"}, {"up_to": None, "unit_amount": "2"}]}
    company = company_on(database, repriced("tokens", dear))
    give(company, 3001)
    authorize(company, expected("a", 10))
    authorize(company, expected("b", 10))
    settle(company, "b", used("b", 10))  # Comes first, so it is cheap, and a will be dear.
    with pytest.raises(InsufficientCreditError):
        authorize(company, expected("c", 5))  # A good 10 dollars are free, and a needs them.
    settled = settle(company, "a", used("a", 10))
    assert amounts(settled.settled) == {"tokens": Decimal(20)}
    assert {each.feature: each.units for each in settled.settled}["tokens"] == 20 * 10**8
    assert balance(company)[1] == 0


def test_falling_tiers_are_covered_in_whatever_order_holds_settle(database: Database) -> None:
    company = company_on(database)
    give(company, 511)
    for key in "abc":
        authorize(company, expected(key, 1000 if key != "c" else 1))
    settled = settle(company, "b", used("b", 1000))  # Kept 2.10, costs 3.00: a keeps 0.90 more than it will need.
    assert {each.feature: each.units for each in settled.settled}["tokens"] == 300 * 10**6
    assert Decimal("210.21") <= balance(company)[1] < Decimal("210.211")  # What both need.
    settle(company, "c", used("c", 5_000))  # More than expected, which what a needs is not lent for.
    assert {each.feature: each.units for each in settle(company, "a", used("a", 1000)).settled}["tokens"] >= 210 * 10**6
    assert balance(company)[1] == 0


def test_more_than_was_kept_is_taken_from_free_credit_and_the_rest_is_invoiced(company: Company) -> None:
    authorize(company, expected("a", 10))
    settled = settle(company, "a", used("a", 1_100))
    assert amounts(settled.settled) == {"tokens": Decimal("2.4")}
    assert balance(company) == (Decimal(760), Decimal(0))
    authorize(company, expected("b", 10))
    short = settle(company, "b", used("b", 10_000))
    [tokens] = [each for each in short.settled if each.feature == "tokens"]
    assert (tokens.amount, tokens.units) == (Decimal(21), 760 * 10**6)
    assert balance(company) == (Decimal(0), Decimal(0))
    company.close("2026-01", "2026-02-02")
    [invoice] = company.invoices("acme")
    assert (invoice.total_minor, invoice.settled_minor) == (2610, 1000)


def test_a_postpaid_hold_keeps_no_credit(company: Company) -> None:
    held = authorize(company, expected("p", 100_000, prepaid=False))
    assert amounts(held.reserved) == {"tokens": Decimal("0.3") + Decimal("99900") * Decimal("0.0021")}
    assert balance(company) == (Decimal(1000), Decimal(0))
    assert {each.units for each in settle(company, "p", used("p", 100_000)).settled} == {0}
    assert balance(company) == (Decimal(1000), Decimal(0))


REFUSED: list[tuple[dict[str, Any], type[DomainError], str]] = [
    ({"subject": "nobody"}, InvalidValueError, "subject"),
    ({"type": "other"}, InvalidValueError, "type"),
    ({"correctsid": "ebefore", "correctssource": "test"}, InvalidValueError, "correctsid"),
    ({"id": "ebefore"}, ConflictError, "id"),
    ({"id": "ebefore", "data": {"tokens": USED_BEFORE}}, RuleBrokenError, "id"),
    ({"data": {"tokens": "-1"}}, InvalidValueError, "data.tokens"),
]


@pytest.mark.parametrize(("change", "kind", "field"), REFUSED)
def test_an_event_that_does_not_fit_is_refused_and_changes_nothing(
    company: Company, change: dict[str, Any], kind: type[DomainError], field: str
) -> None:
    held = authorize(company, expected("h", 100))
    before = balance(company)
    with pytest.raises(kind) as refused:
        settle(company, "h", {**used("real", 1), **change})
    assert refused.value.field == field
    assert (events(company), balance(company), stored(company, "h")) == (1, before, held)


def test_one_event_settles_one_hold_once(company: Company) -> None:
    for key in "ab":
        authorize(company, expected(key, 100))
    settle(company, "a", used("real", 50))
    with pytest.raises(RuleBrokenError) as again:
        settle(company, "b", used("real", 50))
    assert again.value.code == "event_already_counted"
    with pytest.raises(HoldEndedError):
        settle(company, "a", used("other", 50))
    with pytest.raises(ConflictError):
        settle(company, "a", used("real", 51))
    with pytest.raises(HoldEndedError), company.database.writing(company.tenant) as uow:
        usage_holds.release(uow, "a", NOW)
    assert events(company) == 2


def test_what_cannot_be_authorised_is_refused(company: Company) -> None:
    authorize(company, expected("h", 100))
    wrong: list[tuple[Any, type[DomainError]]] = [
        (expected("h", 101), ConflictError),
        (replace(expected("x"), customer="nobody"), NotFoundError),
        (replace(expected("x"), event_type="other"), NotMeteredError),
        (expected("x", "1.5.5"), InvalidValueError),
        (expected("x", -5), InvalidValueError),
        (expected("x", expires_at=NOW), InvalidValueError),
        (expected("x", 1_000_000), InsufficientCreditError),
        (expected(""), InvalidValueError),
    ]
    for wanted, kind in wrong:
        with pytest.raises(kind):
            authorize(company, wanted)
    with pytest.raises(NotFoundError):
        settle(company, "unknown", used("real", 1))
    with pytest.raises(NotMeteredError):
        authorize(company, replace(expected("late"), expires_at=at("2030-01-01")), at("2020-06-01"))
    assert balance(company)[1] == Decimal("30.000001")


_MATRIX = {
    "model": "matrix",
    "rules": [{"when": {"model": "big"}, "unit_amount": "0.01"}, {"when": {"model": "small"}, "unit_amount": "0.001"}],
    "default": {"unit_amount": "0"},
}
TARIFFS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "matrix": (_MATRIX, {"group_by": ["model"]}),
    "package": ({"model": "package", "package_size": "100", "package_amount": "0.5"}, {}),
    "percentage": ({"model": "percentage", "rate": "1.7", "fixed_amount": "0.01"}, {}),
    "highest": ({"model": "unit", "unit_amount": "0.01"}, {"aggregation": "max"}),
    "fine": ({"model": "unit", "unit_amount": "0.0000000033"}, {}),
    "windows": ({"model": "bucketed", "unit_amount": "0.0001"}, {}),
    "falling": (
        {"model": "volume", "may_fall": True,
         "tiers": [{"up_to": "150", "unit_amount": "0.01"}, {"up_to": None, "unit_amount": "0.001"}]},
        {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in TARIFFS if name != "windows"])
def test_what_holds_settle_for_sums_to_the_invoice_whatever_the_tariff(database: Database, name: str) -> None:
    tariff, meter = TARIFFS[name]
    book = repriced("tokens", tariff)
    meters = [{**each, **meter} if each["key"] == "tokens" else each for each in BOOK["meters"]]
    company = company_on(database, {**book, "meters": meters})
    give(company, 100_000)
    paid, total = 0, Decimal(0)
    for number, (tokens, model) in enumerate([(70, "big"), ("33.333", "small"), (120, "big"), (5, "big")]):
        authorize(company, expected(f"h{number}", 150, data={"model": model}))
        settled = settle(company, f"h{number}", used(number, tokens, model=model)).settled
        total += sum((each.amount for each in settled), Decimal(0))
        paid += sum(each.units for each in settled if each.feature == "tokens")
    company.close("2026-01", "2026-02-02")
    [invoice] = company.invoices("acme")
    assert total == invoice.exact
    exact = sum((line.exact for line in invoice.lines if line.feature == "tokens"), Decimal(0))
    assert exact > 0
    if name != "falling":  # Credit that was used before the price fell stays on account for the next invoice.
        assert abs(paid - exact.scaleb(8)) <= Decimal("0.5")
    assert invoice.open_minor == 0
