"""Verification finds any change of a ledger, names the row, and is silent about a sound one."""

from __future__ import annotations

import os
import random
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from billing import ledger
from billing.database import Database
from billing.verification import pages, trial_balance, verify
from tests.ledger_damage import damage, disarm, fill, random_draft
from tests.ledger_facts import NOON, TENANT, accrual

TRIALS = int(os.environ.get("ALACARTE_DAMAGE_TRIALS", "50"))
"""One at a time, on each database; the torture lane asks for 1,000."""


def test_a_sound_ledger_verifies_and_each_asset_sums_to_zero(database: Database) -> None:
    fill(database, 1_200, seed=1)
    with database.writing(TENANT) as uow:
        ledger.reverse(
            uow, "j7", reversal_key="undo", effective_at=NOON, recorded_at=NOON, memo='quote " and \\ \n é 한'
        )
    with database.reading(TENANT) as uow:
        report = verify(uow, [pages])
        table = trial_balance(uow)
    assert (report.findings, report.journals) == ((), 1_201)
    assert set(table) == {"USD", "KRW", "BHD"}
    assert [sum(by_code.values()) for by_code in table.values()] == [0, 0, 0]


def test_an_empty_ledger_verifies(database: Database) -> None:
    with database.reading(TENANT) as uow:
        assert verify(uow).is_sound


def test_every_piece_of_damage_is_found(database: Database) -> None:
    """Bits flipped, rows removed, rows swapped, one at a time and undone again; triggers and keys are off."""
    rng = random.Random(20260301)
    fill(database, 300, seed=2)
    disarm(database)
    found = 0
    while found < TRIALS:
        with database.reading(TENANT) as uow:
            uow.connection.exec_driver_sql(
                "pragma defer_foreign_keys = on" if uow.is_sqlite else "set session_replication_role = replica"
            )
            try:
                what = damage(uow.connection, rng)
            except IntegrityError:  # A unique key, which nobody can turn off, stood in the way.
                continue
            report = verify(uow)
        assert not report.is_sound, what
        assert report.findings[0].row, what
        found += 1
    with database.reading(TENANT) as uow:
        assert verify(uow).is_sound


def test_a_bit_flipped_in_the_file_is_found(tmp_path: Path, sqlite_template: Path) -> None:
    """Any bit of any page. Rows that read as before, with sound pages, are no change: free space was hit."""
    path = tmp_path / "ledger.db"
    path.write_bytes(sqlite_template.read_bytes())
    database = Database(f"sqlite:///{path}")
    fill(database, 200, seed=3)
    with database.engine.connect() as connection:
        connection.execute(text("pragma wal_checkpoint(truncate)"))
    database.close()
    sound, rows = path.read_bytes(), _rows(path)
    rng = random.Random(7)
    for _ in range(TRIALS):
        damaged = bytearray(sound)
        at = rng.randrange(100, len(damaged))
        damaged[at] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        opened = Database(f"sqlite:///{path}")
        try:
            with opened.reading(TENANT) as uow:
                is_sound = verify(uow, [pages]).is_sound
        except (DBAPIError, UnicodeDecodeError):  # The schema itself cannot be read: nobody misses that.
            is_sound = False
        finally:
            opened.close()
        assert not is_sound or _rows(path) == rows, f"byte {at}"


def _rows(path: Path) -> list[object]:
    with sqlite3.connect(path) as connection:
        tables = ("account", "account_balance", "journal", "entry", "journal_seal")
        found = [connection.execute(f"select * from {table}").fetchall() for table in tables]  # noqa: S608
    connection.close()
    return found


def test_the_first_bad_row_is_named(database: Database) -> None:
    fill(database, 50, seed=4)
    disarm(database)
    with database.writing(TENANT) as uow:
        uow.connection.execute(text("update journal set memo = 'changed' where id in (31, 40)"))
    with database.reading(TENANT) as uow:
        [finding] = verify(uow).findings
    assert (finding.check, finding.row) == ("chain", "journal 31")


