"""Sealing usage: what each close knew is written to Parquet files by bucket, for ever the same.

    seal_usage(database, "default", SealFolder(root, "default"), signer, period="2026-01")

A seal can be stopped anywhere, kill -9 included, and run again: the files come out the same, byte for byte. What is
sealed is left alone. Nothing is taken out of the database. One bucket is in memory at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Text, func, select, type_coerce

from billing.database import Database
from billing.metering.history import EVENT
from billing.repositories.closes import BillingMonth, CloseRepository
from billing.sealed_usage.folder import SealFolder
from billing.sealed_usage.manifest import Manifest, SealedFile, sealed_manifest
from billing.sealed_usage.sealed_events import EventRow, to_parquet
from billing.unit_of_work import UnitOfWork
from billing.whole_files import write_whole
from models.values.errors import ConflictError, RuleBrokenError
from pricing_engine.aggregation_frame import microseconds
from pricing_engine.sealing import Signer

_READ_AT_ONCE = 2_000
_ENCODE = msgspec.json.Encoder().encode_into
_DECODE = msgspec.json.Decoder(EventRow).decode_lines

Progress = Callable[[str, int, int], None]
"""Told what is going on: the seal, how many of its buckets are written, of how many."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A seal, and whether this call made it."""

    manifest: Manifest
    is_new: bool


def seal_usage(
    database: Database,
    tenant: str,
    folder: SealFolder,
    signer: Signer,
    *,
    period: str | None = None,
    public_keys: tuple[bytes, ...] = (),
    progress: Progress | None = None,
) -> list[Sealed]:
    """Seal a closed month, and before it every month that was closed earlier; by default all that are closed.

    `public_keys`: of the keys that signed earlier seals, besides the one that signs now. Raises RuleBrokenError for a
    month that is not closed, SealBrokenError where a manifest is not what was sealed, ConflictError where an event was
    recorded that should lie in an earlier seal and does not.
    """
    keys = (signer.public_pem, *public_keys)
    with folder.alone(), database.reading(tenant) as uow:
        months = _months(uow, period)
        chain = folder.chain(keys)
        known = {manifest.run: manifest for manifest in chain}
        sealed = [Sealed(known[month.run], is_new=False) for month in months if month.run in known]
        for month in months:
            if month.run not in known:
                chain.append(_seal(uow, month, chain, folder, signer, progress or _silent))
                sealed.append(Sealed(chain[-1], is_new=True))
    return sorted(sealed, key=lambda each: each.manifest.known_at)


def closed_month(uow: UnitOfWork, period: str | None) -> BillingMonth:
    """Return a closed month, by default the one closed last. Raises RuleBrokenError."""
    closed = sorted(_closed(uow), key=lambda month: month.known_at)
    found = [month for month in closed if period in {None, month.key}]
    if not found:
        raise RuleBrokenError("is not closed", field="period", value=period, code="period_not_closed")
    return found[-1]


def _closed(uow: UnitOfWork) -> list[BillingMonth]:
    return [month for month in CloseRepository(uow).all() if month.state == "closed"]


def _months(uow: UnitOfWork, period: str | None) -> list[BillingMonth]:
    """Return the months to be sealed in the order in which they were closed."""
    last = closed_month(uow, period)
    return sorted((each for each in _closed(uow) if each.known_at <= last.known_at), key=lambda each: each.known_at)


def _seal(
    uow: UnitOfWork, month: BillingMonth, chain: list[Manifest], folder: SealFolder, signer: Signer, tell: Progress
) -> Manifest:
    before = chain[-1] if chain else None
    if before is not None:
        _check_nothing_slipped_by(uow, chain)
    manifest = Manifest(
        tenant=uow.tenant,
        period=month.key,
        attempt=month.attempt,
        known_after=None if before is None else before.known_at,
        known_at=month.known_at,
        before="" if before is None else before.hash,
        files=(),
    )
    place = folder.begin(month.key, month.attempt)
    files = []
    with folder.stage() as stage:
        _spread(uow, manifest, stage)
        staged = sorted(stage.iterdir())
        for done, path in enumerate(staged, start=1):
            files.append(_write_bucket(uow.tenant, int(path.name), _DECODE(path.read_bytes()), place))
            tell(manifest.run, done, len(staged))
    manifest = replace(manifest, files=tuple(files))
    document = sealed_manifest(manifest, signer)
    folder.finish(manifest, document)
    return replace(manifest, hash=document["hash"])


def _write_bucket(tenant: str, bucket: int, rows: list[EventRow], place: Path) -> SealedFile:
    content = to_parquet(tenant, bucket, rows)
    name = f"{bucket:03d}.parquet"
    write_whole(place / name, [content])
    return SealedFile(bucket, name, len(rows), len(content), hashlib.sha256(content).hexdigest())


def _spread(uow: UnitOfWork, manifest: Manifest, stage: Path) -> None:
    """Write the events of a seal to one file a bucket, in one pass over the database."""
    line = bytearray()
    with ExitStack() as opened:
        files: dict[int, Any] = {}
        for bucket, row in _recorded(uow, manifest.known_after, manifest.known_at):
            if bucket not in files:
                files[bucket] = opened.enter_context((stage / f"{bucket:03d}").open("wb"))
            _ENCODE(row, line)
            line += b"\n"
            files[bucket].write(line)
            line.clear()


def _recorded(uow: UnitOfWork, after: datetime | None, until: datetime) -> Iterator[tuple[int, EventRow]]:
    query = select(
        EVENT.c.bucket,
        EVENT.c.customer,
        EVENT.c.event_type,
        EVENT.c.source,
        EVENT.c.event_id,
        EVENT.c.occurred_at,
        EVENT.c.recorded_at,
        type_coerce(EVENT.c.data, Text),
        EVENT.c.body_hash,
        EVENT.c.corrects_source,
        EVENT.c.corrects_id,
        EVENT.c.cancels,
    ).where(EVENT.c.tenant == uow.tenant, EVENT.c.recorded_at <= until)
    if after is not None:
        query = query.where(EVENT.c.recorded_at > after)
    for bucket, customer, kind, source, event_id, occurred, recorded, data, body_hash, *rest in uow.connection.execute(
        query.execution_options(yield_per=_READ_AT_ONCE)
    ):
        times = microseconds(occurred), microseconds(recorded)
        yield bucket, EventRow(customer, kind, source, event_id, *times, data, bytes(body_hash), *rest)


def _check_nothing_slipped_by(uow: UnitOfWork, chain: list[Manifest]) -> None:
    query = select(func.count()).where(EVENT.c.tenant == uow.tenant, EVENT.c.recorded_at <= chain[-1].known_at)
    recorded = uow.connection.execute(query).scalar_one()
    sealed = sum(manifest.events for manifest in chain)
    if recorded != sealed:
        raise ConflictError(
            f"seals up to {chain[-1].run} hold {sealed} events, the database {recorded}",
            field="sealed_usage",
            code="sealed_usage_differs",
        )


def _silent(seal: str, done: int, of: int) -> None:
    """Tell nobody."""
