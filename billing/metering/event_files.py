"""Event files: JSON lines as they are, CSV by a mapping. A file is checked whole before any of it is used.

What breaks the form of the file (cut off, not JSON, a missing column, a row of another width) refuses the file and
names the line; an event that breaks a rule is one invalid event among the others.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO, Protocol

import msgspec

from billing.metering.cloud_event import CloudEvent
from billing.metering.csv_mapping import CsvMapping
from billing.metering.parsing import MAX_EVENT_BYTES, InvalidEvent, parse_or_refuse
from models.values.errors import InvalidValueError

_MAX_ROW_CHARS = 1024 * 1024


class FileRefusedError(InvalidValueError):
    """An event file whose form is broken; `field` is `file:line`. Nothing of it is used."""

    code = "file_refused"


Line = tuple[int, CloudEvent | InvalidEvent]
"""The number of the line in the file, from 1, and what stands there."""


class EventFile(Protocol):
    """A file of events."""

    path: Path

    def check(self) -> int:
        """Read the file once; return how many events it holds. Raises FileRefusedError."""

    def events(self, now: datetime) -> Iterator[Line]:
        """Yield its events in order."""


class JsonLinesFile:
    """One event a line, in CloudEvents JSON."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def check(self) -> int:
        """Read the file once; return how many events it holds. Raises FileRefusedError."""
        count = 0
        for number, line in self._lines():
            count += 1
            try:
                msgspec.json.decode(line)
            except msgspec.ValidationError:
                continue  # A number out of range: JSON, but an invalid event.
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                cut_off = not line.endswith(b"\n")
                raise FileRefusedError(
                    f"ends within an event ({error})" if cut_off else f"is not JSON ({error})",
                    field=f"{self.path}:{number}",
                    code="truncated_file" if cut_off else "malformed_json",
                ) from error
        return count

    def events(self, now: datetime) -> Iterator[Line]:
        """Yield its events in order."""
        for number, line in self._lines():
            yield number, parse_or_refuse(line, now)

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        with _opened(self.path) as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_EVENT_BYTES + 1), b""), start=1):
                if len(line) > MAX_EVENT_BYTES:
                    raise FileRefusedError(
                        f"a line holds at most {MAX_EVENT_BYTES} bytes",
                        field=f"{self.path}:{number}",
                        code="event_too_large",
                    )
                if line.strip():
                    yield number, line


class CsvFile:
    """One event a row, by a mapping from columns to the attributes of an event. The first row names the columns."""

    def __init__(self, path: Path, mapping: CsvMapping) -> None:
        self.path = path
        self._mapping = mapping

    def check(self) -> int:
        """Read the file once; return how many events it holds. Raises FileRefusedError."""
        with self._rows() as (header, rows):
            self._mapping.bind(header, self.path)
            return sum(1 for _ in rows)

    def events(self, now: datetime) -> Iterator[Line]:
        """Yield its events in order; rows are numbered from 0."""
        with self._rows() as (header, rows):
            to_event = self._mapping.bind(header, self.path)
            for number, (line, row) in enumerate(rows):
                yield line, to_event(row, number, now)

    @contextmanager
    def _rows(self) -> Iterator[tuple[list[str], Iterator[tuple[int, list[str]]]]]:
        with _opened(self.path) as raw:
            text = TextIOWrapper(raw, encoding="utf-8-sig", newline="")
            reader = csv.reader(text, delimiter=self._mapping.delimiter, strict=True)
            csv.field_size_limit(_MAX_ROW_CHARS)
            next_row = self._guarded(reader.__next__, lambda: reader.line_num)
            header = next_row()
            if header is None:
                raise FileRefusedError("has no header", field=f"{self.path}:1", code="missing_header")
            yield header, self._checked(header, next_row, lambda: reader.line_num)
            text.detach()

    def _checked(
        self, header: list[str], next_row: Callable[[], list[str] | None], line: Callable[[], int]
    ) -> Iterator[tuple[int, list[str]]]:
        while (row := next_row()) is not None:
            if not row:
                continue
            if len(row) != len(header):
                raise FileRefusedError(
                    f"has {len(row)} columns, the header {len(header)}",
                    field=f"{self.path}:{line()}",
                    code="wrong_column_count",
                )
            yield line(), row

    def _guarded(self, advance: Callable[[], list[str]], line: Callable[[], int]) -> Callable[[], list[str] | None]:
        def next_row() -> list[str] | None:
            try:
                return advance()
            except StopIteration:
                return None
            except csv.Error as error:
                code = "truncated_file" if "end of data" in str(error) else "malformed_csv"
                raise FileRefusedError(str(error), field=f"{self.path}:{line()}", code=code) from error
            except UnicodeDecodeError as error:
                raise FileRefusedError(
                    "must be UTF-8", field=f"{self.path}:{line() + 1}", code="invalid_utf8"
                ) from error

        return next_row


def open_event_file(path: Path, mapping: CsvMapping | None) -> EventFile:
    """Return the reader for a file, by its name. Raises FileRefusedError for an unknown kind or a missing mapping."""
    if path.suffix.lower() in {".jsonl", ".ndjson", ".json"}:
        return JsonLinesFile(path)
    if path.suffix.lower() not in {".csv", ".tsv"}:
        raise FileRefusedError(
            "must end in .jsonl, .ndjson, .json, .csv or .tsv", field=str(path), code="unknown_file_kind"
        )
    if mapping is None:
        raise FileRefusedError(
            "needs a mapping from its columns to events: --mapping FILE", field=str(path), code="missing_mapping"
        )
    return CsvFile(path, mapping)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise FileRefusedError(error.strerror or "cannot be read", field=str(path), code="unreadable_file") from error
    with file:
        yield file
