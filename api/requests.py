"""What every request goes through before a handler sees it: an identity, and strict decoding."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
import uuid_utils
from litestar import Request
from litestar.datastructures import MutableScopeHeaders, State
from litestar.enums import HttpMethod
from litestar.exceptions import ClientException
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter
from litestar.response.base import ASGIResponse
from litestar.routes import HTTPRoute
from litestar.types import BeforeMessageSendHookHandler, Message, Scope

from api.choices import member_of, rule_of
from api.security import Caller
from billing.audit import Actor

API_VERSION = "2026-11-01"
MAX_BODY_BYTES = 10 * 1024 * 1024
_JSON = (b"content-type", b"application/json")
_VERSION = (b"alacarte-version", API_VERSION.encode())
_NUL = "\x00"
_SHOWN_CHARS = 120
_FORMS = {b"application/x-www-form-urlencoded", b"multipart/form-data"}
_NOT_COMPRESSED = {b"", b"identity"}
_SEND_PLAIN = {"Accept-Encoding": "identity"}

Body = TypeVar("Body")

ApiRequest = Request[Caller, Any, State]
Headers = list[tuple[bytes, bytes]]
AnswerHook = Callable[[Headers, Scope], None]
"""Changes the headers of an answer before they are sent."""


def request_id(scope: Scope) -> str:
    """Return the id of the request, giving it one the first time."""
    given: str = scope["state"].setdefault("request_id", str(uuid_utils.uuid7()))
    return given


def known_now(request: ApiRequest, system_now: datetime) -> datetime:
    """Return the time in force without asking the database; see `Caller.ahead`."""
    return system_now + request.user.ahead


def actor_of(request: ApiRequest, at: datetime) -> Actor:
    """Return whom the audit trail names for a request."""
    key = request.user.key
    return Actor(key.name, at, key.id, request_id(request.scope))


def json_answer(body: object, status: int) -> ASGIResponse:
    """Return an answer that is encoded once, here; the framework passes it on as it is."""
    return encoded_answer(msgspec.json.encode(body), status)


def encoded_answer(body: bytes, status: int, headers: dict[str, str] | None = None) -> ASGIResponse:
    """Return an answer of JSON that is encoded already."""
    answer = _Encoded(body, status)
    for name, value in (headers or {}).items():
        answer.headers[name] = value
    return answer


class _Encoded(ASGIResponse):
    """JSON and its two headers. As shipped, an answer looks for each header among the others before it sets it."""

    def __init__(self, body: bytes, status: int) -> None:
        length = len(body)
        self.headers = MutableScopeHeaders({"headers": [_JSON, (b"content-length", b"%d" % length)]})
        self.body, self.status_code, self.content_length = body, status, length
        self.background, self._encoded_cookies, self.encoding, self.is_head_response = None, (), "utf-8", False


def before_answers(*hooks: AnswerHook) -> BeforeMessageSendHookHandler:
    """Return what calls `hooks` one after the other before an answer's head is sent; its body passes, but to `HEAD`."""

    async def call(message: Message, scope: Scope) -> None:
        if message["type"] == "http.response.start":
            headers = message["headers"] = [*message.get("headers", ())]
            for hook in hooks:
                hook(headers, scope)
        elif scope.get("method") == HttpMethod.HEAD:
            message["body"] = b""

    return call


def identify(headers: Headers, scope: Scope) -> None:
    """Add the request id and the API version to every answer, those of unknown routes included."""
    headers += (b"x-request-id", request_id(scope).encode()), _VERSION


def state_clock(headers: Headers, scope: Scope) -> None:
    """Add `Alacarte-Clock` where the tenant moved its clock: the time in force when the request came."""
    caller = scope.get("user")
    if isinstance(caller, Caller) and caller.ahead:
        now = scope["litestar_app"].state.services.system_now() + caller.ahead
        headers.append((b"alacarte-clock", now.isoformat().encode()))


def state_methods(headers: Headers, scope: Scope) -> None:
    """Let `OPTIONS` name every method of a path: the framework knows those of the handler it met first."""
    if scope.get("method") == "OPTIONS" and "path_template" in scope:
        here = [route for route in scope["litestar_app"].routes if route.path_format == scope["path_template"]]
        methods = sorted({method for route in here if isinstance(route, HTTPRoute) for method in route.methods})
        kept = [pair for pair in headers if pair[0].lower() != b"allow"]
        headers[:] = [*kept, (b"allow", ", ".join(methods).encode())]


