"""Credit notes: what is wrong with a finalised invoice is taken back by a document of its own, never by an edit.

A line can be credited up to its net, less what coupons, corrections and earlier notes took off it; what coupons gave
back cannot. Its tax follows
cumulatively, so that notes over the whole of a line take back exactly the tax it bore, however they are cut. A tax that
is an amount is never divided: it goes back whole, with the note that takes the last of its line or of the invoice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction

from billing import ledger
from billing.carrying import Parts
from billing.chart_of_accounts import Account
from billing.coupon_discounts import Turn, turn_of
from billing.invoices import Invoice, InvoiceLine, InvoiceState
from billing.posting_rules import CreditNote as CreditNoteFact
from billing.posting_rules import journal
from billing.rated_usage import Group, Kind, group_of
from billing.recognition import deferred_at, recognised_through
from billing.repositories import journals
from billing.repositories.charges import ChargeRepository
from billing.repositories.credit_notes import CreditedLine, CreditNote, CreditNoteRepository
from billing.repositories.customers import CustomerRepository
from billing.repositories.documents import DocumentRepository
from billing.repositories.invoices import InvoiceRepository
from billing.repositories.settlements import Settlement, SettlementRepository
from billing.unit_of_work import UnitOfWork
from billing.webhooks.announcements import credit_note_issued, invoice_events
from billing.webhooks.events import announce
from models.values.errors import ConflictError, InvalidValueError, NotFoundError, RuleBrokenError
from models.values.ids import check_reason
from models.values.money import allocate, currency, round_fraction, round_to_minor, shown_minor

_CREDITABLE = {InvoiceState.FINALISED, InvoiceState.PAID}
_ID_CHARS = 26


@dataclass(frozen=True, slots=True)
class CreditRequest:
    """What to credit: net minor units by line number; empty: all that is creditable. `key`: unique for ever."""

    key: str
    invoice: str
    reason: str
    issued_on: date
    net_by_line: Mapping[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Billed:
    """What stands of what an invoice bills, later corrections and all notes counted, in net minor units.

    `groups`: feature and billing period by line; `left`: what stands of each; `turns`: of each billing period.
    """

    groups: Mapping[int, Group]
    left: Mapping[Group, int]
    turns: Mapping[Turn, int]


NOTHING_CORRECTED = Billed({}, {}, {})


def billed_in_all(uow: UnitOfWork, invoice: Invoice) -> Billed:
    """Look up all that was billed for the billing periods of an invoice, on whatever invoice, or none so far."""
    charges = ChargeRepository(uow)
    own = {(charge, position): row for charge, position, row in charges.rows(_charges(invoice))}
    groups = {
        line.line: group_of(own[source])
        for line in invoice.lines
        for source in line.sources
        if own[source].subscription is not None
    }
    if not groups:
        return NOTHING_CORRECTED
    subscriptions = {subscription for subscription, _, _ in groups.values() if subscription is not None}
    rows = charges.of_turns(subscriptions, min(cycle.start for _, _, cycle in groups.values()))
    ids = {charge for charge, _, _ in rows}
    nets, credited = charges.nets(ids), CreditNoteRepository(uow).of_charges(ids)
    left: dict[Group, int] = {}
    turns: dict[Turn, int] = {}
    for charge, position, row in rows:
        source = charge, position
        net = nets[source] if source in nets else round_to_minor(row.amount, currency(invoice.currency))
        net -= credited[source].minor if source in credited else 0
        left[group_of(row)] = left.get(group_of(row), 0) + net
        turns[turn_of(row)] = turns.get(turn_of(row), 0) + net
    return Billed(groups, left, turns)


def creditable(
    invoice: Invoice, notes: Sequence[CreditNote], billed: Billed = NOTHING_CORRECTED
) -> tuple[dict[int, int], int]:
    """Return how much net can still be credited, by line and in all, in minor units."""
    left = {
        line.line: 0 if line.kind is Kind.COUPON else max(line.net_minor - _by_coupons(invoice, line), 0)
        for line in invoice.lines
    }
    for note in notes:
        for credited in note.lines:
            left[credited.line] -= credited.net_minor
    in_turns: dict[Turn | None, int] = {}
    for number in left:
        group = billed.groups.get(number)
        left[number] = max(left[number] if group is None else min(left[number], billed.left[group]), 0)
        turn = None if group is None else (group[0], group[2])
        in_turns[turn] = in_turns.get(turn, 0) + left[number]
    in_all = sum(each if turn is None else min(each, billed.turns[turn]) for turn, each in in_turns.items())
    return left, max(min(in_all, invoice.net_minor - sum(note.net_minor for note in notes)), 0)


def plan_credit(
    invoice: Invoice,
    notes: Sequence[CreditNote],
    net_by_line: Mapping[int, int] | None,
    billed: Billed = NOTHING_CORRECTED,
) -> list[CreditedLine]:
    """Return the lines of the next note over an invoice. Pure.

    Negative lines (corrections, coupons) lower what may be credited in all. Raises RuleBrokenError beyond that.
    """
    left, in_all = creditable(invoice, notes, billed)
    wanted = dict(net_by_line) if net_by_line is not None else _all_that_is_left(left, in_all)
    lines = {line.line: line for line in invoice.lines}
    _check_creditable(invoice.currency, wanted, left, in_all)
    takes_the_last = sum(wanted.values()) == in_all
    credited = []
    for number, line in sorted(lines.items()):
        net = wanted.get(number, 0)
        ends = takes_the_last or 0 < net == left[number]
        tax = _tax_amount_of(line, notes, ends=ends) if line.has_tax_amount else _tax_of(line, net, notes)
        if net or tax:
            credited.append(CreditedLine(number, net, tax))
    return credited


def issue_credit_note(uow: UnitOfWork, request: CreditRequest, recorded_at: datetime) -> CreditNote:
    """Issue a credit note: numbered, posted; it settles what is open and leaves the rest as the customer's credit.

    The same key again is answered with the note that is there. Raises RuleBrokenError for an invoice that is not
    finalised or a credit beyond what is creditable, ConflictError for a key used for another invoice,
    InvalidValueError without a reason, and for a date before the invoice's or in the future.
    """
    check_reason(request.reason)
    journals.lock(uow)
    repository = CreditNoteRepository(uow)
    known = repository.with_key(request.key)
    invoices = InvoiceRepository(uow)
    invoice = invoices.get(request.invoice)
    if known is not None:
        if known.invoice != invoice.id:
            raise ConflictError("credits another invoice", field="key", value=request.key, code="credit_key_reused")
        return known
    if invoice.state not in _CREDITABLE:
        raise RuleBrokenError(
            "only a finalised invoice is credited", field="invoice", value=invoice.state.value, code="not_creditable"
        )
    _check_date(invoice, request, recorded_at)
    notes = repository.of_invoice(invoice.id)
    billed = billed_in_all(uow, invoice)
    lines = plan_credit(invoice, notes, request.net_by_line, billed)
    if not lines and request.net_by_line is not None and creditable(invoice, notes, billed)[1]:
        raise InvalidValueError("must be more than nothing", field="lines", code="below_minimum")
    if not lines:
        raise RuleBrokenError("nothing is left to credit", field="invoice", value=invoice.number, code="not_creditable")
    note = _numbered(uow, invoice, request, lines)
    repository.add(note, recorded_at)
    settled = min(note.total_minor, max(invoice.open_minor, 0))
    if settled:
        settlement = Settlement(
            invoice.id, f"credit_note:{note.id}", "credit_note", settled, _instant(note), note.number
        )
        SettlementRepository(uow).add([settlement], recorded_at)
        now_settled = invoice.settled_minor + settled
        state = InvoiceState.PAID if now_settled == invoice.total_minor else invoice.state
        invoices.move(invoice.id, state, now_settled)
    DocumentRepository(uow).log("credit_note", [(note.id, note.period)])
    fact = _fact(invoice, note, settled, _unearned(uow, invoice, note))
    ledger.post(uow, [journal(f"credit_note:{note.id}", _instant(note), fact)], recorded_at=recorded_at)
    settled_by = invoice_events(invoices.get(invoice.id), before=invoice.state, by=f"credit_note:{note.id}")
    announce(uow, [credit_note_issued(note), *settled_by], recorded_at)
    return note


def _check_date(invoice: Invoice, request: CreditRequest, recorded_at: datetime) -> None:
    """Refuse a date before the invoice's, and one that no zone has reached."""
    latest = (recorded_at + timedelta(days=1)).date()
    if not invoice.issued_on <= request.issued_on <= latest:
        raise InvalidValueError(
            f"must be from {invoice.issued_on}, when the invoice was issued, to {latest}",
            field="issued_on",
            value=request.issued_on,
            code="invalid_issued_on",
        )


