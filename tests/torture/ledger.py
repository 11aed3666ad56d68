"""The ledger at length: a million random journals sum to zero, a thousand pieces of damage are all found.

    python -m tests.torture.ledger --journals 1000000 --damages 1000

The damage is done one piece at a time to a ledger of 1,000 journals with its triggers gone, and undone again. The last
line of each part is its outcome. Exit status 1 if an asset does not sum to zero, or a piece of damage stays unseen.
"""

from __future__ import annotations

import argparse
import random
import sys
from datetime import timedelta

from sqlalchemy.exc import IntegrityError

from billing import ledger
from billing.database import Database
from billing.verification import trial_balance, verify
from tests.ledger_damage import damage, disarm, fill, random_draft
from tests.ledger_facts import NOON, TENANT
from tests.torture.databases import NAMES, database_at
from tests.torture.harness import say

_BATCH = 1_000
_TOLD_EVERY = 100_000
_DAMAGED_JOURNALS = 1_000


def main() -> int:
    """Run both parts on the databases asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--journals", type=int, default=1_000_000)
    parser.add_argument("--damages", type=int, default=1_000)
    parser.add_argument("--database", choices=NAMES, action="append")
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(10**9) if options.seed is None else options.seed
    say(f"seed {seed}")
    is_sound = True
    for name in options.database or NAMES:
        for part, count in ((_balances, options.journals), (_finds, options.damages)):
            with database_at(name) as url:
                if url is None:
                    say(f"{name}: not there, left out")
                    break
                database = Database(url)
                is_sound &= part(database, name, count, random.Random(f"{seed}/{name}"))
                database.close()
    return 0 if is_sound else 1


def _balances(database: Database, name: str, journals: int, rng: random.Random) -> bool:
    """Post random journals; whether each asset sums to zero, by the stored balances and by the entries themselves."""
    for begin in range(0, journals, _BATCH):
        drafts = [random_draft(rng, f"j{number}") for number in range(begin, min(begin + _BATCH, journals))]
        with database.writing(TENANT) as uow:
            ledger.post(uow, drafts, recorded_at=NOON + timedelta(seconds=begin))
        if (begin + _BATCH) % _TOLD_EVERY == 0:
            say(f"{name}: {begin + _BATCH:,} journals posted")
    with database.reading(TENANT) as uow:
        stored = {asset: sum(codes.values()) for asset, codes in trial_balance(uow).items()}
        entries: dict[str, int] = {}
        for account, units in ledger.balances(uow).items():
            entries[account.asset] = entries.get(account.asset, 0) + units
        report = verify(uow)
    say(f"{name}: trial balance after {report.journals:,} journals: {stored}, of the entries {entries}")
    for finding in report.findings:
        say(": ".join(finding))
    return report.is_sound and report.journals == journals and not any((*stored.values(), *entries.values()))


def _finds(database: Database, name: str, damages: int, rng: random.Random) -> bool:
    """Damage the ledger, verify, undo, again and again; whether each piece was found."""
    fill(database, _DAMAGED_JOURNALS, seed=rng.randrange(10**9))
    disarm(database)
    unseen: list[str] = []
    done = 0
    while done < damages:
        with database.reading(TENANT) as uow:  # What it writes is rolled back.
            uow.connection.exec_driver_sql(
                "pragma defer_foreign_keys = on" if uow.is_sqlite else "set session_replication_role = replica"
            )
            try:
                what = damage(uow.connection, rng)
            except IntegrityError:  # A key or check that nobody turned off stood in the way.
                continue
            if verify(uow).is_sound:
                unseen.append(what)
        done += 1
        if done % 100 == 0:
            say(f"{name}: {done} pieces of damage, {len(unseen)} unseen")
    for what in unseen:
        say(f"unseen: {what}")
    say(f"{name}: {damages} pieces of damage in {_DAMAGED_JOURNALS} journals: {damages - len(unseen)} found")
    return not unseen


if __name__ == "__main__":
    sys.exit(main())