def check_address(scope: Scope) -> None:
    """Refuse what no database takes as text, before it gets there, and a parameter that says two things.

    Raises ClientException.
    """
    query = scope["query_string"]
    if _NUL in scope["path"] or b"%00" in query:
        raise ClientException("the address must not contain NUL")
    names = _parameters(scope) if b"&" in query else []
    if twice := sorted(name for name, times in Counter(names).items() if times > 1):
        raise _refused_parameter(twice[0], "must not come twice")


def check_parameters(scope: Scope, declared: Collection[str]) -> None:
    """Refuse a parameter that is not among the `declared` ones. Raises ClientException."""
    for name in _parameters(scope) if scope["query_string"] else ():
        if name not in declared:
            known = f"there are {', '.join(sorted(declared))}" if declared else "it has none"
            raise _refused_parameter(name, f"is unknown here: {known}")


def declared_parameters(handler: BaseRouteHandler) -> frozenset[str]:
    """Return the names of the query parameters that a handler reads."""
    kinds = {name: each.kwarg_definition for name, each in handler.parsed_fn_signature.parameters.items()}
    return frozenset(kind.name or name for name, kind in kinds.items() if isinstance(kind, QueryParameter))


def _parameters(scope: Scope) -> list[str]:
    return [name for name, _ in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)]


def _refused_parameter(name: str, rule: str) -> ClientException:
    shown = name[:_SHOWN_CHARS]
    return ClientException(f"the parameter {shown!a} {rule}", extra={"field": shown})


def check_media_type(scope: Scope) -> None:
    """Refuse the body of a form and a compressed one; no other type is looked at. Raises ClientException (415)."""
    headers = dict(scope["headers"])
    if headers.get(b"content-encoding", b"identity").strip().lower() not in _NOT_COMPRESSED:
        raise ClientException("send the body as it is, not compressed", status_code=415, headers=_SEND_PLAIN)
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if kind in _FORMS and headers.get(b"content-length") != b"0":
        raise ClientException("send application/json", status_code=415)


class StrictRequest(Request[Any, Any, Any]):
    """Decodes JSON bodies strictly: UTF-8, no NaN, no key twice in one object, no NUL in text, no 0 for false."""

    async def json(self) -> Any:  # noqa: ANN401
        """Return the decoded body, which has the form that its handler asks for. Raises ClientException (400)."""
        value = decode_strictly(await self.body())
        field = getattr(self.route_handler, "parsed_data_field", None)
        if field is not None:  # The framework, which converts it, takes 1 for true and "2" for 2.
            converted(value, field.annotation)
        return value


def _number(text: str) -> float:
    """Return what a JSON number with a point or an exponent says: `14.0` is an integer to JSON Schema."""
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < _SAFE else value


_SAFE = 2**53
_DECODER = msgspec.json.Decoder(float_hook=_number)


def decode_strictly(body: bytes) -> Any:  # noqa: ANN401
    """Decode a JSON body. Raises ClientException.

    A body that says the same when written again has no key twice; only another one is read the slow way.
    """
    try:
        value = _DECODER.decode(body or b"null")
        if msgspec.json.encode(value) != msgspec.json.format(body or b"null", indent=-1):
            json.loads(body or b"null", object_pairs_hook=_check_pairs)
    except ClientException:
        raise
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ClientException(f"the body is not JSON: {error}") from error
    if b"\\u0000" in body and _has_nul(value):
        raise ClientException("the body must not contain NUL")
    return value


def read_body(body: bytes, into: type[Body]) -> Body:
    """Decode a JSON body strictly into a type of ours. Raises ClientException."""
    return converted(decode_strictly(body), into)


def converted(value: object, into: type[Body]) -> Body:
    """Return decoded JSON as a type of ours. Raises ClientException."""
    try:
        return msgspec.convert(value, into)
    except msgspec.ValidationError as error:
        said, member = str(error), member_of(str(error))
        rule = rule_of(said, into)
        detail = said if rule == said or not member else f"{member}: {rule}"
        raise ClientException(detail, extra={"field": member}) from error


def _check_pairs(pairs: list[tuple[str, Any]]) -> None:
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ClientException(f"the body has the key {twice[:_SHOWN_CHARS]!r} twice in one object")


def _has_nul(value: object) -> bool:
    if isinstance(value, dict):
        return any(_has_nul(key) or _has_nul(each) for key, each in value.items())
    if isinstance(value, list):
        return any(map(_has_nul, value))
    return isinstance(value, str) and _NUL in value