def _check_creditable(asset: str, wanted: Mapping[int, int], left: Mapping[int, int], in_all: int) -> None:
    """Refuse what is no line, below zero, or more than is `left` of a line or in all."""
    for number, net in wanted.items():
        field, shown = f"lines.{number}", shown_minor(net, asset)
        if number not in left:
            raise NotFoundError("the invoice has no such line", field=field, code="unknown_invoice_line")
        if net < 0:
            raise InvalidValueError("must be >= 0", field=field, value=shown)
        if net > left[number]:
            most = shown_minor(left[number], asset)
            raise RuleBrokenError(f"at most {most} is creditable", field=field, value=shown, code="not_creditable")
    if sum(wanted.values()) > in_all:
        raise RuleBrokenError(
            f"at most {shown_minor(in_all, asset)} of the invoice is creditable",
            field="lines",
            value=shown_minor(sum(wanted.values()), asset),
            code="not_creditable",
        )


def _charges(invoice: Invoice) -> set[str]:
    return {charge for line in invoice.lines for charge, _ in line.sources}


def _by_coupons(invoice: Invoice, line: InvoiceLine) -> int:
    """Return what coupons took off a line, on lines of their own beside it."""
    beside = [each for each in invoice.lines if each.kind is Kind.COUPON and _place(each) == _place(line)]
    return -sum(each.net_minor for each in beside if each.net_minor < 0 < line.net_minor)


