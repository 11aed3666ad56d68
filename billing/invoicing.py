"""Invoicing: charges become drafts, drafts become numbered invoices, invoices are voided or given up.

Finalising gives the number, carries the remainder and posts the journal in one transaction; prepaid credit pays at
once (`billing.prepayments`), then what other credit of the customer is there. Afterwards nothing of an invoice
changes but its state: what is wrong is credited.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

from billing import ledger
from billing.carrying import Parts
from billing.chart_of_accounts import Account
from billing.customers import Customer, LegalEntity
from billing.invoices import Invoice, InvoiceState, Issue, draft_invoice, rounded
from billing.journals import JournalDraft
from billing.posting_rules import CreditApplied, Fact, InvoiceInArrears, RemainderCarry, WriteOff, journal
from billing.prepayments import give_back, prepay
from billing.rated_usage import RatedUsage
from billing.repositories import journals
from billing.repositories.charges import Charge, ChargeRepository
from billing.repositories.credit_notes import CreditNoteRepository
from billing.repositories.customers import CustomerRepository
from billing.repositories.documents import DocumentRepository
from billing.repositories.invoices import InvoiceRepository
from billing.repositories.price_books import PriceBookRepository
from billing.repositories.settlements import Settlement, SettlementRepository
from billing.settlements import credit_left, spend_credit
from billing.tax import BuiltInRates, TaxRates
from billing.unit_of_work import UnitOfWork
from billing.webhooks.announcements import invoice_events
from billing.webhooks.events import announce
from models.values.errors import RuleBrokenError
from models.values.ids import check_reason
from models.values.money import currency, shown_minor
from models.values.quantity import EXACT

Collect = Callable[[UnitOfWork, Sequence[Invoice], datetime], None]
"""Takes finalised invoices over for collection, as part of the transaction that finalised them."""

_INVOICE, _CREDIT = "invoice", "customer_credit"
_CREDITS = {"credit", "to_credit"}
"""Settlements that a customer's credit made, and that a void gives back, as it does what a wallet paid."""
_GIVEN_BACK = {*_CREDITS, "wallet"}


def draft_open_charges(
    uow: UnitOfWork, customers: Sequence[str], issue: Issue, recorded_at: datetime, rates: TaxRates | None = None
) -> list[Invoice]:
    """Make one draft a customer and currency of all charges that no live invoice has taken up.

    The same issue again finds nothing to take up, and makes nothing.
    """
    charges = ChargeRepository(uow)
    by_invoice: dict[tuple[str, str], list[Charge]] = {}
    for charge in charges.open(customers):
        by_invoice.setdefault((charge.customer, charge.currency), []).append(charge)
    if not by_invoice:
        return []
    known = CustomerRepository(uow).many({customer for customer, _ in by_invoice})
    sellers = {entity.key: entity for entity in CustomerRepository(uow).legal_entities()}
    carried = InvoiceRepository(uow).remainders({customer for customer, _ in by_invoice})
    rated: dict[str, list[tuple[str, int, RatedUsage]]] = {}
    for row in charges.rows([charge.id for taken in by_invoice.values() for charge in taken]):
        rated.setdefault(row[0], []).append(row)
    names = feature_names(uow, [row.book_hash for rows in rated.values() for _, _, row in rows])
    drafts = []
    for (key, asset), taken in sorted(by_invoice.items()):
        rows = [row for charge in sorted(taken, key=lambda each: each.id) for row in rated.get(charge.id, ())]
        if not rows:
            continue
        customer = known[key]
        draft = draft_invoice(
            uow.tenant,
            customer,
            sellers[customer.legal_entity],
            asset,
            rows,
            names,
            carried.get((key, asset), Decimal(0)),
            issue,
            rates or BuiltInRates(),
        )
        drafts.append(draft)
    InvoiceRepository(uow).add_drafts(drafts, recorded_at)
    charges.take_up(
        [(charge.id, draft.id) for draft in drafts for charge in by_invoice[draft.customer, draft.currency]]
    )
    return drafts


