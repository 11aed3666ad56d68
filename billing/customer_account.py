"""What one customer sees of their own account: what runs, what it comes to so far, what dropping a feature saves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from billing.customers import Customer
from billing.invoices import Invoice, InvoiceLine, InvoiceState
from billing.measured_usage import Measured
from billing.metering.live_usage import usage_of
from billing.phases import Agreement, PhaseState
from billing.previews import month_end, preview_invoices
from billing.pricing_facts import FactsReader, PricingFacts
from billing.quotes import Priced, QuoteRequest, price_with
from billing.rated_usage import Kind
from billing.repositories.charges import ChargeRepository
from billing.repositories.credit_notes import CreditNote, CreditNoteRepository
from billing.repositories.customers import CustomerRepository
from billing.repositories.invoices import InvoiceRepository
from billing.repositories.subscriptions import SubscriptionRepository
from billing.unit_of_work import UnitOfWork
from models.values.errors import DomainError, InvalidValueError
from models.values.quantity import plain
from pricing_engine.catalog import Feature, FeatureKind, Meter
from pricing_engine.sealing import Signer
from pricing_engine.tariffs.matrix import Matrix
from pricing_engine.tariffs.scaling import exact_sum
from pricing_engine.tariffs.usage import UsageGroup

_CREDIT_NOTES = 1_000


@dataclass(frozen=True, slots=True)
class CustomerAccount:
    """A customer's account at a moment, invoices and the latest credit notes newest first.

    `so_far`: the next invoices as they would be now. `priced`: a month like the last one at today's prices, with what
    dropping each feature saves; None where nothing `runs`, or where nobody can tell: the selection is no longer sold,
    or its price depends on which usage it is, and that is not known.
    """

    customer: Customer
    so_far: tuple[Invoice, ...]
    runs: bool
    priced: Priced | None
    invoices: tuple[Invoice, ...]
    credit_notes: tuple[CreditNote, ...]


def customer_account(uow: UnitOfWork, key: str, signer: Signer, at: datetime) -> CustomerAccount:
    """Return one customer's account; every event of this moment counts, nothing is written. Raises NotFoundError."""
    customer = CustomerRepository(uow).get(key)
    invoices = [each for each in InvoiceRepository(uow).of_customer(key) if each.state is not InvoiceState.DRAFT]
    until = month_end(at)
    agreement = _agreement(uow, key, at)
    return CustomerAccount(
        customer=customer,
        so_far=preview_invoices(uow, key, until, at),
        runs=agreement is not None,
        priced=None if agreement is None else _priced(uow, key, agreement, invoices, signer, at),
        invoices=tuple(reversed(invoices)),
        credit_notes=tuple(CreditNoteRepository(uow).page(None, _CREDIT_NOTES, key)),
    )


def _agreement(uow: UnitOfWork, key: str, at: datetime) -> Agreement | None:
    for subscription in SubscriptionRepository(uow).of_customers([key]):
        phase = subscription.phase_at(at)
        if phase is not None and phase.state is PhaseState.ACTIVE:
            return phase.agreement
    return None


def _priced(
    uow: UnitOfWork, key: str, agreement: Agreement, invoices: list[Invoice], signer: Signer, at: datetime
) -> Priced | None:
    try:
        facts = FactsReader(uow, signer, at).read(key)
        return price_with(facts, QuoteRequest(key, _like_last_month(uow, facts, agreement, invoices)), at)
    except DomainError:  # What is no longer sold, say, has no price today: the page shows the rest.
        return None


def _like_last_month(
    uow: UnitOfWork, facts: PricingFacts, agreement: Agreement, invoices: list[Invoice]
) -> Mapping[str, Any]:
    """Return what was agreed, with the usage of the last invoice in place of what was expected of metered features.

    An invoice that bills no usage says nothing about it. Raises NotFoundError, InvalidValueError.
    """
    lines: dict[str, list[InvoiceLine]] = {}
    for line in invoices[-1].lines if invoices else ():
        if line.kind is Kind.USAGE and line.corrects is None:
            lines.setdefault(line.feature, []).append(line)
    book = facts.book.book
    selection: dict[str, Any] = {}
    for key, agreed in agreement.selection.items():
        feature = book.feature(key)
        own = lines.get(key, [])
        quantity = agreed
        if feature.kind is FeatureKind.METERED and lines:
            quantity = exact_sum(line.quantity for line in own)
        if quantity and _is_priced_by_group(feature, facts):
            groups = _groups(uow, facts.customer.key, book.meter(feature.meter or ""), own)
            selection[key] = {"units": plain(quantity), "groups": groups}
        else:
            selection[key] = plain(quantity)
    return selection


def _is_priced_by_group(feature: Feature, facts: PricingFacts) -> bool:
    terms = [term.tariff for term in facts.terms if term.feature == feature.key]
    return any(tariff is not None and isinstance(tariff.shape, Matrix) for tariff in (feature.tariff, *terms))


def _groups(uow: UnitOfWork, customer: str, meter: Meter, lines: list[InvoiceLine]) -> list[dict[str, Any]]:
    """Return in wire form what the lines billed, group by group: they themselves keep only the sum.

    Raises InvalidValueError where there is no line to tell.
    """
    if not lines:
        raise InvalidValueError("the price depends on which usage it is", field="usage.groups", code="groups_required")
    groups: list[UsageGroup] = []
    for line in lines:
        groups += _as_billed(uow, customer, meter, line).by_group(meter.group_by)
    return [{"properties": dict(group.properties), "units": plain(group.units)} for group in groups]


def _as_billed(uow: UnitOfWork, customer: str, meter: Meter, line: InvoiceLine) -> Measured:
    """Return what a line billed as its meter reads it today; what came late is left out.

    Raises InvalidValueError where the meter reads something else today.
    """
    measured = usage_of(uow, customer, meter, line.service)
    if measured.units != line.quantity:
        charge = ChargeRepository(uow).find(line.sources[0][0])
        known_at = None if charge is None else charge.known_at
        measured = usage_of(uow, customer, meter, line.service, known_at=known_at)
    if measured.units != line.quantity:
        raise InvalidValueError("the meter reads another quantity", field="usage.groups", value=plain(measured.units))
    return measured
