"""What the books showed at any past time, and how far they went, signed."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from billing import ledger
from billing.chart_of_accounts import Account
from billing.database import Database
from billing.ledger import AsKnown
from billing.ledger_head import check_against, signed_head
from billing.verification import verify
from pricing_engine.sealing import SealBrokenError, new_signer
from tests.ledger_damage import disarm, fill, random_draft
from tests.ledger_facts import NOON, TENANT, accrual

MINUTE = timedelta(minutes=1)


def test_the_books_as_known_at_any_time_equal_the_journals_replayed(database: Database) -> None:
    """Random effective and recording times, back-dated ones included; 200 pairs of instants."""
    rng = random.Random(5)
    for step in range(40):
        drafts = [random_draft(rng, f"{step}:{i}") for i in range(rng.randint(1, 8))]
        with database.writing(TENANT) as uow:
            ledger.post(uow, drafts, recorded_at=NOON + step * MINUTE)
    with database.reading(TENANT) as uow:
        journals = ledger.journals(uow, limit=1000)
        for _ in range(200):
            effective = NOON + timedelta(seconds=rng.randint(-(10**6), 10**6))
            recorded = NOON + rng.randint(-1, 41) * MINUTE
            when = AsKnown(rng.choice([None, effective]), rng.choice([None, recorded]))
            expected: dict[Account, int] = {}
            for journal in journals:
                late = when.effective_before is not None and journal.draft.effective_at >= when.effective_before
                unknown = when.recorded_until is not None and journal.recorded_at > when.recorded_until
                for account, amount in () if late or unknown else journal.draft.legs:
                    expected[account] = expected.get(account, 0) + amount
            assert ledger.balances(uow, when) == expected


def test_history_sums_beyond_64_bits(database: Database) -> None:
    """Ten accounts near the limit of a 64-bit integer; their entries' sum is exact on both databases."""
    largest = 2**63 - 1
    there = [accrual(f"a{i}", largest, customer=f"c{i}") for i in range(10)]
    revenue = [replace(draft, legs=(draft.legs[0], draft.legs[1]._replace(account=Account("revenue", "USD", f"c{i}"))))
               for i, draft in enumerate(there)]  # fmt: skip
    with database.writing(TENANT) as uow:
        ledger.post(uow, revenue, recorded_at=NOON)
        back = [
            replace(draft, key=f"{draft.key}-", legs=tuple(leg._replace(amount=-leg.amount) for leg in draft.legs))
            for draft in revenue
        ]
        ledger.post(uow, back[:5], recorded_at=NOON)
    with database.reading(TENANT) as uow:
        assert sum(ledger.balances(uow, code="unbilled").values()) == 5 * largest
        assert ledger.balances(uow, code="revenue", party="c9") == {Account("revenue", "USD", "c9"): -largest}


def test_a_signed_head_kept_elsewhere_tells_of_journals_cut_off(database: Database) -> None:
    signer = new_signer()
    fill(database, 30, seed=1)
    with database.reading(TENANT) as uow:
        head = signed_head(uow, signer, at=NOON)
    fill(database, 40, seed=1)
    kept = check_against(head, signer.public_pem)
    with database.reading(TENANT) as uow:
        assert verify(uow, [kept]).is_sound
    disarm(database)
    with database.writing(TENANT) as uow:
        for statement in (
            "delete from entry where journal > 29",
            "delete from journal where id > 29",
            "delete from journal_seal where journal > 29",
            "delete from account_balance where account not in (select account from entry)",
            "delete from account where id not in (select account from entry)",
            "update account_balance set balance = (select sum(amount) from entry e where e.account = account_balance."
            "account)",
        ):
            uow.connection.execute(text(statement))
    with database.reading(TENANT) as uow:
        assert verify(uow).is_sound, "a tail cut off clean cannot be seen from inside"
        [finding] = verify(uow, [kept]).findings
    assert finding.row == "journal 30"


def test_a_head_signed_by_another_key_is_refused(database: Database) -> None:
    with database.reading(TENANT) as uow:
        head = signed_head(uow, new_signer(), at=NOON)
    with pytest.raises(SealBrokenError):
        check_against(head, new_signer().public_pem)
