"""What the database itself refuses about invoices: any change of what is finalised, posted or logged.

A draft may be rewritten or thrown away. Once it has a number, only its state and what is settled of it move, and
never back to a draft; a charge may change hands between invoices, its amounts may not.
"""

from __future__ import annotations

from alembic.operations import Operations
from sqlalchemy import text

IMMUTABLE = (
    "rated_usage",
    "close_run",
    "close_action",
    "subscription_phase",
    "settlement",
    "credit_note",
    "credit_note_line",
    "document_log",
    "coupon_use",
    "invoice_party",
)
"""Tables that are only ever added to."""

_OF_DRAFTS = ("invoice_line", "invoice_line_source")
"""Tables that follow their invoice: open while it is a draft, closed for good afterwards."""

_FIXED_IN_INVOICE = (
    "number", "legal_entity", "customer", "currency", "period", "issued_on", "due_on", "service_start", "service_end",
    "exact", "carried_in", "carried_out", "net_minor", "tax_minor", "total_minor", "finalised_at",
)  # fmt: skip
_FIXED_IN_CHARGE = ("customer", "currency", "kind", "period", "known_at", "cutoff", "exact", "units", "recorded_at")
_LEGAL_MOVES = (
    "(old.state = 'finalised' and new.state in ('finalised', 'paid', 'void', 'uncollectible')) "
    "or (old.state = 'paid' and new.state in ('paid', 'finalised')) "
    "or (old.state = 'uncollectible' and new.state in ('uncollectible', 'paid')) "
    "or (old.state = 'void' and new.state = 'void')"
)


def after(op: Operations) -> None:
    """Create the triggers of the database at hand; run once the tables stand."""
    statements = _sqlite() if op.get_bind().dialect.name == "sqlite" else _postgresql()
    for statement in statements:
        op.get_bind().execute(text(statement.replace(":", "\\:")))


def before(op: Operations) -> None:
    """Drop what outlives the tables: PostgreSQL's functions. Run before the tables go."""
    if op.get_bind().dialect.name == "postgresql":
        for function in ("refuse", "check_move", "check_charge", "check_draft", "check_number"):
            op.get_bind().execute(text(f"drop function invoice_{function}() cascade"))


def _changed(columns: tuple[str, ...], differs: str) -> str:
    return " or ".join(f"new.{column} {differs} old.{column}" for column in columns)


def _sqlite() -> list[str]:
    statements = [
        f"create trigger {table}_no_{verb} before {verb} on {table} "
        f"begin select raise(abort, 'invoices: {table} is append-only'); end"
        for table in IMMUTABLE
        for verb in ("update", "delete")
    ]
    for table in _OF_DRAFTS:
        for verb, row in (("insert", "new"), ("update", "old"), ("delete", "old")):
            statements.append(
                f"create trigger {table}_{verb}_of_draft before {verb} on {table} "  # noqa: S608
                f"when (select state from invoice where tenant = {row}.tenant and id = {row}.invoice) <> 'draft' "
                "begin select raise(abort, 'invoices: a finalised invoice is never edited'); end"
            )
    statements += [
        "create trigger invoice_kept before delete on invoice when old.state <> 'draft' "
        "begin select raise(abort, 'invoices: a finalised invoice is never removed'); end",
        f"create trigger invoice_fixed before update on invoice when old.state <> 'draft' "
        f"and ({_changed(_FIXED_IN_INVOICE, 'is not')} or not ({_LEGAL_MOVES})) "
        "begin select raise(abort, 'invoices: a finalised invoice is never edited'); end",
        f"create trigger charge_fixed before update on charge when {_changed(_FIXED_IN_CHARGE, 'is not')} "
        "begin select raise(abort, 'invoices: a charge is never edited'); end",
        "create trigger charge_kept before delete on charge "
        "begin select raise(abort, 'invoices: a charge is never removed'); end",
        "create trigger number_series_gapless before update on number_series "
        "when new.last_number <> old.last_number + 1 and new.last_number <> old.last_number "
        "begin select raise(abort, 'invoices: numbers have no gap'); end",
        "create trigger number_series_kept before delete on number_series "
        "begin select raise(abort, 'invoices: a number series is never removed'); end",
    ]
    return statements


def _postgresql() -> list[str]:
    raised = "using errcode = 'integrity_constraint_violation'; end if; "
    function = "create function {}() returns trigger language plpgsql as $$ begin {} end $$"
    statements = [
        "create function invoice_refuse() returns trigger language plpgsql as $$ begin "
        "raise exception 'invoices: % is append-only', tg_table_name "
        "using errcode = 'integrity_constraint_violation'; end $$",
        function.format(
            "invoice_check_move",
            f"if tg_op = 'DELETE' then if old.state <> 'draft' then raise exception "
            f"'invoices: a finalised invoice is never removed' {raised} return old; end if; "
            f"if old.state <> 'draft' and ({_changed(_FIXED_IN_INVOICE, 'is distinct from')} or not ({_LEGAL_MOVES})) "
            f"then raise exception 'invoices: a finalised invoice is never edited' {raised} return new;",
        ),
        function.format(
            "invoice_check_charge",
            f"if tg_op = 'DELETE' or {_changed(_FIXED_IN_CHARGE, 'is distinct from')} then raise exception "
            f"'invoices: a charge is never edited' {raised} return new;",
        ),
        "create function invoice_check_draft() returns trigger language plpgsql as $$ declare state_now text; begin "  # noqa: S608
        "if tg_op = 'INSERT' then select state into state_now from invoice where tenant = new.tenant "
        "and id = new.invoice; else select state into state_now from invoice where tenant = old.tenant "
        "and id = old.invoice; end if; if state_now <> 'draft' then raise exception "
        f"'invoices: a finalised invoice is never edited' {raised} "
        "if tg_op = 'DELETE' then return old; end if; return new; end $$",
        function.format(
            "invoice_check_number",
            "if tg_op = 'DELETE' or (new.last_number <> old.last_number + 1 and new.last_number <> old.last_number) "
            f"then raise exception 'invoices: numbers have no gap' {raised} return new;",
        ),
    ]
    statements += [
        f"create trigger {table}_append_only before update or delete or truncate on {table} "
        "for each statement execute function invoice_refuse()"
        for table in IMMUTABLE
    ]
    statements += [
        f"create trigger {table}_of_draft before insert or update or delete on {table} "
        "for each row execute function invoice_check_draft()"
        for table in _OF_DRAFTS
    ]
    statements += [
        "create trigger invoice_fixed before update or delete on invoice "
        "for each row execute function invoice_check_move()",
        "create trigger charge_fixed before update or delete on charge "
        "for each row execute function invoice_check_charge()",
        "create trigger number_series_gapless before update or delete on number_series "
        "for each row execute function invoice_check_number()",
    ]
    return statements
