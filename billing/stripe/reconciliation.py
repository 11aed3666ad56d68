"""Reconciliation: what we think is at the provider against what is there, by kind of difference."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from billing.billing_provider import BillingProvider, RemoteEvent, RemoteInvoice, RemoteStatus
from billing.database import Database
from billing.repositories import stripe_events
from billing.repositories import stripe_mirror as mirror
from billing.repositories.stripe_mirror import Collecting
from billing.stripe import repairs
from billing.stripe.currencies import stripe_currency
from billing.stripe.operation_params import invoice_ref
from billing.stripe.status import UNSENT, CollectionStatus, merged
from billing.stripe.webhooks import is_of_interest
from billing.unit_of_work import UnitOfWork

STALE_AFTER = timedelta(hours=2)
"""A draft older than this should have been finalised, or removed."""
_CLOCK_SLACK = timedelta(minutes=10)
_DELIVERY = timedelta(minutes=10)
"""A younger event may still be on its way to us: that we have not heard of it is no gap yet."""


class Difference(StrEnum):
    """Kinds of difference."""

    MISSING = "missing"
    EXTRA = "extra"
    AMOUNT = "amount"
    STATUS = "status"
    STALE_DRAFT = "stale_draft"
    EVENT_GAP = "event_gap"


class Repair(StrEnum):
    """What puts a difference right; `person`: nothing automatic does."""

    CREATE = "create"
    REMOVE = "remove"
    REPLACE = "replace"
    READ = "read"
    VOID = "void"
    GO_ON = "go_on"
    FETCH = "fetch"
    PERSON = "person"


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference. `ours` and `theirs` say what differs, as text; what is not known of it is empty."""

    difference: Difference
    repair: Repair
    number: str = ""
    invoice_id: str = ""
    stripe_id: str = ""
    currency: str = ""
    ours: str = ""
    theirs: str = ""


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums in minor units of one currency, over the invoices that were compared."""

    ours: int
    theirs: int
    ours_paid: int
    theirs_paid: int


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The outcome: `compared` invoices, the differences, the sums by currency. `events` fill the gaps found."""

    since: datetime
    at: datetime
    compared: int
    findings: tuple[Finding, ...]
    totals: Mapping[str, Totals]
    events: tuple[RemoteEvent, ...] = field(default=(), repr=False)

    @property
    def is_clean(self) -> bool:
        """Whether everything agrees."""
        return not self.findings

    def counts(self) -> Counter[Difference]:
        """Return how many differences there are of each kind."""
        return Counter(finding.difference for finding in self.findings)


async def reconcile(
    database: Database, tenant: str, provider: BillingProvider, since: datetime, now: datetime
) -> Reconciliation:
    """Compare everything handed over, or created at the provider, since then."""
    theirs = [remote async for remote in provider.invoices_since(since - _CLOCK_SLACK)]
    events = [event async for event in provider.events_since(since) if is_of_interest(event)]
    return await asyncio.to_thread(_compare, database, tenant, theirs, events, since, now)


def queue_repairs(uow: UnitOfWork, found: Reconciliation, now: datetime) -> int:
    """Queue what puts the differences right; return how many of them are left to a person."""
    left = 0
    for finding in found.findings:
        match finding.repair:
            case Repair.CREATE:
                repairs.create_again(uow, finding.invoice_id, now)
            case Repair.REPLACE:
                repairs.remove_remote(uow, finding.stripe_id, now)
                repairs.create_again(uow, finding.invoice_id, now)
            case Repair.REMOVE | Repair.VOID:
                repairs.remove_remote(uow, finding.stripe_id, now)
            case Repair.READ:
                repairs.read_again(uow, finding.invoice_id, now)
            case Repair.GO_ON:
                repairs.go_on(uow, finding.invoice_id, now)
            case Repair.FETCH:
                continue
            case Repair.PERSON:
                left += 1
    for event in found.events:
        stripe_events.add(
            uow,
            event_id=event.id,
            type=event.type,
            body=event.body,
            source="reconciliation",
            created_at=event.created_at,
            now=now,
        )
    return left


def _compare(
    database: Database,
    tenant: str,
    theirs: list[RemoteInvoice],
    events: list[RemoteEvent],
    since: datetime,
    now: datetime,
) -> Reconciliation:
    by_ref: dict[str, list[RemoteInvoice]] = defaultdict(list)
    for remote in theirs:
        if remote.ref.startswith(f"{tenant}/"):
            by_ref[remote.ref].append(remote)
    with database.reading(tenant) as uow:
        rows = [row for row in mirror.invoices_since(uow, since - _CLOCK_SLACK) if row.collect_minor]
        findings = [finding for row in rows for finding in _of_invoice(uow, row, by_ref, now)]
        findings += _unknown(uow, by_ref)
        gaps = stripe_events.unknown(uow, [event.id for event in events if now - event.created_at >= _DELIVERY])
    missed = tuple(event for event in events if event.id in gaps)
    findings += [Finding(Difference.EVENT_GAP, Repair.FETCH, stripe_id=event.id, theirs=event.type) for event in missed]
    return Reconciliation(since, now, len(rows), tuple(findings), _totals(rows, theirs), missed)


