"""Reading events from JSON: strictly, one outcome an event, each refusal with a code of its own.

Codes: malformed_json, invalid_utf8, not_an_object, missing_field, unknown_field, wrong_type, duplicate_key,
number_out_of_range, data_too_deep and those of `cloud_event`; for a whole batch empty_batch, batch_too_large,
body_too_large, not_a_list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from billing.metering.cloud_event import CloudEvent, event_of
from models.values.errors import DomainError, InvalidValueError, LimitExceededError

MAX_BATCH_EVENTS = 10_000
MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_EVENT_BYTES = 128 * 1024

_QUOTES_A_PAIR = 4
_QUOTES_A_KEY = 2
_NESTED = (dict, list)


class InvalidEvent(msgspec.Struct, frozen=True, gc=False):
    """An event that was refused: what rule it broke where, and its key as far as it could be read."""

    code: str
    field: str
    message: str
    source: str = ""
    event_id: str = ""


class WireEvent(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """An event as it is sent: CloudEvents 1.0, its customer the `subject`. Numbers in `data` may be decimal strings.

    `correctsid` (with `correctssource` where that is another): the event it replaces, or `cancels`.
    """

    id: str
    source: str
    type: str
    subject: str
    time: str
    data: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    specversion: str | msgspec.UnsetType = msgspec.UNSET
    datacontenttype: str | msgspec.UnsetType = msgspec.UNSET
    correctsid: str | None = None
    correctssource: str | None = None
    cancels: bool = False


_WIRE = msgspec.json.Decoder(WireEvent)
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_LENIENT = json.JSONDecoder()
_GAP = re.compile(r"[ \t\n\r]*")
_FIELD = re.compile(r"Object (?P<what>missing required|contains unknown) field `(?P<field>.*)`", re.DOTALL)
_PLACE = re.compile(r" - at `\$\.?(?P<path>.*)`$", re.DOTALL)


def parse_event(raw: bytes | msgspec.Raw, now: datetime) -> CloudEvent:
    """Read one event. Raises InvalidValueError or LimitExceededError."""
    encoded = bytes(raw)
    if len(encoded) > MAX_EVENT_BYTES:
        raise LimitExceededError(
            f"at most {MAX_EVENT_BYTES} bytes", field="event", value=len(encoded), code="event_too_large"
        )
    try:
        wire = _WIRE.decode(encoded)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _as_domain_error(error) from error
    _check_constants(wire)
    _check_duplicate_keys(encoded, wire)
    return event_of(
        source=wire.source,
        event_id=wire.id,
        event_type=wire.type,
        customer=wire.subject,
        time=wire.time,
        data=wire.data or {},
        now=now,
        corrects=_corrected(wire),
        cancels=wire.cancels,
    )


def parse_batch(body: bytes, now: datetime) -> list[CloudEvent | InvalidEvent]:
    """Read a JSON array of events; one that breaks a rule does not fail the others.

    Raises InvalidValueError or LimitExceededError where the body as a whole cannot be taken apart.
    """
    if len(body) > MAX_BODY_BYTES:
        raise LimitExceededError(
            f"at most {MAX_BODY_BYTES} bytes", field="body", value=len(body), code="body_too_large"
        )
    items = _items(body)
    if not items:
        raise InvalidValueError("must hold at least one event", field="body", code="empty_batch")
    if len(items) > MAX_BATCH_EVENTS:
        raise LimitExceededError(
            f"at most {MAX_BATCH_EVENTS} events", field="body", value=len(items), code="batch_too_large"
        )
    return [parse_or_refuse(item, now) for item in items]


def _items(body: bytes) -> Sequence[bytes | msgspec.Raw]:
    try:
        return _ITEMS.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidValueError("must be a list of events", field="body", code="not_a_list") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        items = _taken_apart(body)
        if items is None:
            raise _as_domain_error(error) from error
        return items


def _taken_apart(body: bytes) -> list[bytes] | None:
    """Return the items of a list in which one is spoilt by its text (half a surrogate pair, NaN), to be refused alone.

    None for what is no list even to a lenient reader.
    """
    items: list[bytes] = []
    try:
        text = body.decode()
        at = _GAP.match(text).end()  # type: ignore[union-attr]
        mark, end = text[at], "["
        while mark == end:
            _, at = _LENIENT.raw_decode(text, start := _GAP.match(text, at + 1).end())  # type: ignore[union-attr]
            items.append(text[start:at].encode())
            at = _GAP.match(text, at).end()  # type: ignore[union-attr]
            mark, end = text[at], ","
        return items if text[at:].strip() == "]" else None
    except (ValueError, IndexError, RecursionError):
        return None


def parse_or_refuse(raw: bytes | msgspec.Raw, now: datetime) -> CloudEvent | InvalidEvent:
    """Read one event, or return how it was refused."""
    try:
        return parse_event(raw, now)
    except DomainError as error:
        source, event_id = _readable_key(raw)
        return InvalidEvent(error.code, error.field, str(error), source, event_id)


class _Key(msgspec.Struct):
    id: str = ""
    source: str = ""


_KEY = msgspec.json.Decoder(_Key)


def _readable_key(raw: bytes | msgspec.Raw) -> tuple[str, str]:
    try:
        key = _KEY.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "", ""
    return key.source[:120], key.id[:120]


def _check_constants(wire: WireEvent) -> None:
    if wire.specversion is not msgspec.UNSET and wire.specversion != "1.0":
        raise InvalidValueError("must be 1.0", field="specversion", value=wire.specversion, code="unknown_specversion")
    if wire.datacontenttype is not msgspec.UNSET and wire.datacontenttype != "application/json":
        raise InvalidValueError(
            "must be application/json", field="datacontenttype", value=wire.datacontenttype, code="unknown_content_type"
        )


def _corrected(wire: WireEvent) -> tuple[str, str] | None:
    if wire.correctsid is not None:
        return (wire.source if wire.correctssource is None else wire.correctssource), wire.correctsid
    if wire.correctssource is not None:
        raise InvalidValueError("is required beside correctssource", field="correctsid", code="missing_field")
    return None


def _check_duplicate_keys(raw: bytes, wire: WireEvent) -> None:
    """Refuse an object with one key twice, of which the decoder keeps the last.

    Such an object has more quotes than what was read from it; only then, or where a quote may be escaped, is it
    read again the slow way.
    """
    if b"\\" in raw or wire.correctsid is not None or raw.count(b'"') != _quotes(wire):
        try:
            json.loads(raw, object_pairs_hook=_unique)
        except RecursionError as error:
            raise _as_domain_error(error) from error


def _quotes(wire: WireEvent) -> int:
    pairs = 5 + (wire.specversion is not msgspec.UNSET) + (wire.datacontenttype is not msgspec.UNSET)
    count = pairs * _QUOTES_A_PAIR
    if wire.data is not msgspec.UNSET:
        count += _QUOTES_A_KEY + _QUOTES_A_KEY * len(wire.data)
        for value in wire.data.values():
            if isinstance(value, str):
                count += _QUOTES_A_KEY
            elif isinstance(value, _NESTED):
                return -1  # Not worth counting: the slow way decides.
    return count


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidValueError("stands twice in one object", field=twice, code="duplicate_key")
    return document


def _as_domain_error(error: Exception) -> DomainError:
    if isinstance(error, RecursionError):
        return LimitExceededError("is nested too deeply", field="data", code="data_too_deep")
    if isinstance(error, UnicodeDecodeError):
        return InvalidValueError("must be UTF-8", field="event", code="invalid_utf8")
    sentence = str(error)
    if not isinstance(error, msgspec.ValidationError):
        return InvalidValueError(sentence, field="event", code="malformed_json")
    named = _FIELD.match(sentence)
    if named:
        code, rule = (
            ("missing_field", "is required")
            if named["what"] == "missing required"
            else ("unknown_field", "is not an attribute of an event")
        )
        return InvalidValueError(rule, field=named["field"], code=code)
    place = _PLACE.search(sentence)
    field, rule = (place["path"], sentence[: place.start()]) if place else ("event", sentence)
    if rule == "Number out of range":
        return InvalidValueError("number out of range", field="data", code="number_out_of_range")
    if place is None:
        return InvalidValueError(rule, field=field, code="not_an_object")
    return InvalidValueError(rule, field=field, code="missing_field" if rule.endswith("got `null`") else "wrong_type")