def finalise(
    uow: UnitOfWork, invoices: Sequence[str], recorded_at: datetime, *, collect: Collect | None = None
) -> list[Invoice]:
    """Finalise drafts in the order given: numbers without gap, remainders carried, journals posted.

    Wallets and the customer's credit pay at once. Drafts that are finalised already are left as they are. `collect`
    is handed what was finalised, in the same transaction. Raises RuleBrokenError inside a draft's grace period.
    """
    journals.lock(uow)
    repository = InvoiceRepository(uow)
    found = {each.id: each for each in repository.many(invoices)}
    drafts = [found[each] for each in invoices if found[each].state is InvoiceState.DRAFT]
    for draft in drafts:
        if draft.finalise_from > recorded_at:
            raise RuleBrokenError(
                f"may be changed until {draft.finalise_from.isoformat()}",
                field="invoice",
                value=draft.id,
                code="in_grace_period",
            )
    settled = _carry(uow, drafts)
    numbered = _number(uow, settled)
    prepaid, from_wallets, wallet_journals = prepay(uow, numbered, recorded_at)
    paid, settlements = _apply_credit(uow, prepaid)
    repository.finalise(paid, recorded_at)
    SettlementRepository(uow).add([*from_wallets, *settlements], recorded_at)
    repository.add_parties(_parties(uow, paid))
    DocumentRepository(uow).log(_INVOICE, [(each.id, each.period) for each in paid])
    units = _units(uow, paid)
    drafts_of_journals = [_journal(each, units[each.id]) for each in paid]
    credited = [_credit_journal(each, found[each.invoice]) for each in settlements]
    posted = [draft for draft in drafts_of_journals + wallet_journals + credited if draft.legs]
    ledger.post(uow, posted, recorded_at=recorded_at)
    announce(uow, [event for each in paid for event in invoice_events(each, before=InvoiceState.DRAFT)], recorded_at)
    paid = _spend(uow, paid, settlements, recorded_at)
    if collect is not None:
        collect(uow, paid, recorded_at)
    return paid


def void(uow: UnitOfWork, invoice: str, reason: str, at: datetime) -> Invoice:
    """Void a finalised invoice: its journal is reversed, its charges are free for the next invoice.

    Raises RuleBrokenError for a draft, for one of which something is paid or credited: refund or credit it, and for one
    below zero whose credit is spent, InvalidValueError without a reason.
    """
    check_reason(reason)
    journals.lock(uow)
    repository = InvoiceRepository(uow)
    found = repository.get(invoice)
    if found.state is InvoiceState.VOID:
        return found
    settlements = SettlementRepository(uow).of(found.id)
    paid = sum(each.amount_minor for each in settlements if each.kind not in _GIVEN_BACK)
    if found.state is InvoiceState.DRAFT or paid:
        raise RuleBrokenError(
            "only a finalised invoice of which nothing is paid or credited is voided",
            field="invoice",
            value=found.state.value,
            code="invoice_not_voidable",
        )
    if CreditNoteRepository(uow).of_invoice(found.id):
        raise RuleBrokenError("has credit notes", field="invoice", value=found.number, code="invoice_not_voidable")
    corrected = _corrected_later(uow, found)
    if corrected:
        raise RuleBrokenError(
            "a later invoice corrects it: void that one first",
            field="invoice",
            value=corrected,
            code="invoice_corrected",
        )
    _check_credit_is_there(uow, found)
    given_back = [
        Settlement(found.id, f"void:{each.key}", each.kind, -each.amount_minor, _instant(found))
        for each in settlements
        if each.kind in _GIVEN_BACK
    ]
    reversals = [_credit_journal(each, found) for each in given_back if each.kind in _CREDITS]
    to_wallets = give_back(uow, found, at)
    ledger.post(uow, reversals if to_wallets is None else [*reversals, to_wallets], recorded_at=at)
    SettlementRepository(uow).add(given_back, at)
    charges = ChargeRepository(uow)
    taken = charges.of_invoices([found.id])
    if ledger.find(uow, _journal_key(found.id)) is not None:
        ledger.reverse(
            uow,
            _journal_key(found.id),
            reversal_key=f"void:{found.id}",
            effective_at=_instant(found),
            recorded_at=at,
            memo=reason[:200],
        )
    charges.take_up([(charge.id, None) for charge in taken])
    left = EXACT.subtract(found.carried_out, found.carried_in)
    carried = repository.remainders([found.customer]).get((found.customer, found.currency), Decimal(0))
    repository.save_remainders({(found.customer, found.currency): EXACT.subtract(carried, left)})
    repository.move(found.id, InvoiceState.FINALISED, 0)
    repository.move(found.id, InvoiceState.VOID, 0)
    DocumentRepository(uow).log("void", [(found.id, found.period)])
    voided = repository.get(found.id)
    announce(uow, invoice_events(voided, before=found.state), at)
    return voided


