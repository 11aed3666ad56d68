"""A usage event in CloudEvents 1.0 shape: checked, with the canonical form by which resends are told apart."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import msgspec

from models.column_types import utc_text
from models.values.canonical_json import Json, canonical_bytes
from models.values.errors import DomainError, InvalidValueError, LimitExceededError
from models.values.ids import MAX_KEY_CHARS, check_external_id
from models.values.period import parse_instant

EventKey = tuple[str, str]
"""(source, id): with the tenant, what makes an event one event for ever."""

EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""An event cannot have happened before."""
MAX_AHEAD = timedelta(days=1)
"""How far the clock of a sender may run ahead of ours."""
MAX_DATA_DEPTH = 8
MAX_DATA_BYTES = 65_536

_DATE_CHARS = 10
_TIME_TEXT_CHARS = 27
_NESTED = (dict, list)
_ENCODER = msgspec.json.Encoder()


class CloudEvent(msgspec.Struct, frozen=True, gc=False):
    """One usage event. Made by `event_of`, which checks it.

    `customer` is the CloudEvents subject, `time_text` the instant as text of fixed width in UTC, `data_text` the
    canonical JSON of `data`, `body_hash` the SHA-256 of the event's canonical form.
    """

    source: str
    event_id: str
    event_type: str
    customer: str
    occurred_at: datetime
    time_text: str
    data: Mapping[str, Any]
    data_text: str
    body_hash: bytes
    corrects: EventKey | None = None
    cancels: bool = False

    @property
    def key(self) -> EventKey:
        """Source and id."""
        return self.source, self.event_id


class _Body(msgspec.Struct, gc=False):
    """The canonical form: fields in the order of their names, as RFC 8785 sorts them."""

    data: msgspec.Raw
    id: str
    source: str
    subject: str
    time: str
    type: str


class _CorrectingBody(msgspec.Struct, gc=False):
    """The canonical form of a correction or cancellation."""

    cancels: bool
    correctsid: str
    correctssource: str
    data: msgspec.Raw
    id: str
    source: str
    subject: str
    time: str
    type: str


def event_of(
    *,
    source: str,
    event_id: str,
    event_type: str,
    customer: str,
    time: str,
    data: Mapping[str, Any],
    now: datetime,
    corrects: EventKey | None = None,
    cancels: bool = False,
) -> CloudEvent:
    """Check an event's attributes and data and return it.

    `time` is an RFC 3339 time with an offset, from the year 2000 to a day after `now`. `data` is a JSON object whose
    numbers are integers or decimal strings. Raises InvalidValueError or LimitExceededError naming the attribute.
    """
    _check_text(source, "source")
    _check_text(event_id, "id")
    _check_text(event_type, "type")
    _check_text(customer, "subject")
    if corrects is not None or cancels:
        _check_correction(source, event_id, corrects, cancels, data)
    occurred_at = _instant(time, now)
    text = time if len(time) == _TIME_TEXT_CHARS and time[10] + time[26] == "TZ" else utc_text(occurred_at)
    encoded = _canonical_data(data)
    body = canonical_body(source, event_id, event_type, customer, text, encoded, corrects, cancels)
    return CloudEvent(
        source,
        event_id,
        event_type,
        customer,
        occurred_at,
        text,
        data,
        encoded.decode(),
        hashlib.sha256(body).digest(),
        corrects,
        cancels,
    )


def canonical_body(
    source: str,
    event_id: str,
    event_type: str,
    customer: str,
    time: str,
    data: bytes,
    corrects: EventKey | None = None,
    cancels: bool = False,  # noqa: FBT001, FBT002 - a field of the event
) -> bytes:
    """Return an event's canonical form from its columns: `time` of fixed width, `data` as canonical JSON."""
    raw = msgspec.Raw(data)
    if corrects is None:
        return _ENCODER.encode(_Body(raw, event_id, source, customer, time, event_type))
    return _ENCODER.encode(
        _CorrectingBody(cancels, corrects[1], corrects[0], raw, event_id, source, customer, time, event_type)
    )


