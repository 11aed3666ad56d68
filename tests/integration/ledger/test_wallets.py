"""Wallets: who pays first, what is left, what the ledger says of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from billing import ledger, wallets
from billing.burn_down import GrantKind, InsufficientCreditError
from billing.chart_of_accounts import Account, promotional
from billing.database import Database
from billing.wallets import BurnRequest, Wallet
from models.values.errors import ConflictError, NotFoundError
from tests.ledger_facts import NOON, TENANT, add_customers, grant

DAY = timedelta(days=1)
MAIN = Wallet("main", "acme", "USD")


@pytest.fixture
def opened(database: Database) -> Iterator[Database]:
    add_customers(database, "acme", "zeta")
    with database.writing(TENANT) as uow:
        wallets.open_wallet(uow, MAIN, recorded_at=NOON)
        wallets.grant_credit(uow, grant("paid", 100), recorded_at=NOON, processor="stripe")
        wallets.grant_credit(uow, grant("promo", 30, kind=GrantKind.PROMOTIONAL, expires_at=NOON + 9 * DAY),
                             recorded_at=NOON)  # fmt: skip
    return database


def _asked(key: str, units: int, feature: str = "chat", **more: object) -> BurnRequest:
    return replace(BurnRequest(key, "acme", "USD", feature, units, NOON + DAY), **more)  # type: ignore[arg-type]


def _balance(database: Database, code: str, asset: str = "USD", party: str = "acme", detail: str = "") -> int:
    with database.reading(TENANT) as uow:
        return ledger.balance(uow, Account(code, asset, party, detail))


def test_the_expiring_promotional_grant_pays_first_and_lowers_the_price(opened: Database) -> None:
    with opened.writing(TENANT) as uow:
        assert wallets.burn(uow, _asked("use", 50), recorded_at=NOON) == 50
        assert wallets.free_credit(uow, "acme", "USD", "chat", NOON + DAY) == 80
    assert _balance(opened, "wallet", detail="main") == -80
    assert _balance(opened, "units_held", promotional("USD"), detail="main") == 0
    assert _balance(opened, "prepaid_usage", detail="chat") == -50
    assert _balance(opened, "discount", party="", detail="main") == 30


def test_a_burn_counts_once_and_its_key_is_for_one_request(opened: Database) -> None:
    for _ in range(3):
        with opened.writing(TENANT) as uow:
            assert wallets.burn(uow, _asked("use", 50), recorded_at=NOON) == 50
    for other in (_asked("use", 51), _asked("use", 50, feature="image"), _asked("use", 50, at=NOON)):
        with pytest.raises(ConflictError), opened.writing(TENANT) as uow:
            wallets.burn(uow, other, recorded_at=NOON)
    assert _balance(opened, "wallet", detail="main") == -80


def test_more_than_there_is_is_refused_or_taken_in_part(opened: Database) -> None:
    with opened.writing(TENANT) as uow:
        with pytest.raises(InsufficientCreditError):
            wallets.burn(uow, _asked("too much", 131), recorded_at=NOON)
        assert wallets.burn(uow, _asked("part", 131), recorded_at=NOON, partial=True) == 130
        assert wallets.burn(uow, _asked("rest", 1), recorded_at=NOON, partial=True) == 0
    assert _balance(opened, "wallet", detail="main") == 0


def test_a_grant_counts_once(opened: Database) -> None:
    with opened.writing(TENANT) as uow:
        wallets.burn(uow, _asked("use", 50), recorded_at=NOON)
        again = wallets.grant_credit(uow, grant("paid", 100), recorded_at=NOON, processor="stripe")
        assert (again.remaining, again.units) == (80, 100)
        for other in (
            grant("paid", 101),
            grant("paid", 100, priority=1),
            grant("paid", 100, kind=GrantKind.PROMOTIONAL),
        ):
            with pytest.raises(ConflictError):
                wallets.grant_credit(uow, other, recorded_at=NOON, processor="stripe")
        with pytest.raises(NotFoundError):
            wallets.grant_credit(uow, grant("lost", 1, wallet="nowhere"), recorded_at=NOON)
        with pytest.raises(ConflictError):
            wallets.open_wallet(uow, replace(MAIN, customer="zeta"), recorded_at=NOON)
    assert _balance(opened, "processor_clearing", party="", detail="stripe") == 100


def test_expiry_is_breakage_where_it_was_paid_for_and_nothing_where_it_was_given(opened: Database) -> None:
    with opened.writing(TENANT) as uow:
        wallets.grant_credit(uow, grant("short", 7, expires_at=NOON + 2 * DAY), recorded_at=NOON, processor="stripe")
        assert wallets.expire_credit(uow, at=NOON + 2 * DAY - timedelta(microseconds=1), recorded_at=NOON) == []
        ended = wallets.expire_credit(uow, at=NOON + 9 * DAY, recorded_at=NOON)
        assert {taking.grant.id: taking.units for taking in ended} == {"promo": 30, "short": 7}
        assert wallets.expire_credit(uow, at=NOON + 9 * DAY, recorded_at=NOON) == []
    assert _balance(opened, "breakage", party="") == -7
    assert _balance(opened, "units_held", promotional("USD"), detail="main") == 0
    assert _balance(opened, "wallet", detail="main") == -100


def test_what_may_roll_over_lives_on_once(opened: Database) -> None:
    rolling = grant("rolling", 50, expires_at=NOON + 3 * DAY, rollover_units=20, rollover_days=10)
    with opened.writing(TENANT) as uow:
        wallets.grant_credit(uow, rolling, recorded_at=NOON, processor="stripe")
        wallets.expire_credit(uow, at=NOON + 3 * DAY, recorded_at=NOON)
        [balance] = wallets.balances(uow, "acme", NOON + 3 * DAY)
        assert [(g.id, g.free) for g in balance.grants] == [("paid", 100), ("promo", 30), ("rolling:rollover:0", 20)]
        wallets.expire_credit(uow, at=NOON + 13 * DAY, recorded_at=NOON)
        [balance] = wallets.balances(uow, "acme", NOON + 13 * DAY)
        assert [(g.id, g.free) for g in balance.grants] == [("paid", 100)]
    assert _balance(opened, "breakage", party="") == -50
    assert _balance(opened, "wallet", detail="main") == -100


def test_a_wallet_limited_to_features_pays_for_no_other(opened: Database) -> None:
    with opened.writing(TENANT) as uow:
        wallets.open_wallet(uow, Wallet("images", "acme", "USD", -1, ("image",)), recorded_at=NOON)
        wallets.grant_credit(uow, grant("for images", 5, wallet="images"), recorded_at=NOON, processor="stripe")
        assert wallets.free_credit(uow, "acme", "USD", "chat", NOON) == 130
        assert wallets.free_credit(uow, "acme", "USD", "image", NOON) == 135
        wallets.burn(uow, _asked("use", 6, feature="image"), recorded_at=NOON)
        assert [b.free for b in wallets.balances(uow, "acme", NOON)] == [0, 129]


def test_custom_credits_are_earned_as_they_are_used(opened: Database) -> None:
    """1,000 tokens bought for 10.00: a third and two thirds of the use earn exactly the whole price."""
    with opened.writing(TENANT) as uow:
        wallets.open_wallet(uow, Wallet("tokens", "acme", "XTOKENS.0"), recorded_at=NOON)
        bought = grant(
            "pack", 3_0000, wallet="tokens", cost_asset="USD", cost_units=1_000_000_001, cost_remaining=1_000_000_001
        )
        wallets.grant_credit(uow, bought, recorded_at=NOON, processor="stripe")
        for key, units in (("a", 1_0000), ("b", 1_0000), ("c", 1_0000)):
            wallets.burn(uow, _asked(key, units, asset="XTOKENS.0"), recorded_at=NOON)
    assert _balance(opened, "revenue", party="", detail="chat") == -1_000_000_001
    assert _balance(opened, "wallet", detail="tokens") == 0
    assert _balance(opened, "units_held", "XTOKENS.0", detail="tokens") == 0


def test_unused_credit_is_paid_back_once(opened: Database) -> None:
    with opened.writing(TENANT) as uow:
        for _ in range(2):
            wallets.refund_credit(uow, "back", "paid", units=40, processor="stripe", at=NOON, recorded_at=NOON)
        with pytest.raises(InsufficientCreditError):
            wallets.refund_credit(uow, "more", "paid", units=61, processor="stripe", at=NOON, recorded_at=NOON)
        wallets.refund_credit(uow, "void", "promo", units=30, processor="stripe", at=NOON, recorded_at=NOON)
    assert _balance(opened, "processor_clearing", party="", detail="stripe") == 60
    assert _balance(opened, "wallet", detail="main") == -60


def test_a_low_wallet_asks_to_be_topped_up(opened: Database) -> None:
    with opened.writing(TENANT) as uow:
        rule = Wallet("auto", "acme", "USD", 1, None, 10, 50)
        wallets.open_wallet(uow, rule, recorded_at=NOON)
        assert [due.wallet for due in wallets.due_top_ups(uow, "acme", NOON)] == [rule]
        wallets.grant_credit(uow, grant("top-up", 50, wallet="auto"), recorded_at=NOON, processor="stripe")
        assert wallets.due_top_ups(uow, "acme", NOON) == []
