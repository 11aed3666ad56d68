"""Workload: batches of journals with accruals, grants, burns and holds, each batch in one transaction."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import partial
from itertools import count

from sqlalchemy import text

from billing import accruals, holds, ledger, wallets
from billing.carrying import Accrual
from billing.database import Database
from billing.ledger_checks import CHECKS
from billing.verification import verify
from tests.ledger_damage import random_draft
from tests.ledger_facts import NOON, TENANT, add_customers, grant
from tests.torture.harness import Step, Tell

_JOURNALS = 12
_OTHERS = 4  # An accrual, a grant, a burn, a hold that is settled: each with its journal.


@dataclass(frozen=True, slots=True)
class Posting:
    """Journals of every shape, and what wallets post."""

    pause: float = 0.4

    def prepare(self, database: Database) -> None:
        add_customers(database, "acme")
        with database.writing(TENANT) as uow:
            wallets.open_wallet(uow, wallets.Wallet("main", "acme", "USD"), recorded_at=NOON)

    def steps(self, database: Database, number: int) -> Iterator[Step]:
        for batch in count():
            key = f"r{number}b{batch}"
            yield Step(key, _JOURNALS + _OTHERS, partial(_post, key), partial(_present, key))

    def problems(self, database: Database) -> list[str]:
        with database.reading(TENANT) as uow:
            return [": ".join(finding) for finding in verify(uow, CHECKS).findings]


def _post(key: str, database: Database, _tell: Tell) -> None:
    rng = random.Random(key)
    with database.writing(TENANT) as uow:
        drafts = [random_draft(rng, f"{key}/journal/{i}") for i in range(_JOURNALS)]
        ledger.post(uow, drafts, recorded_at=NOON)
        amounts = (("chat", Decimal(rng.randint(1, 10**12)).scaleb(-13)),)
        accruals.accrue(uow, [Accrual(f"{key}/accrual", "acme", "USD", NOON, amounts)], recorded_at=NOON)
        wallets.grant_credit(uow, grant(f"{key}/", 100), recorded_at=NOON, processor="stripe")
        wallets.burn(uow, wallets.BurnRequest(f"{key}/", "acme", "USD", "chat", 30, NOON), recorded_at=NOON)
        held = holds.Hold(f"{key}/", "acme", "USD", "chat", 40, NOON, NOON + timedelta(hours=1))
        if holds.hold(uow, held).state is holds.HoldState.PENDING:
            holds.settle(uow, held.key, 25, at=NOON, recorded_at=NOON)


def _present(key: str, database: Database) -> int:
    """Count the journals of a batch by their keys: its own, and those of its accrual, grant, burn and hold."""
    query = text(
        "select count(*) from journal where tenant = :tenant and (key like :own or key in (:grant, :burn, :settled))"
    )
    keys = {"own": f"{key}/%", "grant": f"grant:{key}/", "burn": f"burn:{key}/", "settled": f"burn:hold:{key}/"}
    with database.reading(TENANT) as uow:
        return int(uow.connection.execute(query, {"tenant": TENANT, **keys}).scalar_one())


WORKLOAD = Posting()