def test_an_amount_that_is_no_number_names_its_journal(tmp_path: Path, sqlite_template: Path) -> None:
    """PostgreSQL keeps nothing but numbers in the column."""
    path = tmp_path / "ledger.db"
    path.write_bytes(sqlite_template.read_bytes())
    database = Database(f"sqlite:///{path}")
    fill(database, 20, seed=5)
    disarm(database)
    with database.writing(TENANT) as uow:
        uow.connection.execute(text("update entry set amount = 'much' where journal = 9 and leg = 1"))
    with database.reading(TENANT) as uow:
        [finding] = verify(uow).findings
    database.close()
    assert (finding.row, finding.problem.partition(":")[0]) == ("journal 9", "holds what cannot stand there")


@pytest.mark.parametrize(
    ("damage", "row"),
    [
        ("update account set asset = cast(asset as blob) where id = 3", "account"),
        ("update entry set account = 10000 where journal = 9 and leg = 1", "journal 9"),
        ("update entry set account = 10000 where journal = 9 and leg = 0", "journal 9"),
        ("update journal set id = cast('x' as blob) where id = 10", "journal 10"),
        ("update journal set id = 1000000000000 where id = 20", "journal 20"),
        ("update journal set id = -1 where id = 20", "journal"),
        ("delete from journal where id = 20", "entry"),
        ("delete from journal_seal where journal = 20", "journal 20"),
    ],
)
def test_what_cannot_stand_in_a_column_is_named(damage: str, row: str, tmp_path: Path, sqlite_template: Path) -> None:
    """PostgreSQL refuses most of it; a number far beyond the others is no reason to count up to it."""
    path = tmp_path / "ledger.db"
    path.write_bytes(sqlite_template.read_bytes())
    database = Database(f"sqlite:///{path}")
    fill(database, 20, seed=5)
    disarm(database)
    with database.reading(TENANT) as uow:
        uow.connection.exec_driver_sql("pragma defer_foreign_keys = on")
        uow.connection.execute(text(damage))
        findings = verify(uow).findings
    database.close()
    assert findings[0].row == row


def test_entries_without_a_journal_are_found_though_they_sum_to_zero(database: Database) -> None:
    fill(database, 50, seed=4)
    disarm(database)
    with database.reading(TENANT) as uow:
        off = "pragma defer_foreign_keys = on" if uow.is_sqlite else "set session_replication_role = replica"
        uow.connection.exec_driver_sql(off)
        stray = (
            "insert into entry (tenant, journal, leg, account, asset, amount) select tenant, 51, leg, account, asset, "
        )
        uow.connection.execute(text(f"{stray} amount from entry where journal = 50"))
        [finding] = verify(uow).findings
    assert (finding.row, finding.problem.endswith("entries belong to no journal")) == ("entry", True)


def test_checks_of_other_parts_run_after_the_ledgers_own(database: Database) -> None:
    def events(_uow: object) -> object:
        yield from ()

    with database.reading(TENANT) as uow:
        assert verify(uow, [events]).checks == ("chain", "balances", "events")  # type: ignore[list-item]


def test_one_tenants_damage_is_not_anothers(database: Database) -> None:
    for tenant in ("one", "two"):
        with database.writing(tenant) as uow:
            ledger.post(uow, [accrual("a", 5), accrual("b", 6)], recorded_at=NOON)
    disarm(database)
    with database.writing("one") as uow:
        uow.connection.execute(text("delete from entry where tenant = 'one' and journal = 2"))
    for tenant, is_sound in (("one", False), ("two", True)):
        with database.reading(tenant) as uow:
            assert verify(uow).is_sound is is_sound


@pytest.mark.parametrize("seed", range(3))
def test_the_trial_balance_stays_zero_over_random_journals(database: Database, seed: int) -> None:
    rng = random.Random(seed)
    expected: dict[tuple[str, str], int] = {}
    for batch in range(4):
        drafts = [random_draft(rng, f"{batch}:{i}") for i in range(250)]
        with database.writing(TENANT) as uow:
            ledger.post(uow, drafts, recorded_at=NOON + timedelta(minutes=batch))
        for draft in drafts:
            for account, amount in draft.legs:
                place = (account.asset, account.code)
                expected[place] = expected.get(place, 0) + amount
    with database.reading(TENANT) as uow:
        table = trial_balance(uow)
    assert {(asset, code): units for asset, by_code in table.items() for code, units in by_code.items()} == expected
    assert all(sum(by_code.values()) == 0 for by_code in table.values())
