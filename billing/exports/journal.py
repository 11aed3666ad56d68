"""The journal: every entry of the ledger, one row a leg, in the order of posting, for the accounting system.

Amounts are exact decimals in major units, debit and credit apart. Nothing of it ever changes, so a cursor (the number
of the last journal taken) is all that has to be kept to go on.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from sqlalchemy import select

from billing.database import Database
from billing.exports.register import FORMATS
from billing.journals import JournalDraft, read_canonical
from billing.unit_of_work import UnitOfWork
from models.column_types import utc_text
from models.tables.base import table_of
from models.tables.ledger import JournalRow
from models.values.errors import InvalidValueError
from models.values.money import currency, from_ledger_units
from models.values.quantity import plain

COLUMNS = (
    "journal", "leg", "key", "kind", "effective_at", "recorded_at", "account", "asset", "party", "detail", "debit",
    "credit", "memo", "reverses",
)  # fmt: skip
_JOURNAL = table_of(JournalRow)
_AT_ONCE = 1_000
_PROMOTIONAL = "promo:"

Stored = tuple[int, JournalDraft, datetime]
"""A journal's number, what was posted, and when that was recorded."""


def journal_rows(uow: UnitOfWork, since: int = 0) -> Iterator[dict[str, str]]:
    """Yield every leg of the journals after number `since`; a thousand journals are held at a time."""
    while batch := _journals(uow, since):
        yield from _rows(batch)
        since = batch[-1][0]


def _journals(uow: UnitOfWork, since: int) -> list[Stored]:
    query = (
        select(_JOURNAL.c.canonical)
        .where(_JOURNAL.c.tenant == uow.tenant, _JOURNAL.c.id > since)
        .order_by(_JOURNAL.c.id)
        .limit(_AT_ONCE)
    )
    return [read_canonical(bytes(stored)) for stored in uow.connection.execute(query).scalars()]


def _rows(batch: Sequence[Stored]) -> Iterator[dict[str, str]]:
    for number, draft, recorded_at in batch:
        for leg, (account, amount) in enumerate(draft.legs, start=1):
            money = currency(account.asset.removeprefix(_PROMOTIONAL))
            shown = plain(from_ledger_units(abs(amount), money))
            yield {
                "journal": str(number),
                "leg": str(leg),
                "key": draft.key,
                "kind": draft.kind,
                "effective_at": utc_text(draft.effective_at),
                "recorded_at": utc_text(recorded_at),
                "account": account.code,
                "asset": account.asset,
                "party": account.party,
                "detail": account.detail,
                "debit": shown if amount > 0 else "",
                "credit": shown if amount < 0 else "",
                "memo": draft.memo,
                "reverses": "" if draft.reverses is None else str(draft.reverses),
            }


def write_journal(uow: UnitOfWork, form: str, since: int = 0) -> Iterator[bytes]:
    """Yield the journal as CSV (with a title row) or JSON lines. Raises InvalidValueError for another form."""
    check_form(form)
    yield from _title(form)
    yield from _written(journal_rows(uow, since), form)


def stream_journal(database: Database, tenant: str, form: str, since: int = 0) -> Iterator[bytes]:
    """Yield the same a thousand journals at a time, each in a transaction of its own.

    However slowly somebody reads, no connection is held; as nothing of the journal changes, the pages fit together.
    """
    yield from _title(form)
    while True:
        with database.reading(tenant) as uow:
            batch = _journals(uow, since)
        if not batch:
            return
        yield b"".join(_written(_rows(batch), form))
        since = batch[-1][0]


def check_form(form: str) -> None:
    """Raise InvalidValueError for a form that is not written here."""
    if form not in FORMATS:
        raise InvalidValueError(f"must be one of {', '.join(FORMATS)}", field="format", value=form)


def _title(form: str) -> list[bytes]:
    return [(",".join(COLUMNS) + "\n").encode()] if form == "csv" else []


def _written(rows: Iterable[Mapping[str, str]], form: str) -> Iterator[bytes]:
    for row in rows:
        if form == "csv":
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerow([_cell(row[name]) for name in COLUMNS])
            yield text.getvalue().encode()
        else:
            yield (json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n").encode()


def _cell(value: str) -> str:
    """Keep a spreadsheet from taking text for a formula; no amount here begins with a sign."""
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
