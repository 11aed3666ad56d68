"""What the database itself refuses about usage: any change or removal of a stored event.

An `insert or replace` on SQLite removes the row it replaces; connections are opened with recursive triggers, so
that this is refused too.
"""

from __future__ import annotations

from alembic.operations import Operations
from sqlalchemy import text

IMMUTABLE = ("usage_event", "usage_conflict")

_POSTGRESQL_FUNCTION = """
create function usage_refuse() returns trigger language plpgsql as $$
begin
    raise exception 'usage: % is append-only', tg_table_name using errcode = 'integrity_constraint_violation';
end $$
"""


def after(op: Operations) -> None:
    """Create the triggers of the database at hand; run once the tables stand."""
    if op.get_bind().dialect.name == "sqlite":
        statements = [
            f"create trigger {table}_no_{verb} before {verb} on {table} "
            f"begin select raise(abort, 'usage: {table} is append-only'); end"
            for table in IMMUTABLE
            for verb in ("update", "delete")
        ]
    else:
        statements = [_POSTGRESQL_FUNCTION] + [
            f"create trigger {table}_append_only before update or delete or truncate on {table} "
            "for each statement execute function usage_refuse()"
            for table in IMMUTABLE
        ]
    for statement in statements:
        op.get_bind().execute(text(statement.replace(":", "\\:")))


def before(op: Operations) -> None:
    """Drop what outlives the tables: PostgreSQL's function. Run before the tables go."""
    if op.get_bind().dialect.name == "postgresql":
        op.get_bind().execute(text("drop function usage_refuse() cascade"))
