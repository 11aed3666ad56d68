"""CSV mappings: which column, constant or row number becomes which attribute of an event.

fields:
  source:  {file: stem}
  id:      {row: {}}                              # the row's number, from 0
  type:    {constant: llm.request}
  subject: {row: {modulo: 40}, prefix: customer-, pad: 2}
  time:    {column: TIMESTAMP, zone: UTC}         # the zone of times that carry no offset
data:
  tokens:  {column: Tokens}
  model:   {row: {divide: 40, modulo: 3}, lookup: [small, medium, large]}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from billing.metering.cloud_event import CloudEvent, event_of
from billing.metering.parsing import InvalidEvent
from models.column_types import utc_text
from models.values.errors import DomainError, InvalidValueError
from models.values.forms import build_form
from models.values.period import as_utc, parse_instant, parse_zone

_HAS_OFFSET = re.compile(r"([Zz]|[+-]\d\d:\d\d)$")

Row = Sequence[str]
Reader = Callable[[Row, int], str]
ToEvent = Callable[[Row, int, datetime], CloudEvent | InvalidEvent]


class RowNumber(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The row's number, divided, then the rest of another division: (number // divide) % modulo."""

    divide: int = 1
    modulo: int | None = None

    def __post_init__(self) -> None:
        if self.divide < 1 or (self.modulo is not None and self.modulo < 1):
            raise ValueError("divide and modulo must be at least 1")


class Expression(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a value comes from: exactly one of `constant`, `column`, `file` and `row`.

    `lookup` turns a row number into the entry at that place, `pad` fills it with zeros to a width; `prefix` goes in
    front of any text. `zone` is for times that carry no offset: one that the clocks skip is an hour later, one they
    show twice is the first.
    """

    constant: str | int | bool | None = None
    column: str | None = None
    file: Literal["name", "stem"] | None = None
    row: RowNumber | None = None
    lookup: tuple[str, ...] | None = None
    prefix: str = ""
    pad: int = 0
    zone: str | None = None

    def __post_init__(self) -> None:
        if sum(each is not None for each in (self.constant, self.column, self.file, self.row)) != 1:
            raise ValueError("needs exactly one of constant, column, file and row")
        if self.lookup is not None and (self.row is None or self.row.modulo != len(self.lookup)):
            raise ValueError("lookup needs a row whose modulo is the number of its entries")
        if self.pad and (self.row is None or self.lookup is not None):
            raise ValueError("pad is for row numbers")
        if self.zone is not None:
            parse_zone(self.zone, "zone")


class _Fields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: Expression
    source: Expression
    type: Expression
    subject: Expression
    time: Expression


class CsvMapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the rows of a CSV file become events."""

    fields: _Fields
    data: dict[str, Expression] = {}
    delimiter: str = ","

    def bind(self, header: Sequence[str], path: Path) -> ToEvent:
        """Return the function that makes an event of a row. Raises InvalidValueError for a column that is missing."""
        names = ("source", "id", "type", "subject", "time")
        source, event_id, event_type, subject, time = (
            _reader(getattr(self.fields, name), f"fields.{name}", header, path) for name in names
        )
        data = {name: _value_reader(expression, f"data.{name}", header, path) for name, expression in self.data.items()}
        zone = self.fields.time.zone

        def to_event(row: Row, number: int, now: datetime) -> CloudEvent | InvalidEvent:
            try:
                return event_of(
                    source=source(row, number),
                    event_id=event_id(row, number),
                    event_type=event_type(row, number),
                    customer=subject(row, number),
                    time=_with_offset(time(row, number), zone),
                    data={name: read(row, number) for name, read in data.items()},
                    now=now,
                )
            except DomainError as error:
                return InvalidEvent(
                    error.code, error.field, str(error), source(row, number)[:120], event_id(row, number)[:120]
                )

        return to_event


build_form(CsvMapping)


def parse_mapping(document: object, name: str) -> CsvMapping:
    """Read a mapping from its document. Raises InvalidValueError naming the place in it."""
    try:
        return msgspec.convert(document, CsvMapping)
    except msgspec.ValidationError as error:
        rule, _, place = str(error).partition(" - at `$")
        field = f"{name}: {place.strip('.`')}" if place else name
        raise InvalidValueError(rule, field=field, code="invalid_mapping") from error


def _value_reader(expression: Expression, field: str, header: Sequence[str], path: Path) -> Callable[[Row, int], Any]:
    if expression.constant is not None and not isinstance(expression.constant, str):
        constant = expression.constant
        return lambda _row, _number: constant
    return _reader(expression, field, header, path)


def _reader(expression: Expression, field: str, header: Sequence[str], path: Path) -> Reader:
    prefix = expression.prefix
    if expression.column is not None:
        index = _index(expression.column, field, header, path)
        return (lambda row, _number: prefix + row[index]) if prefix else (lambda row, _number: row[index])
    if expression.row is not None:
        return _row_reader(expression, expression.row)
    fixed = {"name": path.name, "stem": path.stem, None: str(expression.constant)}[expression.file]
    return lambda _row, _number: prefix + fixed


def _row_reader(expression: Expression, row: RowNumber) -> Reader:
    divide, modulo = row.divide, row.modulo
    prefix, pad, lookup = expression.prefix, expression.pad, expression.lookup

    def read(_row: Row, number: int) -> str:
        place = number // divide
        if modulo is not None:
            place %= modulo
        return prefix + (str(place).zfill(pad) if lookup is None else lookup[place])

    return read


def _index(column: str, field: str, header: Sequence[str], path: Path) -> int:
    if header.count(column) != 1:
        raise InvalidValueError(
            f"has no column of that name for {field}" if column not in header else f"has it twice, for {field}",
            field=f"{path}:1",
            value=column,
            code="missing_column",
        )
    return header.index(column)


def _with_offset(text: str, zone: str | None) -> str:
    if zone is None or _HAS_OFFSET.search(text):
        return text
    if zone == "UTC":
        return f"{text}Z"
    naive = parse_instant(f"{text}Z", "time").replace(tzinfo=None)
    return utc_text(as_utc(naive.replace(tzinfo=parse_zone(zone)), "time").astimezone(UTC))


def mapping_schema() -> Mapping[str, Any]:
    """Return the JSON Schema of a mapping document."""
    return msgspec.json.schema(CsvMapping)
