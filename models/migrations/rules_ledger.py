"""What the database itself refuses in the ledger: unbalanced seals, late legs, any change of what is sealed.

SQLite checks row by row. PostgreSQL checks a whole statement at once, by ranges of one table each: such a plan is
good whether the planner has statistics or not, which a join over the transition table is not. `insert or replace`
fires no delete trigger on SQLite unless told to, so an insert over an existing row is refused too.
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
    select raise(abort, 'ledger: seal without journal')
    where not exists (select 1 from journal where tenant = new.tenant and id = new.journal);
    select raise(abort, 'ledger: a journal needs two entries')
    where not exists (select 1 from entry where tenant = new.tenant and journal = new.journal limit 1 offset 1);
    select raise(abort, 'ledger: entries do not sum to zero')
    where exists (
        select 1 from entry where tenant = new.tenant and journal = new.journal group by asset having sum(amount) <> 0
    );
    select raise(abort, 'ledger: seal follows no other')
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
    if exists (
        select 1 from (select tenant, min(journal) as first from added group by tenant) as a
        where exists (select 1 from journal_seal s where s.tenant = a.tenant and s.journal >= a.first)
    ) then
        raise exception 'ledger: journal is sealed' using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end $$;

create function ledger_check_seal() returns trigger language plpgsql as $$
declare
    batch record;
begin
    for batch in
        select tenant, min(journal) as first, max(journal) as last, count(*) as seals from added group by tenant
    loop
        if batch.seals <> (
            select count(*) from journal where tenant = batch.tenant and id between batch.first and batch.last
        ) then
            raise exception 'ledger: seal without journal' using errcode = 'integrity_constraint_violation';
        end if;
        if batch.seals <> batch.last - batch.first + 1 or exists (
            select 1 from (
                select journal, previous_hash, lag(hash) over (order by journal) as hash_before from journal_seal
                where tenant = batch.tenant and journal between batch.first - 1 and batch.last
            ) as link where journal >= batch.first and journal > 1 and previous_hash is distinct from hash_before
        ) then
            raise exception 'ledger: seal follows no other' using errcode = 'integrity_constraint_violation';
        end if;
        if batch.seals <> (
            select count(*) from (
                select journal from (
                    select journal, count(*) as legs, sum(amount) as total from entry
                    where tenant = batch.tenant and journal between batch.first and batch.last group by journal, asset
                ) as by_asset group by journal having sum(legs) >= 2 and bool_and(total = 0)
            ) as balanced
        ) then
            raise exception 'ledger: entries do not sum to zero' using errcode = 'integrity_constraint_violation';
        end if;
    end loop;
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
