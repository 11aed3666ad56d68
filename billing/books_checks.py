"""Checks of the books around the ledger: charges, invoices, what is open, what is deferred, and every event.

Each reads one snapshot and names the first row that differs; `billing.verification.verify` runs them after those of
`billing.ledger_checks`. The last one rates again everything that was ever closed, as it was known then: it takes as
long as closing all of it once more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal

from billing.charging import Run, charge_customers
from billing.chart_of_accounts import Account
from billing.metering.directory import PriceBookDirectory
from billing.metering.totals import count_events, stored_cells
from billing.months import day_after
from billing.recognition import deferred_at, recognised_through
from billing.repositories import accruals, books_audit, ledger_audit
from billing.repositories.closes import BillingMonth, CloseRepository
from billing.repositories.subscriptions import SubscriptionRepository
from billing.unit_of_work import UnitOfWork
from billing.verification import Check, Finding
from models.values.money import currency, from_minor
from models.values.quantity import EXACT, plain

_ZERO = Decimal(0)


def charges_are_accrued(uow: UnitOfWork) -> Iterator[Finding]:
    """Check that a charge is the sum of its rated usage, and that all charges are what was accrued and posted."""
    rated = books_audit.rated_sums(uow)
    exact: dict[books_audit.Stream, Decimal] = {}
    posted: dict[books_audit.Stream, int] = {}
    for charge in books_audit.charges(uow):
        if charge.exact != rated.pop(charge.id, _ZERO):
            yield Finding("charges", f"charge {charge.id}", "is not the sum of its rated usage")
        stream = (charge.customer, charge.currency)
        exact[stream] = EXACT.add(exact.get(stream, _ZERO), charge.exact)
        posted[stream] = posted.get(stream, 0) + charge.units
    for orphan in sorted(rated):
        yield Finding("charges", f"rated_usage {orphan}", "its charge is missing")
    carried = accruals.all_carried(uow)
    for stream in sorted(exact.keys() | carried.keys()):
        accrued = carried.get(stream)
        if accrued is None or (accrued.exact, accrued.posted) != (exact.get(stream), posted.get(stream)):
            yield Finding("charges", f"carried_amount {'/'.join(stream)}", "is not what its charges come to")


def invoices_are_their_charges(uow: UnitOfWork) -> Iterator[Finding]:
    """Check that an invoice is the sum of its charges and of its lines, and that each line is billed once."""
    taken: dict[str, Decimal] = {}
    for charge in books_audit.charges(uow):
        place = charge.invoice or ""
        taken[place] = EXACT.add(taken.get(place, _ZERO), charge.exact)
    lines = books_audit.line_sums(uow)
    for each in books_audit.invoices(uow):
        row = f"invoice {each.number or each.id}"
        if each.state != "void" and each.exact != taken.get(each.id, _ZERO):
            yield Finding("invoices", row, f"bills {plain(each.exact)}, its charges {plain(taken.get(each.id, _ZERO))}")
        if (each.exact, each.net_minor, each.tax_minor) != lines.get(each.id, (_ZERO, 0, 0)):
            yield Finding("invoices", row, "is not the sum of its lines")
    for charge_id, position, invoice in books_audit.billed_apart_from_charge(uow):
        yield Finding("invoices", f"rated_usage {charge_id}#{position}", f"is on no line of {invoice}")


def nothing_is_rounded_away(uow: UnitOfWork) -> Iterator[Finding]:
    """Check that what an invoice bills and takes in is what it asks for and carries on, to the last digit."""
    carried: dict[books_audit.Stream, Decimal] = {}
    for each in books_audit.invoices(uow):
        net = from_minor(each.net_minor, currency(each.currency))
        left = EXACT.subtract(EXACT.add(each.exact, each.carried_in), EXACT.add(net, each.carried_out))
        if left:
            yield Finding("remainders", f"invoice {each.number or each.id}", f"loses {plain(left)}")
        if each.is_live:
            stream = (each.customer, each.currency)
            change = EXACT.subtract(each.carried_out, each.carried_in)
            carried[stream] = EXACT.add(carried.get(stream, _ZERO), change)
    kept = books_audit.remainders(uow)
    for stream in sorted(carried.keys() | kept.keys()):
        if carried.get(stream, _ZERO) != kept.get(stream, _ZERO):
            yield Finding("remainders", f"carried_remainder {'/'.join(stream)}", "is not what its invoices left")


def invoices_are_posted(uow: UnitOfWork) -> Iterator[Finding]:
    """Check what is open, what is not invoiced and what is carried against the ledger's accounts."""
    settled = books_audit.settled_sums(uow)
    expected: dict[Account, int] = {}

    def add(code: str, asset: str, customer: str, units: int) -> None:
        account = Account(code, asset, customer)
        expected[account] = expected.get(account, 0) + units

    live: set[str] = set()
    for each in books_audit.invoices(uow):
        if each.settled_minor != settled.get(each.id, 0):
            yield Finding("receivables", f"invoice {each.number or each.id}", "its settlements sum to something else")
        if each.is_live:
            live.add(each.id)
            per_minor = currency(each.currency).units_per_minor
            add("receivable", each.currency, each.customer, (each.total_minor - each.settled_minor) * per_minor)
            add("remainder", each.currency, each.customer, -each.net_minor * per_minor)
    for charge in books_audit.charges(uow):
        code = "remainder" if charge.invoice in live else "unbilled"
        add(code, charge.currency, charge.customer, charge.units)
    yield from _compare(uow, "receivables", {"receivable", "remainder", "unbilled"}, expected)


