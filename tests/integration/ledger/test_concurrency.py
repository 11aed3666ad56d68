"""Sixteen writers at once, on both databases: one effect a key, no deadlock, the last credit once."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from threading import Barrier
from typing import TypeVar

import pytest

from billing import accruals, holds, ledger, wallets
from billing.burn_down import InsufficientCreditError
from billing.carrying import Accrual
from billing.chart_of_accounts import Account, Leg
from billing.database import Database
from billing.journals import JournalDraft
from billing.ledger_checks import CHECKS
from billing.unit_of_work import UnitOfWork
from billing.verification import verify
from models.values.errors import DomainError
from tests.ledger_facts import NOON, TENANT, accrual, add_customers, grant

WRITERS = 16
T = TypeVar("T")


def together(database: Database, works: Sequence[Callable[[UnitOfWork], T]]) -> list[T | DomainError]:
    """Run each piece of work in its own thread and transaction, all beginning at once; refusals are answers."""
    barrier = Barrier(len(works))

    def one(work: Callable[[UnitOfWork], T]) -> T | DomainError:
        barrier.wait()
        try:
            with database.writing(TENANT) as uow:
                return work(uow)
        except DomainError as refusal:
            return refusal

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(one, works))


def _sound(database: Database) -> int:
    with database.reading(TENANT) as uow:
        report = verify(uow, CHECKS)
    assert report.findings == ()
    return report.journals


def test_one_key_gives_one_journal(database: Database) -> None:
    posted = together(
        database, [lambda uow: ledger.post(uow, [accrual("same", 5)], recorded_at=NOON)[0] for _ in range(WRITERS)]
    )
    assert sorted(posted) == [ledger.Posted(1, is_new=False)] * (WRITERS - 1) + [ledger.Posted(1, is_new=True)]
    assert _sound(database) == 1


def test_one_key_with_different_content_gives_one_journal_and_refusals(database: Database) -> None:
    works = [lambda uow, i=i: ledger.post(uow, [accrual("same", i + 1)], recorded_at=NOON) for i in range(WRITERS)]
    outcomes = together(database, works)
    assert sum(isinstance(outcome, ledger.JournalConflictError) for outcome in outcomes) == WRITERS - 1
    assert _sound(database) == 1


def test_opposite_transfers_do_not_deadlock(database: Database) -> None:
    """Each writer moves money both ways between random pairs of accounts, many times over."""

    def work(number: int) -> Callable[[UnitOfWork], int]:
        rng = random.Random(number)

        def post(uow: UnitOfWork) -> int:
            for i in range(5):
                one, other = rng.sample([Account("bank", "USD", "", name) for name in "abcd"], 2)
                legs = (Leg(one, 3), Leg(other, -3))
                draft = JournalDraft(f"w{number}/{i}", "transfer", NOON, legs)
                ledger.post(uow, [draft], recorded_at=NOON)
            return 5

        return post

    assert together(database, [work(number) for number in range(WRITERS)]) == [5] * WRITERS
    assert _sound(database) == 5 * WRITERS


@pytest.fixture
def credit(database: Database) -> Database:
    add_customers(database, "acme")
    with database.writing(TENANT) as uow:
        wallets.open_wallet(uow, wallets.Wallet("main", "acme", "USD"), recorded_at=NOON)
        wallets.grant_credit(uow, grant("one", 10), recorded_at=NOON, processor="stripe")
    return database


def _asked(key: str, units: int) -> wallets.BurnRequest:
    return wallets.BurnRequest(key, "acme", "USD", "chat", units, NOON)


def test_the_last_credit_is_burnt_once(credit: Database) -> None:
    works = [lambda uow, i=i: wallets.burn(uow, _asked(f"b{i}", 10), recorded_at=NOON) for i in range(WRITERS)]
    outcomes = together(credit, works)
    assert outcomes.count(10) == 1
    assert sum(isinstance(outcome, InsufficientCreditError) for outcome in outcomes) == WRITERS - 1
    _sound(credit)


def test_one_burn_asked_for_by_many_is_taken_once(credit: Database) -> None:
    works = [lambda uow: wallets.burn(uow, _asked("same", 3), recorded_at=NOON) for _ in range(WRITERS)]
    assert together(credit, works) == [3] * WRITERS
    with credit.reading(TENANT) as uow:
        assert wallets.free_credit(uow, "acme", "USD", "chat", NOON) == 7


def test_the_last_credit_is_held_once_and_settling_races_releasing(credit: Database) -> None:
    until = NOON + timedelta(hours=1)
    wanted = [holds.Hold(f"h{i}", "acme", "USD", "chat", 6, NOON, until) for i in range(WRITERS)]
    outcomes = together(credit, [lambda uow, hold=hold: holds.hold(uow, hold) for hold in wanted])
    [held] = [outcome for outcome in outcomes if isinstance(outcome, holds.Hold)]

    def settle(uow: UnitOfWork) -> holds.Hold:
        return holds.settle(uow, held.key, 4, at=NOON, recorded_at=NOON)

    def release(uow: UnitOfWork) -> holds.Hold:
        return holds.release(uow, held.key, at=NOON)

    ended = together(credit, [settle, release] * (WRITERS // 2))
    states = {outcome.state for outcome in ended if isinstance(outcome, holds.Hold)}
    assert len(states) == 1
    with credit.reading(TENANT) as uow:
        left = 6 if states == {holds.HoldState.SETTLED} else 10
        assert wallets.free_credit(uow, "acme", "USD", "chat", NOON) == left
    _sound(credit)


def test_holds_burns_grants_and_accruals_side_by_side_stay_sound(credit: Database) -> None:
    """Holds take the wallets' lock alone, the others the ledger's first: no order of locks may close a circle."""
    until = NOON + timedelta(hours=1)

    def work(number: int) -> Callable[[UnitOfWork], None]:
        def hold(uow: UnitOfWork) -> None:
            holds.hold(uow, holds.Hold(f"h{number}", "acme", "USD", "chat", 1, NOON, until))

        def burn(uow: UnitOfWork) -> None:
            wallets.burn(uow, _asked(f"b{number}", 1), recorded_at=NOON, partial=True)

        def give(uow: UnitOfWork) -> None:
            wallets.grant_credit(uow, grant(f"g{number}", 2), recorded_at=NOON, processor="stripe")

        def accrue(uow: UnitOfWork) -> None:
            parts = (("chat", Decimal("0.0000000015")),)
            accruals.accrue(uow, [Accrual(f"a{number}", "acme", "USD", NOON, parts)], recorded_at=NOON)

        return (hold, burn, give, accrue)[number % 4]

    refusals = [outcome for outcome in together(credit, [work(i) for i in range(WRITERS)]) if outcome is not None]
    assert all(isinstance(refusal, InsufficientCreditError) for refusal in refusals)
    _sound(credit)
