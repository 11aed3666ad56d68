"""Partner shares: what a partner earns of the features it supplies, from each invoice, credit note and void.

It follows the log of documents. Each is posted once, under a key of its own, however often the log is followed. A
share is due when the invoice is issued; we are the principal: we sell, and owe the partner.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from fractions import Fraction

from billing import ledger
from billing.invoices import Invoice, InvoiceLine
from billing.journals import JournalDraft
from billing.posting_rules import Fact, PartnerShareAsPrincipal, journal
from billing.repositories.charges import ChargeRepository
from billing.repositories.credit_notes import CreditedLine, CreditNote, CreditNoteRepository
from billing.repositories.documents import DocumentRepository, Logged
from billing.repositories.invoices import InvoiceRepository
from billing.repositories.price_books import PriceBookRepository
from billing.unit_of_work import UnitOfWork
from models.values.money import currency, round_fraction
from pricing_engine.catalog import PartnerShare

Units = Mapping[tuple[str, int], Decimal]
"""By charge and position what of the quantity of rated usage is billed."""
Shares = Mapping[tuple[str | None, str], PartnerShare]
"""By hash of the price book and key of the feature."""

_HUNDRED = 100
_AT_ONCE = 500


def accrue_shares(uow: UnitOfWork, recorded_at: datetime) -> int:
    """Post the shares of all documents that have none posted yet; return how many journals that made."""
    shares = _agreed(uow)
    if not shares:
        return 0
    made = cursor = 0
    documents = DocumentRepository(uow)
    while logged := documents.logged(since=cursor, limit=_AT_ONCE):
        made += _accrue(uow, logged, shares, recorded_at)
        cursor = logged[-1].cursor
    return made


def share_units(line: InvoiceLine, share: PartnerShare, code: str, billed_units: Decimal) -> int:
    """Return a partner's share of a line in ledger units: of its rounded net, or an amount for each unit billed."""
    money = currency(code)
    if share.percent is not None:
        return round_fraction(Fraction(share.percent) / _HUNDRED * line.net_minor * money.units_per_minor)
    per_unit = Fraction(share.per_unit or 0) * 10**money.exponent * money.units_per_minor
    return round_fraction(per_unit * Fraction(billed_units))


def share_taken_back(units: int, line: InvoiceLine, credited: CreditedLine, earlier: Iterable[CreditedLine]) -> int:
    """Return what a credited line takes back of a share, so that crediting a whole line takes back all of it."""
    before = sum(each.net_minor for each in earlier if each.line == line.line)
    if not line.net_minor:
        return 0
    reached, had = (Fraction(units * net, line.net_minor) for net in (before + credited.net_minor, before))
    return round_fraction(reached) - round_fraction(had)


def _agreed(uow: UnitOfWork) -> Shares:
    """Return the shares of every price book that was ever published: subscriptions keep theirs."""
    books = PriceBookRepository(uow)
    return {
        (release.content_hash, feature.key): feature.partner
        for release in books.releases()
        for feature in books.get(release.content_hash).book.features
        if feature.partner is not None
    }


def _accrue(uow: UnitOfWork, logged: Sequence[Logged], shares: Shares, recorded_at: datetime) -> int:
    notes = CreditNoteRepository(uow).many([each.document for each in logged if each.kind == "credit_note"])
    named = [note.invoice for note in notes] + [each.document for each in logged if each.kind == "invoice"]
    invoices = {invoice.id: invoice for invoice in InvoiceRepository(uow).many(named)}
    charges = {charge for invoice in invoices.values() for line in invoice.lines for charge, _ in line.sources}
    rows = ChargeRepository(uow).rows(charges)
    units = {(charge, position): row.prorated_units for charge, position, row in rows}
    drafts = [_of_invoice(invoices[each.document], shares, units) for each in logged if each.kind == "invoice"]
    for note in notes:
        earlier = [each for each in CreditNoteRepository(uow).of_invoice(note.invoice) if each.number < note.number]
        drafts.append(_of_note(note, earlier, invoices[note.invoice], shares, units))
    shared = [draft for draft in drafts if draft is not None and draft.legs]
    posted = ledger.post(uow, shared, recorded_at=recorded_at)
    made = sum(each.is_new for each in posted)
    for each in logged:
        if each.kind == "void" and ledger.find(uow, _key(each.document)) is not None:
            made += _take_back(uow, each.document, recorded_at)
    return made


def _of_invoice(invoice: Invoice, shares: Shares, units: Units) -> JournalDraft | None:
    facts = [
        _fact(share, invoice, line, share_units(line, share, invoice.currency, _billed_units(line, units)))
        for line in invoice.lines
        if (share := shares.get((line.book_hash, line.feature))) is not None
    ]
    return _journal(invoice.id, invoice.number or "", invoice.issued_on, facts)


def _of_note(
    note: CreditNote, earlier: Sequence[CreditNote], invoice: Invoice, shares: Shares, units: Units
) -> JournalDraft | None:
    lines = {line.line: line for line in invoice.lines}
    before = [credited for each in earlier for credited in each.lines]
    facts: list[Fact] = []
    for credited in note.lines:
        line = lines[credited.line]
        share = shares.get((line.book_hash, line.feature))
        if share is not None:
            earned = share_units(line, share, invoice.currency, _billed_units(line, units))
            facts.append(_fact(share, invoice, line, -share_taken_back(earned, line, credited, before)))
    return _journal(note.id, note.number, note.issued_on, facts)


def _billed_units(line: InvoiceLine, units: Units) -> Decimal:
    return sum((units[source] for source in line.sources), Decimal(0))


def _journal(document: str, number: str, issued_on: date, facts: Sequence[Fact]) -> JournalDraft | None:
    """Return the journal of a document, None where no partner has a share in it."""
    at = datetime.combine(issued_on, time.min, tzinfo=UTC)
    return journal(_key(document), at, *facts, memo=number) if facts else None


def _take_back(uow: UnitOfWork, invoice: str, recorded_at: datetime) -> bool:
    """Reverse the shares of an invoice that is void: its charges go onto the next one, and earn there."""
    found = InvoiceRepository(uow).get(invoice)
    at = datetime.combine(found.issued_on, time.min, tzinfo=UTC)
    reversal = f"{_key(invoice)}:void"
    return ledger.reverse(
        uow, _key(invoice), reversal_key=reversal, effective_at=at, recorded_at=recorded_at, memo=found.number or ""
    ).is_new


def _fact(share: PartnerShare, invoice: Invoice, line: InvoiceLine, units: int) -> Fact:
    return PartnerShareAsPrincipal(share.partner, invoice.currency, line.feature, units)


def _key(document: str) -> str:
    return f"partner_share:{document}"
