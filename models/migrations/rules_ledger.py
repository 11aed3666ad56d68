"""What the database itself refuses in the ledger: unbalanced seals, late legs, any change of what is sealed.

SQLite checks row by row. PostgreSQL checks a whole statement at once, over its transition table, which costs a
twentieth. `insert or replace` fires no delete trigger on SQLite, so an insert over an existing row is refused too.
"""

from __future__ import annotations

from alembic.operations import Operations
from sqlalchemy import text

IMMUTABLE = ("account", "journal", "entry", "journal_seal", "accrual", "burn")

_SQLITE_REPLACED = (
    ("account", "id", "id = new.id"),
    ("account", "name", "code = new.code and asset = new.asset and party = new.party and detail = new.detail"),
    ("journal", "id", "id = new.id"),
    ("journal", "key", "key = new.key"),
    ("journal", "reverses", "reverses = new.reverses"),
    ("journal_seal", "journal", "journal = new.journal"),
    ("accrual", "key", "key = new.key"),
    ("burn", "key", "key = new.key and credit_grant = new.credit_grant"),
)
"""Each unique key of an immutable table: a replace through any of them would remove a row unseen."""

_SQLITE_SEALS = """
create trigger entry_late before insert on entry begin
    select raise(abort, 'ledger: journal is sealed')
    where exists (select 1 from journal_seal where tenant = new.tenant and journal = new.journal);
end;

create trigger journal_seal_balance before insert on journal_seal begin
    select raise(abort, 'ledger: a journal needs two entries')
    where not exists (select 1 from entry where tenant = new.tenant and journal = new.journal limit 1 offset 1);
    select raise(abort, 'ledger: entries do not sum to zero')
    where exists (
        select 1 from entry where tenant = new.tenant and journal = new.journal group by asset having sum(amount) <> 0
    );
    select raise(abort, 'ledger: seal does not follow the last one')
    where new.journal > 1 and not exists (
        select 1 from journal_seal
        where tenant = new.tenant and journal = new.journal - 1 and hash = new.previous_hash
    );
end;

create trigger entry_integer before insert on entry when typeof(new.amount) <> 'integer' begin
    select raise(abort, 'ledger: amount overflows');
end;

create trigger account_balance_integer before update on account_balance when typeof(new.balance) <> 'integer' begin
    select raise(abort, 'ledger: balance overflows');
end;

create trigger account_balance_kept before delete on account_balance begin
    select raise(abort, 'ledger: a balance is not removed');
end;
"""

_POSTGRESQL_SEALS = """
create function ledger_refuse() returns trigger language plpgsql as $$
begin
    raise exception 'ledger: % is immutable', tg_table_name using errcode = 'integrity_constraint_violation';
end $$;

create function ledger_refuse_late() returns trigger language plpgsql as $$
begin
    if exists (select 1 from added a join journal_seal s on s.tenant = a.tenant and s.journal = a.journal) then
        raise exception 'ledger: journal is sealed' using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end $$;

create function ledger_check_seal() returns trigger language plpgsql as $$
declare
    sums record;
begin
    select count(*) filter (where legs < 2 or legs is null) as short, count(*) filter (where total <> 0) as unbalanced
    into sums from (
        select a.journal, e.asset, sum(e.amount) as total, sum(count(e.leg)) over (partition by a.journal) as legs
        from added a left join entry e on e.tenant = a.tenant and e.journal = a.journal
        group by a.tenant, a.journal, e.asset
    ) as totals;
    if sums.short > 0 then
        raise exception 'ledger: a journal needs two entries' using errcode = 'integrity_constraint_violation';
    end if;
    if sums.unbalanced > 0 then
        raise exception 'ledger: entries do not sum to zero' using errcode = 'integrity_constraint_violation';
    end if;
    if exists (
        select 1 from added a where a.journal > 1 and not exists (
            select 1 from journal_seal s
            where s.tenant = a.tenant and s.journal = a.journal - 1 and s.hash = a.previous_hash
        )
    ) then
        raise exception 'ledger: seal does not follow the last one' using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end $$;

create trigger entry_late after insert on entry
    referencing new table as added for each statement execute function ledger_refuse_late();
create trigger journal_seal_balance after insert on journal_seal
    referencing new table as added for each statement execute function ledger_check_seal();
create trigger account_balance_kept before delete or truncate on account_balance
    for each statement execute function ledger_refuse();
"""


def after(op: Operations) -> None:
    """Create the triggers of the database at hand; run once the tables stand."""
    if op.get_bind().dialect.name == "sqlite":
        statements = _sqlite_immutable() + _statements(_SQLITE_SEALS, "end;")
    else:
        statements = [_POSTGRESQL_SEALS, *(_postgresql_immutable(table) for table in IMMUTABLE)]
    for statement in statements:
        op.get_bind().execute(text(statement.replace(":", "\\:")))


def before(op: Operations) -> None:
    """Drop what outlives the tables: PostgreSQL's functions. Run before the tables go."""
    if op.get_bind().dialect.name == "postgresql":
        for function in ("ledger_refuse", "ledger_refuse_late", "ledger_check_seal"):
            op.get_bind().execute(text(f"drop function {function}() cascade"))


def _sqlite_immutable() -> list[str]:
    refusals = [
        f"create trigger {table}_no_{verb} before {verb} on {table} "
        f"begin select raise(abort, 'ledger: {table} is immutable'); end"
        for table in IMMUTABLE
        for verb in ("update", "delete")
    ]
    replacements = [
        f"create trigger {table}_no_replace_by_{name} before insert on {table} "  # noqa: S608
        f"when exists (select 1 from {table} where tenant = new.tenant and {condition}) "
        f"begin select raise(abort, 'ledger: {table} is immutable'); end"
        for table, name, condition in _SQLITE_REPLACED
    ]
    return refusals + replacements


def _postgresql_immutable(table: str) -> str:
    return (
        f"create trigger {table}_immutable before update or delete or truncate on {table} "
        "for each statement execute function ledger_refuse()"
    )


def _statements(script: str, end: str) -> list[str]:
    return [statement + end for statement in script.split(end) if statement.strip()]
