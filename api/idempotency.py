"""Idempotency keys: the work and its answer are stored in one transaction, so a key has one effect and one answer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import anyio.to_thread
import msgspec
from litestar import Request, Response
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError

from api.security import Caller
from api.services import Services
from billing.unit_of_work import UnitOfWork
from models.tables.access import RequestKeyRow
from models.tables.base import table_of
from models.values.errors import ConflictError, InvalidValueError, RuleBrokenError
from models.values.ids import check_external_id

_KEYS = table_of(RequestKeyRow)
_WAIT_MS = 5_000
_LOCK_TIMEOUT = "55P03"

Work = Callable[[UnitOfWork], tuple[int, object]]
"""Does the work in the transaction it is given; returns the status and the body to answer with."""


class KeyReusedError(RuleBrokenError):
    """The key was used before for another request."""

    code = "idempotency_key_reused"


class StillRunningError(ConflictError):
    """The first request under this key has not finished."""

    code = "request_in_progress"


def once(services: Services, tenant: str, key: str | None, request: bytes, work: Work) -> Response[bytes]:
    """Do `work` once under `key`: the same request again gets the same answer, another one is refused.

    `request`: what the key is bound to, method and path included. Where the first request still runs, this one
    waits for it up to five seconds. Raises InvalidValueError without a key, KeyReusedError, StillRunningError,
    and whatever the work raises: then nothing is stored and the key is free.
    """
    if key is None:
        raise InvalidValueError(
            "is required for this request", field="Idempotency-Key", code="idempotency_key_required"
        )
    check_external_id(key, "Idempotency-Key")
    digest = hashlib.sha256(request).hexdigest()
    try:
        with services.database.writing(tenant) as uow:
            known = _known(uow, key, digest)
            return known if known is not None else _first(services, uow, key, digest, work)
    except IntegrityError:
        # Two came together and the other was first: it has finished now.
        with services.database.reading(tenant) as uow:
            known = _known(uow, key, digest)
        if known is None:
            raise
        return known
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) == _LOCK_TIMEOUT:
            raise StillRunningError("the first request under this key still runs", field="Idempotency-Key") from error
        raise


async def in_thread(
    services: Services, request: Request[Caller, Any, Any], key: str | None, work: Work
) -> Response[bytes]:
    """Do `work` once under `key`, bound to the request's method, path and body, without blocking the event loop."""
    body = await request.body()
    bound = b"\x00".join((request.method.encode(), request.url.path.encode(), body))
    return await anyio.to_thread.run_sync(once, services, request.user.tenant, key, bound, work)


def _known(uow: UnitOfWork, key: str, digest: str) -> Response[bytes] | None:
    row = uow.connection.execute(select(_KEYS).where(_KEYS.c.tenant == uow.tenant, _KEYS.c.key == key)).first()
    if row is None:
        return None
    if row.body_hash != digest:
        raise KeyReusedError("was used for another request", field="Idempotency-Key", value=key)
    return _response(row.status, row.answer.encode(), replayed=True)


def _first(services: Services, uow: UnitOfWork, key: str, digest: str, work: Work) -> Response[bytes]:
    if not uow.is_sqlite:
        uow.connection.execute(text(f"set local lock_timeout = {_WAIT_MS}"))
    # The row goes in before the work, so that a second request waits here and not in the middle of it.
    uow.connection.execute(
        insert(_KEYS).values(tenant=uow.tenant, key=key, body_hash=digest, recorded_at=services.now())
    )
    status, body = work(uow)
    answer = msgspec.json.encode(body)
    uow.connection.execute(
        update(_KEYS)
        .where(_KEYS.c.tenant == uow.tenant, _KEYS.c.key == key)
        .values(status=status, answer=answer.decode())
    )
    return _response(status, answer, replayed=False)


def _response(status: int, answer: bytes, *, replayed: bool) -> Response[bytes]:
    headers = {"Idempotent-Replayed": "true"} if replayed else {}
    return Response(answer, status_code=status, media_type="application/json", headers=headers)
