"""The schema that migrations build is the schema the tables declare, on both databases."""

from __future__ import annotations

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from billing.books_checks import BOOKS_CHECKS
from billing.database import Database, migration_config
from billing.ledger_checks import CHECKS
from billing.verification import verify
from models.tables.base import metadata
from tests.billing_story import Company, event


def test_migrations_build_exactly_the_declared_tables(database: Database) -> None:
    with database.engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata())
    assert differences == []


def test_every_primary_and_foreign_key_begins_with_the_tenant() -> None:
    for table in metadata().tables.values():
        assert next(iter(table.primary_key.columns)).name == "tenant", table.name
        for key in table.foreign_key_constraints:
            assert key.column_keys[0] == "tenant", (table.name, key.name)
        for index in table.indexes:
            assert next(iter(index.columns)).name == "tenant", (table.name, index.name)


def test_there_is_one_line_of_revisions() -> None:
    assert len(ScriptDirectory.from_config(migration_config()).get_heads()) == 1


def test_migrating_twice_changes_nothing(database: Database) -> None:
    with database.engine.connect() as connection:
        before = sorted(inspect(connection).get_table_names())
    database.migrate()
    with database.engine.connect() as connection:
        assert sorted(inspect(connection).get_table_names()) == before


def test_a_filled_database_takes_the_latest_steps_and_goes_on_billing(database: Database) -> None:
    """Back to a schema of before and forth again, with a closed month in it; then the next month is closed."""
    company = Company(database)
    company.found("acme")
    company.subscribe("acme", company.publish(), {"tokens": "1", "seats": "3"}, "2026-01-11")
    company.ingest([event(1, "acme", "2026-01-15", 100_000), event(2, "acme", "2026-02-05", 50_000)], "2026-02-06")
    company.close("2026-01", "2026-02-06T01:00")
    _go_down_to(database, "0012_usage_holds")
    assert not database.is_migrated()
    database.migrate()
    assert database.is_migrated()
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata()) == []
    company.close("2026-02", "2026-03-01T01:00")
    assert [invoice.number for invoice in company.invoices("acme")] == ["INV-2026-000001", "INV-2026-000002"]
    with database.reading(company.tenant) as uow:
        assert verify(uow, (*CHECKS, *BOOKS_CHECKS)).findings == ()


def _go_down_to(database: Database, revision: str) -> None:
    with database.engine.begin() as connection:
        config = migration_config()
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def test_a_commit_is_durable(database: Database) -> None:
    if not database.is_sqlite:
        as_users_open_it = Database(
            database.engine.url.difference_update_query(["options"]).render_as_string(hide_password=False)
        )
        with as_users_open_it.engine.connect() as connection:
            assert connection.scalar(text("show synchronous_commit")) == "on"
        as_users_open_it.close()
        return
    with database.engine.connect() as connection:
        pragmas = {
            name: connection.scalar(text(f"pragma {name}")) for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