def _of_invoice(
    uow: UnitOfWork, row: Collecting, by_ref: Mapping[str, list[RemoteInvoice]], now: datetime
) -> Iterable[Finding]:
    candidates = by_ref.get(invoice_ref(uow.tenant, row.invoice_id, row.incarnation), [])
    if repairs.is_at_work(uow, row.invoice_id) and not _is_stale(candidates, now):
        return
    mine = next((remote for remote in candidates if remote.id == row.stripe_id), None)
    for other in candidates:
        if other is not mine and other.status is not RemoteStatus.VOID:
            yield _extra(other, row)
    if mine is None:
        if row.status is not CollectionStatus.VOID:
            repair = Repair.PERSON if row.paid_minor else Repair.CREATE
            ids = (row.number, row.invoice_id, row.stripe_id or "", row.currency)
            yield Finding(Difference.MISSING, repair, *ids, row.status.value)
        return
    yield from _against(row, mine, now)


def _against(row: Collecting, mine: RemoteInvoice, now: datetime) -> Iterable[Finding]:
    money = stripe_currency(row.currency)
    (wanted,) = money.to_wire([row.collect_minor])
    ids = (row.number, row.invoice_id, mine.id, row.currency)
    if mine.status is RemoteStatus.DRAFT:
        if _is_stale([mine], now):
            yield Finding(Difference.STALE_DRAFT, Repair.GO_ON, *ids, row.status.value, mine.created_at.isoformat())
        elif row.status not in UNSENT:
            yield Finding(Difference.STATUS, Repair.PERSON, *ids, row.status.value, mine.status.value)
        return
    if mine.total != wanted and mine.status is not RemoteStatus.VOID:
        repair = Repair.PERSON if mine.amount_paid else Repair.REPLACE
        yield Finding(Difference.AMOUNT, repair, *ids, str(wanted), str(mine.total))
        return
    (paid,) = money.to_wire([row.paid_minor])
    if row.status.value != mine.status.value or paid != mine.amount_paid:
        ours, theirs = f"{row.status}, paid {paid}", f"{mine.status}, paid {mine.amount_paid}"
        yield Finding(Difference.STATUS, _catching_up(row, mine), *ids, ours, theirs)


def _catching_up(row: Collecting, mine: RemoteInvoice) -> Repair:
    """Read where the provider is ahead; where we are, only a void can be sent again without harm."""
    is_behind = merged(row.status, mine.status) is not row.status or mine.status.value == row.status.value
    if is_behind:
        return Repair.READ
    return Repair.VOID if row.status is CollectionStatus.VOID else Repair.PERSON


def _unknown(uow: UnitOfWork, by_ref: Mapping[str, list[RemoteInvoice]]) -> list[Finding]:
    """Return invoices that bear a reference of ours which none of our invoices goes by today.

    All we ever handed over is asked, not only what was handed over in the time looked at: an invoice may have waited
    longer than that for its turn. What was made anew by a repair left its earlier references behind.
    """
    ids = {ref.removeprefix(f"{uow.tenant}/") for ref in by_ref}
    rows = mirror.invoices_of(uow, ids | {each.rpartition("#")[0] for each in ids})
    known = {invoice_ref(uow.tenant, row.invoice_id, row.incarnation) for row in rows}
    return [
        _extra(remote)
        for ref, found in by_ref.items()
        if ref not in known
        for remote in found
        if remote.status is not RemoteStatus.VOID
    ]


def _extra(remote: RemoteInvoice, row: Collecting | None = None) -> Finding:
    repair = Repair.PERSON if remote.amount_paid or remote.status is RemoteStatus.PAID else Repair.REMOVE
    number, invoice_id = ("", "") if row is None else (row.number, row.invoice_id)
    theirs = f"{remote.status}, total {remote.total}"
    return Finding(Difference.EXTRA, repair, number, invoice_id, remote.id, remote.currency, "", theirs)


def _is_stale(candidates: Iterable[RemoteInvoice], now: datetime) -> bool:
    return any(remote.status is RemoteStatus.DRAFT and now - remote.created_at > STALE_AFTER for remote in candidates)


def _totals(rows: list[Collecting], theirs: list[RemoteInvoice]) -> dict[str, Totals]:
    """Sum what is not void on either side, over the invoices both know."""
    by_id = {remote.id: remote for remote in theirs}
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if row.status is CollectionStatus.VOID:
            continue
        total = sums[row.currency]
        total["ours"] += row.collect_minor
        total["ours_paid"] += row.paid_minor
        remote = by_id.get(row.stripe_id or "")
        if remote is not None and remote.status is not RemoteStatus.VOID:
            money = stripe_currency(row.currency)
            total["theirs"] += money.from_wire(remote.total)
            total["theirs_paid"] += money.from_wire(remote.amount_paid)
    return {
        code: Totals(total["ours"], total["theirs"], total["ours_paid"], total["theirs_paid"])
        for code, total in sorted(sums.items())
    }
