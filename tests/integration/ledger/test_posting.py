"""Posting: exactly once by key, all or nothing, balances as the entries say."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from billing import ledger
from billing.chart_of_accounts import Account, Leg
from billing.database import Database
from billing.journals import UnbalancedJournalError
from models.values.errors import ConflictError, InvalidValueError, LimitExceededError
from tests.ledger_facts import NOON, TENANT, accrual

UNBILLED = Account("unbilled", "USD", "acme")


def test_the_same_journal_again_changes_nothing_and_answers_the_same_number(database: Database) -> None:
    with database.writing(TENANT) as uow:
        first = ledger.post(uow, [accrual("a", 5), accrual("b", 7)], recorded_at=NOON)
    with database.writing(TENANT) as uow:
        again = ledger.post(uow, [accrual("b", 7), accrual("c", 1), accrual("c", 1)], recorded_at=NOON)
    assert [(p.journal, p.is_new) for p in first] == [(1, True), (2, True)]
    assert [(p.journal, p.is_new) for p in again] == [(2, False), (3, True), (3, False)]
    with database.reading(TENANT) as uow:
        assert ledger.balance(uow, UNBILLED) == 13
        assert ledger.head(uow).journal == 3


@pytest.mark.parametrize(
    "other",
    [accrual("a", 6), accrual("a", 5, customer="zeta"), replace(accrual("a", 5), memo="x"),
     accrual("a", 5, at=NOON + timedelta(seconds=1))],
)  # fmt: skip
def test_a_key_reused_for_other_content_is_refused_whole(database: Database, other: ledger.JournalDraft) -> None:
    with database.writing(TENANT) as uow:
        ledger.post(uow, [accrual("a", 5)], recorded_at=NOON)
    with pytest.raises(ledger.JournalConflictError), database.writing(TENANT) as uow:
        ledger.post(uow, [accrual("new", 1), other], recorded_at=NOON)
    with pytest.raises(ledger.JournalConflictError), database.writing(TENANT) as uow:
        ledger.post(uow, [accrual("x", 1), accrual("x", 2)], recorded_at=NOON)
    with database.reading(TENANT) as uow:
        assert ledger.head(uow).journal == 1


@pytest.mark.parametrize(
    ("legs", "error"),
    [
        ((Leg(UNBILLED, 1),), UnbalancedJournalError),
        ((Leg(UNBILLED, 1), Leg(Account("revenue", "USD"), -2)), UnbalancedJournalError),
        ((Leg(UNBILLED, 1), Leg(Account("revenue", "EUR"), -1)), UnbalancedJournalError),
        ((Leg(UNBILLED, 0), Leg(Account("revenue", "USD"), 0)), InvalidValueError),
        ((Leg(Account("petty_cash", "USD"), 1), Leg(UNBILLED, -1)), InvalidValueError),
        ((Leg(Account("bank", "usd"), 1), Leg(Account("revenue", "usd"), -1)), InvalidValueError),
    ],
)
def test_what_can_never_be_right_is_refused_before_it_is_written(
    database: Database, legs: tuple[Leg, ...], error: type[Exception]
) -> None:
    with pytest.raises(error), database.writing(TENANT) as uow:
        ledger.post(uow, [accrual("a", 1), replace(accrual("bad", 1), legs=legs)], recorded_at=NOON)
    with database.reading(TENANT) as uow:
        assert ledger.head(uow).journal == 0
        assert ledger.balance(uow, UNBILLED) == 0


def test_a_credit_we_owe_never_turns_into_a_debt(database: Database) -> None:
    credit, bank = Account("customer_credit", "USD", "acme"), Account("bank", "USD")
    give = replace(accrual("give", 1), legs=(Leg(bank, 10), Leg(credit, -10)))
    take = replace(accrual("take", 1), legs=(Leg(credit, 11), Leg(bank, -11)))
    with database.writing(TENANT) as uow:
        ledger.post(uow, [give], recorded_at=NOON)
    with pytest.raises(ledger.InsufficientBalanceError), database.writing(TENANT) as uow:
        ledger.post(uow, [take], recorded_at=NOON)
    with database.reading(TENANT) as uow:
        assert ledger.balance(uow, credit) == -10


def test_overflow_is_an_error(database: Database) -> None:
    largest = 2**63 - 1 if database.is_sqlite else 10**38 - 1
    with database.writing(TENANT) as uow:
        ledger.post(uow, [accrual("a", largest)], recorded_at=NOON)
    with pytest.raises(LimitExceededError), database.writing(TENANT) as uow:
        ledger.post(uow, [accrual("b", 1)], recorded_at=NOON)
    with pytest.raises(LimitExceededError), database.writing(TENANT) as uow:
        ledger.post(uow, [accrual("c", largest + 1, customer="zeta")], recorded_at=NOON)
    with database.reading(TENANT) as uow:
        assert ledger.balance(uow, UNBILLED) == largest


def test_recording_times_never_run_backwards(database: Database) -> None:
    for key, at in (("a", NOON), ("b", NOON - timedelta(hours=1)), ("c", NOON + timedelta(hours=1))):
        with database.writing(TENANT) as uow:
            ledger.post(uow, [accrual(key, 1)], recorded_at=at)
    with database.reading(TENANT) as uow:
        recorded = [found.recorded_at for key in "abc" if (found := ledger.find(uow, key))]
    assert recorded == [NOON, NOON, NOON + timedelta(hours=1)]


def test_a_journal_is_reversed_once(database: Database) -> None:
    later = NOON + timedelta(days=1)
    with database.writing(TENANT) as uow:
        ledger.post(uow, [accrual("a", 5)], recorded_at=NOON)
    for _ in range(2):
        with database.writing(TENANT) as uow:
            posted = ledger.reverse(uow, "a", reversal_key="undo:a", effective_at=later, recorded_at=later, memo="typo")
    assert posted == ledger.Posted(2, is_new=False)
    with pytest.raises(ConflictError), database.writing(TENANT) as uow:
        ledger.reverse(uow, "a", reversal_key="undo:again", effective_at=later, recorded_at=later, memo="typo")
    with database.reading(TENANT) as uow:
        assert ledger.balance(uow, UNBILLED) == 0


def test_tenants_have_ledgers_of_their_own(database: Database) -> None:
    for tenant in ("one", "two"):
        with database.writing(tenant) as uow:
            assert ledger.post(uow, [accrual("a", 5)], recorded_at=NOON) == [ledger.Posted(1, is_new=True)]
    with database.reading("two") as uow:
        assert ledger.balance(uow, UNBILLED) == 5
    with database.reading("three") as uow:
        assert ledger.balance(uow, UNBILLED) == 0
        assert ledger.find(uow, "a") is None
