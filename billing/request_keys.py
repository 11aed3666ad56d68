"""Idempotency keys: the work and its answer are stored in one transaction, so a key has one effect and one answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError

from billing.database import Database
from billing.unit_of_work import UnitOfWork
from models.tables.access import RequestKeyRow
from models.tables.base import table_of
from models.values.errors import ConflictError, RuleBrokenError
from models.values.ids import check_external_id

FIELD = "Idempotency-Key"
_KEYS = table_of(RequestKeyRow)
_WAIT_MS = 5_000
_LOCK_TIMEOUT = "55P03"

Clock = Callable[[UnitOfWork], datetime]
Work = Callable[[UnitOfWork], tuple[int, str]]
"""Does the work in the transaction it is given; returns the status and the text to answer with."""


class KeyReusedError(RuleBrokenError):
    """The key was used before for another request."""

    code = "idempotency_key_reused"


class StillRunningError(ConflictError):
    """The first request under this key has not finished."""

    code = "request_in_progress"


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What a request was answered with; `replayed` where it was an earlier one."""

    status: int
    text: str
    replayed: bool


def once(database: Database, tenant: str, key: str, digest: str, clock: Clock, work: Work) -> KeptAnswer:
    """Do `work` once under `key`: the same request again gets the same answer, another one is refused.

    `digest`: hash of what the key is bound to. Where the first request still runs, this one waits for it up to five
    seconds. Raises InvalidValueError, KeyReusedError, StillRunningError, and whatever the work raises: then nothing
    is stored and the key is free.
    """
    check_external_id(key, FIELD)
    try:
        return database.write(
            tenant, lambda uow: known_answer(uow, key, digest) or _first(uow, key, digest, clock, work)
        )
    except IntegrityError:
        # Two came together and the other was first: it has finished now.
        with database.reading(tenant) as uow:
            known = known_answer(uow, key, digest)
        if known is None:
            raise
        return known


def wait_briefly(uow: UnitOfWork) -> None:
    """Wait five seconds at most, from here on, for what another transaction holds."""
    if not uow.is_sqlite:
        uow.connection.execute(text(f"set local lock_timeout = {_WAIT_MS}"))


def _wait_as_usual(uow: UnitOfWork) -> None:
    if not uow.is_sqlite:
        uow.connection.execute(text("set local lock_timeout to default"))


def known_answers(uow: UnitOfWork, keys: Collection[str]) -> dict[str, tuple[str, KeptAnswer]]:
    """Return, by key, the digest and the answer of those that were used."""
    rows = uow.connection.execute(select(_KEYS).where(_KEYS.c.tenant == uow.tenant, _KEYS.c.key.in_(sorted(keys))))
    return {row.key: (row.body_hash, KeptAnswer(row.status, row.answer, replayed=True)) for row in rows}


def keep_answers(uow: UnitOfWork, answers: Mapping[str, tuple[str, KeptAnswer]], now: datetime) -> None:
    """Keep the answers given under new keys. The database refuses a key that another process was faster with."""
    rows = [
        {
            "tenant": uow.tenant,
            "key": key,
            "body_hash": digest,
            "status": answer.status,
            "answer": answer.text,
            "recorded_at": now,
        }
        for key, (digest, answer) in answers.items()
    ]
    if rows:
        uow.connection.execute(insert(_KEYS), rows)


def check_digest(key: str, kept: str, sent: str) -> None:
    """Raise KeyReusedError where a key was used for another request."""
    if kept != sent:
        raise KeyReusedError("was used for another request", field=FIELD, value=key)


def known_answer(uow: UnitOfWork, key: str, digest: str) -> KeptAnswer | None:
    """Return what a key was answered with, if it was. Raises KeyReusedError where it was for another request."""
    row = uow.connection.execute(select(_KEYS).where(_KEYS.c.tenant == uow.tenant, _KEYS.c.key == key)).first()
    if row is None:
        return None
    check_digest(key, row.body_hash, digest)
    return KeptAnswer(row.status, row.answer, replayed=True)


def _first(uow: UnitOfWork, key: str, digest: str, clock: Clock, work: Work) -> KeptAnswer:
    wait_briefly(uow)
    row = {"tenant": uow.tenant, "key": key, "body_hash": digest, "recorded_at": clock(uow)}
    # The row goes in before the work, so that a second request waits here and not in the middle of it.
    try:
        uow.connection.execute(insert(_KEYS).values(row))
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) == _LOCK_TIMEOUT:
            raise StillRunningError("the first request under this key still runs", field=FIELD) from error
        raise
    _wait_as_usual(uow)
    status, answer = work(uow)
    mine = (_KEYS.c.tenant == uow.tenant) & (_KEYS.c.key == key)
    uow.connection.execute(update(_KEYS).where(mine).values(status=status, answer=answer))
    return KeptAnswer(status, answer, replayed=False)
