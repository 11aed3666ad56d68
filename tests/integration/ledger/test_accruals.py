"""Exact amounts enter the ledger once; what is too small for a unit waits, exactly."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from billing import accruals, ledger
from billing.accruals import Accrued
from billing.carrying import Accrual, Carried, take_minor_units
from billing.chart_of_accounts import Account
from billing.database import Database
from billing.posting_rules import InvoiceInArrears, RemainderCarry, journal
from models.values.money import currency
from tests.ledger_facts import NOON, TENANT

USD = currency("USD")
CHAT = Accrual(
    "run:1:acme", "acme", "USD", NOON, (("chat", Decimal("1.0149999999")), ("image", Decimal("0.0000000001")))
)


def test_an_accrual_counts_once(database: Database) -> None:
    with database.writing(TENANT) as uow:
        first = accruals.accrue(uow, [CHAT], recorded_at=NOON)
    with database.writing(TENANT) as uow:
        again = accruals.accrue(uow, [CHAT, CHAT], recorded_at=NOON)
    assert first == [Accrued("run:1:acme", (("chat", 101_500_000), ("image", 0)), is_new=True)]
    assert again == [replace(first[0], is_new=False)] * 2
    with database.reading(TENANT) as uow:
        assert accruals.carried(uow, "acme", "USD") == Carried(Decimal("1.015"), 101_500_000)
        assert ledger.balance(uow, Account("unbilled", "USD", "acme")) == 101_500_000


def test_a_key_used_for_other_content_is_refused_even_if_it_posted_nothing(database: Database) -> None:
    tiny = Accrual("tiny", "acme", "USD", NOON, (("chat", Decimal("0.000000001")),))
    with database.writing(TENANT) as uow:
        assert accruals.accrue(uow, [tiny], recorded_at=NOON)[0].by_feature == (("chat", 0),)
    for other in (replace(tiny, customer="zeta"), replace(tiny, by_feature=(("chat", Decimal("0.000000002")),))):
        with pytest.raises(accruals.AccrualConflictError), database.writing(TENANT) as uow:
            accruals.accrue(uow, [other], recorded_at=NOON)
    with database.reading(TENANT) as uow:
        assert accruals.carried(uow, "acme", "USD") == Carried(Decimal("0.000000001"), 0)
        assert accruals.carried(uow, "zeta", "USD") == Carried(Decimal(0), 0)


def test_months_of_tiny_usage_are_invoiced_to_the_last_unit(database: Database) -> None:
    """0.0033333 a month: nothing to invoice in the first, one cent in the second, and so on; nothing is lost."""
    unbilled, remainder = Account("unbilled", "USD", "acme"), Account("remainder", "USD", "acme")
    invoiced = []
    for month in range(7):
        with database.writing(TENANT) as uow:
            usage = Accrual(f"run:{month}", "acme", "USD", NOON, (("chat", Decimal("0.0033333")),))
            accruals.accrue(uow, [usage], recorded_at=NOON)
            net, change = take_minor_units(ledger.balance(uow, unbilled), ledger.balance(uow, remainder), USD)
            facts = (InvoiceInArrears("acme", "USD", net * USD.units_per_minor), RemainderCarry("acme", "USD", change))
            ledger.post(uow, [journal(f"invoice:{month}", NOON, *facts)], recorded_at=NOON)
            assert ledger.balance(uow, unbilled) == 0
            invoiced.append(net)
            total = ledger.balance(uow, Account("receivable", "USD", "acme")) + ledger.balance(uow, remainder)
            assert total == accruals.carried(uow, "acme", "USD").posted == 333_330 * (month + 1)
    assert invoiced == [0, 1, 0, 0, 1, 0, 0]
