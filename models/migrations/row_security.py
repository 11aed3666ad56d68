"""Row-level security on PostgreSQL: a transaction sees the rows of its tenant, and none where no tenant is set.

It is the second wall behind the queries, which all name the tenant. FORCE holds the tables' owner to it as well;
only superusers and roles with BYPASSRLS pass, so the application's role must be neither (see docs/ledger.md).
"""

from __future__ import annotations

from alembic.operations import Operations
from sqlalchemy import inspect, text

_POLICY = "tenant_isolation"


def after(op: Operations) -> None:
    """Protect every table that has a tenant; run when all tables stand."""
    protect(op, *_tenant_tables(op))


def protect(op: Operations, *tables: str) -> None:
    """Protect some tables, made by a later migration."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in tables:
        _run(op, f"alter table {table} enable row level security")
        _run(op, f"alter table {table} force row level security")
        _run(op, f"create policy {_POLICY} on {table} using (tenant = current_setting('app.tenant', true))")


def before(op: Operations) -> None:
    """Take the protection off again."""
    for table in _tenant_tables(op):
        _run(op, f"drop policy {_POLICY} on {table}")
        _run(op, f"alter table {table} no force row level security")
        _run(op, f"alter table {table} disable row level security")


def _tenant_tables(op: Operations) -> list[str]:
    if op.get_bind().dialect.name != "postgresql":
        return []
    inspector = inspect(op.get_bind())
    names = sorted(inspector.get_table_names())
    return [name for name in names if any(column["name"] == "tenant" for column in inspector.get_columns(name))]


def _run(op: Operations, statement: str) -> None:
    op.get_bind().execute(text(statement))