def deferred_is_what_is_not_earned(uow: UnitOfWork) -> Iterator[Finding]:
    """Check deferred revenue against what of all that was billed ahead is for service after the last close."""
    through = recognised_through(uow, SubscriptionRepository(uow).customers())
    expected = {account: -units for account, units in deferred_at(uow, through).items()}
    yield from _compare(uow, "deferred", {"deferred_revenue"}, expected)


def events_have_a_reason(uow: UnitOfWork) -> Iterator[Finding]:
    """Check that an event that cannot be billed stands among the unmatched, and that one that came late is marked."""
    for source, event_id, customer in books_audit.events_of_nobody(uow):
        yield Finding("events", f"event {source} {event_id}", f"is of nobody known, {customer}, and not listed")
    for source, event_id, corrected in books_audit.corrections_of_nothing(uow):
        yield Finding("events", f"event {source} {event_id}", f"corrects {corrected}, which is not there; not listed")
    read = set(PriceBookDirectory().counters(uow))
    for source, event_id, event_type in books_audit.event_types_unread(uow, read):
        yield Finding("events", f"event {source} {event_id}", f"is of a type no meter reads, {event_type}; not listed")
    for source, event_id, run in books_audit.late_unmarked(uow):
        yield Finding("events", f"event {source} {event_id}", f"came after {run} had billed its time; not marked late")


def totals_are_counted(uow: UnitOfWork) -> Iterator[Finding]:
    """Check the totals that live usage is read from against a full recount of the events."""
    counters = [counter for of_type in PriceBookDirectory().counters(uow).values() for counter in of_type]
    stored = stored_cells(uow)
    known = {counter for _, counter, _, _ in stored}
    counted = count_events(uow, [each for each in counters if each.id in known]).cells
    for key in sorted(stored.keys() | counted.keys()):
        if stored.get(key) != counted.get(key):
            yield Finding("totals", f"usage_total {' '.join(key)}", "is not what its events come to")


def closed_usage_is_billed(uow: UnitOfWork) -> Iterator[Finding]:
    """Rate every closed period again, as it was known at the last close: nothing is left to be charged.

    While a close is under way it is not looked at: what it has not reached yet is not billed. Nor is one that was given
    up, until the month is closed.
    """
    months = CloseRepository(uow).all()
    if not months or not CloseRepository(uow).was_finished(months[-1].key):
        return
    run = _run_again(months[-1])
    begun_at = CloseRepository(uow).begun_at(months[-1].key)
    subscriptions = SubscriptionRepository(uow)
    for customer in subscriptions.customers():
        as_known = {}
        for each in subscriptions.of_customers([customer]):
            phases = tuple(phase for phase in each.phases if phase.recorded_at <= begun_at)
            as_known[each.id] = replace(each, phases=phases)
        for draft in charge_customers(uow, [customer], run, instead=as_known).drafts:
            for row in draft.rows:
                feature = f"{row.subscription} {row.feature} from {row.segment_start.isoformat()}"
                what = "is not billed" if row.amount >= 0 else "is billed beyond what is due"
                yield Finding("usage", f"customer {customer}", f"{feature}: {plain(abs(row.amount))} {what}")


def _run_again(month: BillingMonth) -> Run:
    return Run(
        key="verify",
        kind="close",
        period=month.key,
        until=day_after(month.key),
        since=None,
        known_at=month.known_at,
        known_before=None,
        effective_at=month.known_at,
    )


def _compare(uow: UnitOfWork, check: str, codes: set[str], expected: Mapping[Account, int]) -> Iterator[Finding]:
    names = ledger_audit.accounts(uow)
    balances = ledger_audit.stored_balances(uow).items()
    stored = {names[number]: balance for number, (balance, _) in balances if names[number].code in codes}
    for account in sorted(expected.keys() | stored.keys()):
        stands, due = stored.get(account, 0), expected.get(account, 0)
        if stands != due:
            yield Finding(check, f"account {'/'.join(account)}", f"stands at {stands}, should at {due}")


BOOKS_CHECKS: tuple[Check, ...] = (
    charges_are_accrued,
    invoices_are_their_charges,
    nothing_is_rounded_away,
    invoices_are_posted,
    deferred_is_what_is_not_earned,
    events_have_a_reason,
    totals_are_counted,
    closed_usage_is_billed,
)
"""The checks of this part, in order."""
