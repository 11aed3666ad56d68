"""`Idempotency-Key` over HTTP: what the key is bound to, and how a kept answer is sent again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from litestar import Request
from litestar.params import HeaderParameter
from litestar.response.base import ASGIResponse

from api.patience import in_worker
from api.requests import encoded_answer
from api.security import Caller
from api.services import Services
from billing.request_keys import FIELD, KeptAnswer, known_answer, once
from billing.unit_of_work import UnitOfWork
from models.values.errors import InvalidValueError
from models.values.ids import check_external_id

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(name=FIELD, required=False, description="Required. Any text; the same again has no second effect."),
]
OptionalKey = Annotated[
    str | None,
    HeaderParameter(name=FIELD, required=False, description="Any text; the same again has no second effect."),
]
Work = Callable[[UnitOfWork], tuple[int, object]]
"""Does the work in the transaction it is given; returns the status and the body to answer with."""


async def in_thread(
    services: Services, request: Request[Caller, Any, Any], key: str | None, work: Work, *, needs_key: bool = True
) -> ASGIResponse:
    """Do `work` once under `key`, bound to the request's method, path and body, without blocking the event loop.

    Raises InvalidValueError without a key where one is needed, and what `billing.request_keys.once` raises.
    """
    if needs_key:
        needed(key)
    digest = await digest_of(request)
    return kept_answer(await in_worker(_write, services, request.user.tenant, key, digest, work))


async def after_steps(
    services: Services,
    request: Request[Caller, Any, Any],
    key: str | None,
    steps: Callable[[], Work],
    *,
    needs_key: bool = True,
) -> ASGIResponse:
    """Do `steps`, long, or transactions that do nothing when done again, then once under `key` the work they return.

    An answer that was given is given again without any step. Raises InvalidValueError without a key where one is
    needed, and what `billing.request_keys.once` raises.
    """
    if needs_key:
        needed(key)
    digest, tenant = await digest_of(request), request.user.tenant

    def run() -> KeptAnswer:
        if key is not None:
            with services.database.reading(tenant) as uow:
                known = known_answer(uow, key, digest)
            if known is not None:
                return known
        return _write(services, tenant, key, digest, steps())

    return kept_answer(await in_worker(run))


def needed(key: str | None) -> str:
    """Return the key. Raises InvalidValueError where there is none, or one that is no text to keep."""
    if key is None:
        raise InvalidValueError("is required for this request", field=FIELD, code="idempotency_key_required")
    return check_external_id(key, FIELD)


def _write(services: Services, tenant: str, key: str | None, digest: str, work: Work) -> KeptAnswer:
    if key is not None:
        return once(services.database, tenant, key, digest, services.now, lambda uow: _encoded(work(uow)))
    return services.database.write(tenant, lambda uow: KeptAnswer(*_encoded(work(uow)), replayed=False))


def _encoded(answer: tuple[int, object]) -> tuple[int, str]:
    status, body = answer
    return status, msgspec.json.encode(body).decode()


async def digest_of(request: Request[Caller, Any, Any]) -> str:
    """Return the hash of what a key is bound to: method, path and body."""
    path: str = request.scope["path"]
    return hashlib.sha256(b"\x00".join((request.method.encode(), path.encode(), await request.body()))).hexdigest()


def kept_answer(kept: KeptAnswer) -> ASGIResponse:
    """Return the answer over HTTP; one that was given before says so."""
    headers = {"Idempotent-Replayed": "true"} if kept.replayed else {}
    return encoded_answer(kept.text.encode(), kept.status, headers)