def give_up(uow: UnitOfWork, invoice: str, at: datetime) -> Invoice:
    """Write off what is open of an invoice, again where one that was given up is open once more.

    Again without that changes nothing. Raises RuleBrokenError unless it is finalised and open.
    """
    journals.lock(uow)
    repository = InvoiceRepository(uow)
    found = repository.get(invoice)
    if found.state is InvoiceState.UNCOLLECTIBLE and found.open_minor <= 0:
        return found
    if found.state not in {InvoiceState.FINALISED, InvoiceState.UNCOLLECTIBLE} or found.open_minor <= 0:
        raise RuleBrokenError(
            "only what is open is given up", field="invoice", value=found.state.value, code="nothing_open"
        )
    per_minor = currency(found.currency).units_per_minor
    lost = WriteOff(found.customer, found.currency, found.open_minor * per_minor)
    earlier = [each for each in SettlementRepository(uow).of(found.id) if each.kind == "write_off"]
    key = f"write_off:{found.id}:{len(earlier) + 1}"  # What was paid, before or after, and refunded is lost again.
    ledger.post(uow, [journal(key, at, lost)], recorded_at=at)
    SettlementRepository(uow).add([Settlement(found.id, key, "write_off", found.open_minor, at)], at)
    repository.move(found.id, InvoiceState.UNCOLLECTIBLE, found.total_minor)
    return repository.get(found.id)


def discard(uow: UnitOfWork, invoice: str) -> None:
    """Throw a draft away; its charges are free for the next one. Raises RuleBrokenError for anything but a draft."""
    repository = InvoiceRepository(uow)
    found = repository.get(invoice)
    if found.state is not InvoiceState.DRAFT:
        raise RuleBrokenError(
            "only a draft is thrown away", field="invoice", value=found.state.value, code="invoice_not_draft"
        )
    charges = ChargeRepository(uow)
    charges.take_up([(charge.id, None) for charge in charges.of_invoices([found.id])])
    repository.discard_draft(found.id)


# Parts of finalising.


def _carry(uow: UnitOfWork, drafts: Sequence[Invoice]) -> list[Invoice]:
    """Round the drafts again where what is carried in has changed since, and carry on what each leaves."""
    repository = InvoiceRepository(uow)
    carried = repository.remainders({draft.customer for draft in drafts})
    settled = []
    for draft in drafts:
        stream = (draft.customer, draft.currency)
        carried_in = carried.get(stream, Decimal(0))
        final = draft
        if carried_in != draft.carried_in:
            final = rounded(draft, carried_in)
            repository.replace_draft(final)
        carried[stream] = final.carried_out
        settled.append(final)
    repository.save_remainders(carried)
    return settled


def _number(uow: UnitOfWork, drafts: Sequence[Invoice]) -> list[Invoice]:
    """Give each draft the next number of its legal entity and year, in the order given."""
    prefixes = {entity.key: entity.number_prefix for entity in CustomerRepository(uow).legal_entities()}
    counts: dict[tuple[str, int], int] = {}
    for draft in drafts:
        series = (draft.legal_entity, draft.issued_on.year)
        counts[series] = counts.get(series, 0) + 1
    numbers = {
        series: iter(DocumentRepository(uow).next_numbers(series[0], _INVOICE, series[1], count))
        for series, count in sorted(counts.items())
    }
    numbered = []
    for draft in drafts:
        number = next(numbers[draft.legal_entity, draft.issued_on.year])
        text = f"{prefixes[draft.legal_entity]}-{draft.issued_on.year}-{number:06d}"
        numbered.append(replace(draft, number=text, state=InvoiceState.FINALISED))
    return numbered


def _apply_credit(uow: UnitOfWork, invoices: Sequence[Invoice]) -> tuple[list[Invoice], list[Settlement]]:
    """Let customers' credit pay what is open; an invoice below zero becomes credit. Nothing open is paid."""
    accounts = {Account(_CREDIT, each.currency, each.customer) for each in invoices}
    states = journals.account_states(uow, accounts)
    credit = {
        (account.party, account.asset): -state.balance // currency(account.asset).units_per_minor
        for account, state in states.items()
    }
    settled, settlements = [], []
    for each in invoices:
        stream = (each.customer, each.currency)
        amount = min(credit.get(stream, 0), each.open_minor) if each.total_minor > 0 else each.total_minor
        credit[stream] = credit.get(stream, 0) - amount
        if amount:
            kind = "credit" if amount > 0 else "to_credit"
            settlements.append(Settlement(each.id, f"{kind}:{each.id}", kind, amount, _instant(each)))
        state = InvoiceState.PAID if each.open_minor == amount else InvoiceState.FINALISED
        settled.append(replace(each, settled_minor=each.settled_minor + amount, state=state))
    return settled, settlements


def _spend(
    uow: UnitOfWork, invoices: list[Invoice], settlements: Sequence[Settlement], recorded_at: datetime
) -> list[Invoice]:
    """Let credit of invoices below zero pay what else is open; return the invoices as they are then."""
    below_zero = [each for each in settlements if each.kind == "to_credit"]
    by_id = {each.id: each for each in invoices}
    for each in below_zero:
        source = by_id[each.invoice]
        for after in spend_credit(uow, source.customer, source.currency, source.id, each.effective_at, recorded_at):
            by_id[after.id] = after
    return [by_id[each.id] for each in invoices]


