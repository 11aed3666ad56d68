"""A bucket's events as they are sealed: rows of the database to a Parquet file and back, and which of them count."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import polars as pl

from billing.metering.history import StoredEvent
from billing.unit_of_work import UnitOfWork
from models.values.errors import InvalidValueError
from models.values.period import Period
from pricing_engine.aggregation_frame import microseconds
from pricing_engine.rerating import event_key

ORDER = ("customer", "event_type", "key_high", "key_low")
"""A repeated event would follow the first one. See `pricing_engine.rerating`, whose order this is in one bucket."""

_SCHEMA = {
    "bucket": pl.UInt8,
    "customer": pl.String,
    "event_type": pl.String,
    "key_high": pl.UInt64,
    "key_low": pl.UInt64,
    "source": pl.String,
    "event_id": pl.String,
    "occurred_at": pl.Int64,
    "recorded_at": pl.Int64,
    "data": pl.String,
    "body_hash": pl.Binary,
    "corrects_source": pl.String,
    "corrects_id": pl.String,
    "cancels": pl.Boolean,
}
_SAME = ["customer", "event_type"]
_ROW_GROUP = 65_536
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class EventRow(msgspec.Struct, array_like=True, gc=False):
    """One row of `usage_event`, on its way from the database to its bucket's file; times in microseconds."""

    customer: str
    event_type: str
    source: str
    event_id: str
    occurred_at: int
    recorded_at: int
    data: str
    body_hash: bytes
    corrects_source: str | None
    corrects_id: str | None
    cancels: bool


def to_parquet(tenant: str, bucket: int, rows: Sequence[EventRow]) -> bytes:
    """Return the file of a bucket. The same rows, in whatever order, give the same bytes."""
    keys = [event_key(tenant, row.source, row.event_id) for row in rows]
    columns = {name: [getattr(row, name) for row in rows] for name in EventRow.__struct_fields__}
    columns |= {"bucket": [bucket] * len(rows), "key_high": [high for high, _ in keys]}
    columns |= {"key_low": [low for _, low in keys]}
    frame = pl.DataFrame({name: pl.Series(columns[name], dtype=dtype) for name, dtype in _SCHEMA.items()}).sort(ORDER)
    file = io.BytesIO()
    frame.write_parquet(file, compression="zstd", compression_level=1, row_group_size=_ROW_GROUP)
    return file.getvalue()


class SealedEvents:
    """The events of one bucket that count, as known at an instant; in place of `history.effective_events`."""

    def __init__(self, files: Iterable[bytes], known_at: datetime) -> None:
        frames = [pl.read_parquet(io.BytesIO(file), columns=[*_SCHEMA]) for file in files]
        events = pl.concat(frames) if frames else pl.DataFrame(schema=_SCHEMA)
        self._known_at = known_at
        self.count = events.height
        self._events = _effective(events).partition_by(_SAME, as_dict=True)

    def effective(
        self, _uow: UnitOfWork, *, customer: str, event_type: str, period: Period, known_at: datetime
    ) -> Iterator[StoredEvent]:
        """Yield the events that count, of one customer, type and period."""
        if known_at != self._known_at:
            raise InvalidValueError("is not what was sealed", field="known_at", value=known_at.isoformat())
        found = self._events.get((customer, event_type))
        if found is None:
            return
        inside = pl.col("occurred_at").is_between(microseconds(period.start), microseconds(period.end), closed="left")
        wanted = found.filter(inside).select("source", "event_id", "occurred_at", "recorded_at", "data")
        for source, event_id, occurred_at, recorded_at, data in wanted.iter_rows():
            yield StoredEvent(
                source, event_id, event_type, customer, _instant(occurred_at), _instant(recorded_at), data
            )


def _effective(events: pl.DataFrame) -> pl.DataFrame:
    """Keep what counts, by the rule of `history`: neither corrected nor cancelled, nor correcting what is not there."""
    correcting = events.filter(pl.col("corrects_id").is_not_null())
    if correcting.is_empty():
        return events
    target, correction = [*_SAME, "source", "event_id"], [*_SAME, "corrects_source", "corrects_id"]
    left = events.filter(~pl.col("cancels")).join(correcting, left_on=target, right_on=correction, how="anti")
    first = left.filter(pl.col("corrects_id").is_null())
    corrected = left.filter(pl.col("corrects_id").is_not_null())
    return pl.concat([first, corrected.join(events, left_on=correction, right_on=target, how="semi")])


def _instant(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)