def _place(line: InvoiceLine) -> tuple[object, ...]:
    return line.subscription, line.feature, line.service, {charge for charge, _ in line.sources}


def _all_that_is_left(left: Mapping[int, int], in_all: int) -> dict[int, int]:
    """Credit every line for what is left of it; where negative lines are, in proportion."""
    if sum(left.values()) <= in_all:
        return dict(left)
    numbers = list(left)
    return dict(zip(numbers, allocate(in_all, [left[number] for number in numbers]), strict=True))


def _tax_of(line: InvoiceLine, net: int, notes: Sequence[CreditNote]) -> int:
    """Return the tax that goes back with `net` of a line: cumulative tax less what earlier notes took back."""
    earlier = [credited for note in notes for credited in note.lines if credited.line == line.line]
    reached = sum(credited.net_minor for credited in earlier) + net
    if not line.net_minor:
        return 0
    due = round_fraction(Fraction(line.tax_minor * reached, line.net_minor))
    return due - sum(credited.tax_minor for credited in earlier)


def _tax_amount_of(line: InvoiceLine, notes: Sequence[CreditNote], *, ends: bool) -> int:
    """Return a tax that is an amount where a note `ends` what it was charged on, unless an earlier note did."""
    is_back = any(credited.tax_minor for note in notes for credited in note.lines if credited.line == line.line)
    return max(line.tax_minor, 0) if ends and not is_back else 0


def _numbered(uow: UnitOfWork, invoice: Invoice, request: CreditRequest, lines: Sequence[CreditedLine]) -> CreditNote:
    number = DocumentRepository(uow).next_numbers(invoice.legal_entity, "credit_note", request.issued_on.year, 1)[0]
    prefix = CustomerRepository(uow).legal_entity(invoice.legal_entity).number_prefix
    net, tax = sum(line.net_minor for line in lines), sum(line.tax_minor for line in lines)
    digest = hashlib.sha256(f"{uow.tenant}\x00{request.key}".encode()).hexdigest()
    return CreditNote(
        id=f"cn_{digest[:_ID_CHARS]}",
        key=request.key,
        number=f"{prefix}-C-{request.issued_on.year}-{number:06d}",
        invoice=invoice.id,
        legal_entity=invoice.legal_entity,
        customer=invoice.customer,
        currency=invoice.currency,
        period=f"{request.issued_on.year:04d}-{request.issued_on.month:02d}",
        issued_on=request.issued_on,
        reason=request.reason,
        net_minor=net,
        tax_minor=tax,
        total_minor=net + tax,
        lines=tuple(lines),
    )


def _unearned(uow: UnitOfWork, invoice: Invoice, note: CreditNote) -> Parts:
    """Return by feature what a note takes off what is deferred: what it stands at less what is left with the note."""
    by_line = {line.line: line for line in invoice.lines}
    credited = [by_line[each.line] for each in note.lines]
    places = {
        Account("deferred_revenue", note.currency, note.customer, line.feature) for line in credited if line.in_advance
    }
    if not places:
        return ()
    left = deferred_at(uow, recognised_through(uow, [note.customer]))
    stands = journals.account_states(uow, sorted(places))
    return tuple((account.detail, -state.balance - left.get(account, 0)) for account, state in stands.items())


def _fact(invoice: Invoice, note: CreditNote, settled_minor: int, unearned: Parts) -> CreditNoteFact:
    per_minor = currency(note.currency).units_per_minor
    by_line = {line.line: line for line in invoice.lines}
    earned: Parts = (
        *((by_line[each.line].feature, each.net_minor * per_minor) for each in note.lines),
        *((feature, -units) for feature, units in unearned),
    )
    taxes: Parts = tuple(
        (by_line[each.line].tax_code, each.tax_minor * per_minor) for each in note.lines if each.tax_minor
    )
    return CreditNoteFact(note.customer, note.currency, earned, unearned, taxes, settled_minor * per_minor)


def _instant(note: CreditNote) -> datetime:
    return datetime.combine(note.issued_on, time.min, tzinfo=UTC)