def document_of(event: CloudEvent) -> dict[str, Any]:
    """Return the event as it is sent: CloudEvents 1.0 with our extension attributes for corrections."""
    document: dict[str, Any] = {
        "specversion": "1.0",
        "id": event.event_id,
        "source": event.source,
        "type": event.event_type,
        "subject": event.customer,
        "time": event.time_text,
    }
    if event.corrects is not None:
        document |= {"correctssource": event.corrects[0], "correctsid": event.corrects[1]}
    if event.cancels:
        return document | {"cancels": True}
    return document | {"data": dict(event.data)}


def _check_text(value: str, field: str) -> None:
    # Most ids are plain ASCII: the long way round costs thirty times as much.
    if not (value.isascii() and value.isprintable() and 0 < len(value) <= MAX_KEY_CHARS):
        check_external_id(value, field)


def _check_correction(
    source: str,
    event_id: str,
    corrects: EventKey | None,
    cancels: bool,  # noqa: FBT001 - a field of the event
    data: Mapping[str, Any],
) -> None:
    if corrects is None:
        raise InvalidValueError("a cancellation names the event it cancels", field="correctsid", code="missing_field")
    _check_text(corrects[0], "correctssource")
    _check_text(corrects[1], "correctsid")
    if corrects == (source, event_id):
        raise InvalidValueError(
            "an event cannot correct itself", field="correctsid", value=event_id, code="corrects_itself"
        )
    if cancels and data:
        raise InvalidValueError("a cancellation carries no data", field="data", code="cancellation_has_data")


def _instant(text: str, now: datetime) -> datetime:
    if len(text) <= _DATE_CHARS:
        raise InvalidValueError(
            "must be an RFC 3339 time with an offset", field="time", value=text, code="invalid_time"
        )
    if ":60" in text[_DATE_CHARS:]:
        raise InvalidValueError(
            "a leap second is sent as second 59 or as the next second 0", field="time", value=text, code="leap_second"
        )
    instant = parse_instant(text, "time")
    if instant < EARLIEST:
        raise InvalidValueError(
            f"must not lie before {EARLIEST:%Y-%m-%d}", field="time", value=text, code="time_too_early"
        )
    if instant > now + MAX_AHEAD:
        raise InvalidValueError(
            "must not lie more than a day in the future", field="time", value=text, code="time_in_future"
        )
    return instant


def _canonical_data(data: Mapping[str, Any]) -> bytes:
    for value in data.values():
        if isinstance(value, _NESTED):
            _check_depth(data)
            break
    try:
        encoded = canonical_bytes(cast("Json", data))
    except DomainError as error:
        raise _data_error(data, "data") or error from error
    if len(encoded) > MAX_DATA_BYTES:
        raise LimitExceededError(
            f"at most {MAX_DATA_BYTES} bytes", field="data", value=len(encoded), code="data_too_large"
        )
    return encoded


def _check_depth(data: Mapping[str, Any]) -> None:
    level: list[Any] = list(data.values())
    for _ in range(MAX_DATA_DEPTH):
        level = [
            inner
            for outer in level
            if isinstance(outer, _NESTED)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise LimitExceededError(f"at most {MAX_DATA_DEPTH} levels", field="data", code="data_too_deep")


def _data_error(value: object, path: str) -> InvalidValueError | None:
    """Find the first value that has no canonical form and name it as a sender would."""
    if isinstance(value, float):
        return InvalidValueError(
            "a float is not exact; send an integer or a decimal string", field=path, value=value, code="float_refused"
        )
    if isinstance(value, int):
        return (
            None
            if abs(value) < 2**53
            else InvalidValueError(
                "an integer beyond 2^53 - 1 is sent as a decimal string", field=path, value=value, code="unsafe_integer"
            )
        )
    children = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        found = _data_error(child, f"{path}.{name}")
        if found is not None:
            return found
    return None
