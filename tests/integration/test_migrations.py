"""The schema that migrations build is the schema the tables declare, on both databases."""

from __future__ import annotations

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from billing.database import Database, migration_config
from models.tables.base import metadata


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
