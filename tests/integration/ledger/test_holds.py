"""Holds: kept at once, ended once, never more than there is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from billing import holds, ledger, wallets
from billing.burn_down import GrantKind, InsufficientCreditError
from billing.chart_of_accounts import Account
from billing.database import Database
from billing.holds import Hold, HoldEndedError, HoldState
from billing.wallets import Wallet
from models.values.errors import ConflictError, InvalidValueError, NotFoundError
from tests.ledger_facts import NOON, TENANT, add_customers, grant

HOUR = timedelta(hours=1)
WANTED = Hold("h1", "acme", "USD", "chat", 60, NOON, NOON + HOUR)


@pytest.fixture
def opened(database: Database) -> Iterator[Database]:
    add_customers(database, "acme")
    with database.writing(TENANT) as uow:
        wallets.open_wallet(uow, Wallet("main", "acme", "USD"), recorded_at=NOON)
        wallets.grant_credit(uow, grant("paid", 80), recorded_at=NOON, processor="stripe")
        wallets.grant_credit(uow, grant("promo", 20, kind=GrantKind.PROMOTIONAL, expires_at=NOON + 3 * HOUR),
                             recorded_at=NOON)  # fmt: skip
    return database


def _free(database: Database) -> tuple[int, int]:
    with database.reading(TENANT) as uow:
        [balance] = wallets.balances(uow, "acme", NOON)
        return balance.free, balance.held


def test_a_hold_counts_at_once_and_is_made_once(opened: Database) -> None:
    for _ in range(2):
        with opened.writing(TENANT) as uow:
            assert holds.hold(uow, WANTED) == WANTED
    assert _free(opened) == (40, 60)
    for other in (
        replace(WANTED, units=61),
        replace(WANTED, feature="image"),
        replace(WANTED, expires_at=NOON + HOUR * 2),
    ):
        with pytest.raises(ConflictError), opened.writing(TENANT) as uow:
            holds.hold(uow, other)
    with pytest.raises(InsufficientCreditError), opened.writing(TENANT) as uow:
        holds.hold(uow, replace(WANTED, key="h2", units=41))
    with pytest.raises(InvalidValueError), opened.writing(TENANT) as uow:
        holds.hold(uow, replace(WANTED, key="h3", units=0))
    assert _free(opened) == (40, 60)


@pytest.mark.parametrize(("used", "paid", "promotional"), [(0, 80, 20), (15, 80, 5), (45, 55, 0), (60, 40, 0)])
def test_settling_pays_for_what_was_used_and_frees_the_rest(
    opened: Database, used: int, paid: int, promotional: int
) -> None:
    with opened.writing(TENANT) as uow:
        holds.hold(uow, WANTED)
    for _ in range(2):
        with opened.writing(TENANT) as uow:
            settled = holds.settle(uow, "h1", used, at=NOON, recorded_at=NOON)
    assert (settled.state, settled.settled_units) == (HoldState.SETTLED, used)
    assert _free(opened) == (100 - used, 0)
    with opened.reading(TENANT) as uow:
        assert ledger.balance(uow, Account("wallet", "USD", "acme", "main")) == -paid
        assert ledger.balance(uow, Account("units_held", "promo:USD", "acme", "main")) == -promotional
    with pytest.raises(HoldEndedError), opened.writing(TENANT) as uow:
        holds.settle(uow, "h1", used + 1, at=NOON, recorded_at=NOON)
    with pytest.raises(HoldEndedError), opened.writing(TENANT) as uow:
        holds.release(uow, "h1", at=NOON)


def test_use_beyond_the_hold_takes_free_credit_if_there_is_any(opened: Database) -> None:
    with opened.writing(TENANT) as uow:
        holds.hold(uow, WANTED)
        holds.hold(uow, replace(WANTED, key="other", units=10))
        with pytest.raises(InsufficientCreditError):
            holds.settle(uow, "h1", 91, at=NOON, recorded_at=NOON)
        holds.settle(uow, "h1", 90, at=NOON, recorded_at=NOON)
    assert _free(opened) == (0, 10)


def test_releasing_frees_and_nothing_else_follows(opened: Database) -> None:
    with opened.writing(TENANT) as uow:
        holds.hold(uow, WANTED)
    for _ in range(2):
        with opened.writing(TENANT) as uow:
            assert holds.release(uow, "h1", at=NOON).state is HoldState.RELEASED
    assert _free(opened) == (100, 0)
    with pytest.raises(HoldEndedError), opened.writing(TENANT) as uow:
        holds.settle(uow, "h1", 1, at=NOON, recorded_at=NOON)
    with pytest.raises(NotFoundError), opened.writing(TENANT) as uow:
        holds.release(uow, "nothing", at=NOON)


def test_a_hold_expires_by_itself(opened: Database) -> None:
    with opened.writing(TENANT) as uow:
        holds.hold(uow, WANTED)
        later = replace(WANTED, key="h2", units=100, created_at=NOON + HOUR, expires_at=NOON + 2 * HOUR)
        assert holds.hold(uow, later) == later
    with pytest.raises(HoldEndedError), opened.writing(TENANT) as uow:
        holds.settle(uow, "h1", 1, at=NOON + HOUR, recorded_at=NOON)
    with opened.writing(TENANT) as uow:
        assert holds.expire_holds(uow, at=NOON + 2 * HOUR) == 1
        assert holds.expire_holds(uow, at=NOON + 2 * HOUR) == 0
    assert _free(opened) == (100, 0)


def test_what_is_held_outlives_the_expiry_of_its_grant(opened: Database) -> None:
    long_hold = replace(WANTED, units=15, expires_at=NOON + 9 * HOUR)
    with opened.writing(TENANT) as uow:
        holds.hold(uow, long_hold)
        wallets.expire_credit(uow, at=NOON + 3 * HOUR, recorded_at=NOON)
        holds.settle(uow, "h1", 10, at=NOON + 4 * HOUR, recorded_at=NOON)
        left = wallets.expire_credit(uow, at=NOON + 5 * HOUR, recorded_at=NOON)
        assert [(taking.grant.id, taking.units) for taking in left] == [("promo", 5)]
    with opened.reading(TENANT) as uow:
        assert ledger.balance(uow, Account("units_held", "promo:USD", "acme", "main")) == 0
        assert ledger.balance(uow, Account("wallet", "USD", "acme", "main")) == -80