def _units(uow: UnitOfWork, invoices: Sequence[Invoice]) -> dict[str, int]:
    """Return by invoice the ledger units that its charges came to when they were accrued."""
    units = dict.fromkeys((each.id for each in invoices), 0)
    for charge in ChargeRepository(uow).of_invoices(list(units)):
        if charge.invoice is not None:
            units[charge.invoice] += charge.units
    return units


def _journal(invoice: Invoice, accrued_units: int) -> JournalDraft:
    per_minor = currency(invoice.currency).units_per_minor
    taxes: Parts = tuple((group.code, group.tax_minor * per_minor) for group in invoice.tax_groups() if group.tax_minor)
    net_units = invoice.net_minor * per_minor
    facts: list[Fact] = [
        InvoiceInArrears(invoice.customer, invoice.currency, net_units, taxes),
        RemainderCarry(invoice.customer, invoice.currency, accrued_units - net_units),
    ]
    return journal(_journal_key(invoice.id), _instant(invoice), *facts, memo=invoice.number or "")


def _credit_journal(settlement: Settlement, invoice: Invoice) -> JournalDraft:
    units = settlement.amount_minor * currency(invoice.currency).units_per_minor
    applied = CreditApplied(invoice.customer, invoice.currency, units)
    return journal(settlement.key, settlement.effective_at, applied)


def _journal_key(invoice: str) -> str:
    return f"invoice:{invoice}"


def _instant(invoice: Invoice) -> datetime:
    """Return the instant at which an invoice counts: the beginning of its date."""
    return datetime.combine(invoice.issued_on, time.min, tzinfo=UTC)


def _corrected_later(uow: UnitOfWork, invoice: Invoice) -> str | None:
    """Return a live invoice with a line that corrects a charge of this one."""
    own = {charge.id for charge in ChargeRepository(uow).of_invoices([invoice.id])}
    gone = {InvoiceState.VOID, InvoiceState.DRAFT}
    for later in InvoiceRepository(uow).of_customer(invoice.customer, invoice.currency):
        corrects = {line.corrects for line in later.lines if line.corrects is not None}
        if later.id != invoice.id and later.state not in gone and corrects & own:
            return later.number or later.id
    return None


def _check_credit_is_there(uow: UnitOfWork, invoice: Invoice) -> None:
    """Refuse to void an invoice below zero whose credit has paid others, naming the latest of them."""
    left = credit_left(uow, invoice.customer, invoice.currency)
    if invoice.total_minor >= 0 or left >= -invoice.total_minor:
        return
    repository = InvoiceRepository(uow)
    others = {each.id: each.number for each in repository.of_customer(invoice.customer, invoice.currency)}
    credits_of = {
        other: sum(each.amount_minor for each in made if each.kind == "credit")
        for other, made in SettlementRepository(uow).of_invoices(others).items()
    }
    paid = [number for other, number in others.items() if credits_of.get(other, 0) > 0]
    by = f": void {paid[-1]} first, which it has paid" if paid else ", the rest was paid back"
    raise RuleBrokenError(
        f"{shown_minor(left, invoice.currency)} of its credit is left{by}",
        field="invoice",
        value=invoice.number,
        code="credit_spent",
    )


def _parties(uow: UnitOfWork, invoices: Sequence[Invoice]) -> list[tuple[str, dict[str, Any]]]:
    customers = CustomerRepository(uow).many({each.customer for each in invoices})
    sellers = {entity.key: entity for entity in CustomerRepository(uow).legal_entities()}
    return [(each.id, party_document(customers[each.customer], sellers[each.legal_entity])) for each in invoices]


def party_document(customer: Customer, seller: LegalEntity) -> dict[str, Any]:
    """Return buyer and seller as an invoice shows them."""
    buyer = {
        name: value
        for name, value in asdict(customer).items()
        if name in {"key", "legal_name", "address", "country", "email", "language", "tax_id", "zone"}
    }
    return {"buyer": buyer, "seller": {key: value for key, value in asdict(seller).items() if key != "number_prefix"}}


def feature_names(uow: UnitOfWork, hashes: Sequence[str | None]) -> dict[tuple[str | None, str], str]:
    """Return the names of features, by price-book hash and key."""
    books = PriceBookRepository(uow)
    return {
        (each, feature.key): feature.name
        for each in set(hashes)
        if each is not None
        for feature in books.get(each).book.features
    }
