"""`If-Match` over HTTP: a document is changed only as it was read (RFC 9110, 13.1.1)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar.params import HeaderParameter
from litestar.response.base import ASGIResponse

from models.values.errors import ConflictError, RuleBrokenError

_FIELD = "If-Match"
IfMatch = Annotated[
    str | None,
    HeaderParameter(name=_FIELD, required=False, description="Required: the ETag under which it was read, or *."),
]

IfMatchAsRead = Annotated[
    str | None,
    HeaderParameter(name=_FIELD, required=False, description="Required: the ETag under which it was read."),
]


class PreconditionRequiredError(RuleBrokenError):
    """A change that does not say of what."""

    code = "precondition_required"


class PreconditionFailedError(ConflictError):
    """The document is another one by now."""

    code = "precondition_failed"


class _Revised(msgspec.Struct):
    revision: str


_REVISED = msgspec.json.Decoder(_Revised)


def check_match(if_match: str | None, revision: str, *, as_read: bool = False) -> None:
    """Raise PreconditionRequiredError without the header, PreconditionFailedError where it names another revision.

    `as_read`: `*`, which says nothing of what was read, is not enough.
    """
    named = {each.strip() for each in (if_match or "").split(",")} - {""}
    if as_read:
        named.discard("*")
    if not named:
        raise PreconditionRequiredError("read it first and send its ETag", field=_FIELD, value=if_match or None)
    if named.isdisjoint({"*", _etag(revision)}):
        raise PreconditionFailedError("was changed since; read it again", field=_FIELD, value=if_match)


def tagged(answer: ASGIResponse) -> ASGIResponse:
    """Return an answer that shows a `revision`, with it as the ETag."""
    answer.headers["ETag"] = _etag(_REVISED.decode(answer.body).revision)
    return answer


def _etag(revision: str) -> str:
    return f'"{revision}"'
