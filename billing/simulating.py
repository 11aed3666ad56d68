"""Simulating: a closed month's ledger under a draft price book or draft price sheets. Reads, writes nothing.

The month is rated again as its close saw it: what was billed for it or recorded since is left out. At the prices in
force that gives the issued invoices to the cent, and the result says whether it does. Then everything the month
billed first is priced by the draft; what corrects an earlier month's bill stays at the price it corrects, and so do
additions and what an older charge left over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from msgspec import structs

from billing.charging import Run, charge_customers, known_subscriptions, price_source
from billing.closing import issue_of, run_again
from billing.coupon_discounts import HeldCoupon, apply_held_coupons
from billing.coupons import held_coupons, taken_before
from billing.customers import Customer, LegalEntity
from billing.invoices import Invoice, InvoiceState, draft_invoice
from billing.invoicing import feature_names
from billing.phases import Agreement, PhaseState, Subscription
from billing.price_source import PriceSource
from billing.rated_usage import RatedUsage
from billing.repositories.charges import ChargeRepository
from billing.repositories.closes import BillingMonth, CloseRepository
from billing.repositories.customers import CustomerRepository
from billing.repositories.invoices import InvoiceRepository
from billing.repositories.subscriptions import SubscriptionRepository
from billing.simulation import Billing, FeatureAmounts, SimulatedCustomer, Simulation, totals_without_response
from billing.tax import BuiltInRates, TaxRates
from billing.unit_of_work import UnitOfWork
from models.values.errors import InvalidValueError, RuleBrokenError
from models.values.period import Period
from models.values.quantity import EXACT
from pricing_engine.price_book import PriceBook
from pricing_engine.price_sheet import PriceSheet
from pricing_engine.quoting import CompiledBook

_AT_ONCE = 100
_GONE = {InvoiceState.DRAFT, InvoiceState.VOID}
_DRAFT = "draft"
_ZERO = Decimal(0)

Progress = Callable[[int, int], None]
"""Told how many customers are done, of how many."""
_Stream = tuple[str, str]
_Rows = list[tuple[str, int, RatedUsage]]


@dataclass(frozen=True, slots=True)
class DraftPrices:
    """Prices to try: a price book and, by segment, price sheets for its adaptive features.

    It takes the place of the book with the same key; subscriptions on other books stay as they are. Without sheets,
    an adaptive feature whose tariff the draft leaves alone keeps the price its customer's quote showed.
    """

    book: PriceBook
    sheets: Mapping[str, PriceSheet] = field(default_factory=dict)
    name: str = ""

    @property
    def title(self) -> str:
        """What the draft is called."""
        return self.name or f"{self.book.key} version {self.book.version}"


def last_closed_month(uow: UnitOfWork) -> str:
    """Return the newest closed month. Raises RuleBrokenError where none is."""
    closed = [month.key for month in CloseRepository(uow).all() if month.state == "closed"]
    if not closed:
        raise RuleBrokenError("no month is closed yet", field="period", code="period_not_closed")
    return closed[-1]


def simulate(
    uow: UnitOfWork,
    draft: DraftPrices,
    period: str | None = None,
    *,
    rates: TaxRates | None = None,
    progress: Progress | None = None,
) -> Simulation:
    """Return a closed month under the draft's prices, by default the last one. Usage is taken as it was.

    Raises RuleBrokenError for a month that is not closed, InvalidValueError where no subscription stands on a book
    with the draft's key.
    """
    task = _task(uow, draft, period, rates or BuiltInRates())
    customers = SubscriptionRepository(uow).customers()
    found: list[SimulatedCustomer] = []
    touched = 0
    for begin in range(0, len(customers), _AT_ONCE):
        simulated, repriced = _simulate_some(uow, customers[begin : begin + _AT_ONCE], task)
        found += simulated
        touched += repriced
        if progress is not None:
            progress(min(begin + _AT_ONCE, len(customers)), len(customers))
    if customers and not touched:
        raise InvalidValueError(
            "no subscription stands on a price book with this key", field="draft.key", value=draft.book.key
        )
    return Simulation(task.month.key, draft.title, tuple(found), tuple(totals_without_response(found)))


@dataclass(frozen=True, slots=True)
class _Task:
    """What is simulated, the same for every customer."""

    month: BillingMonth
    run: Run
    draft: DraftPrices
    compiled: CompiledBook
    sellers: Mapping[str, LegalEntity]
    rates: TaxRates


def _task(uow: UnitOfWork, draft: DraftPrices, period: str | None, rates: TaxRates) -> _Task:
    key = last_closed_month(uow) if period is None else period
    month, run = run_again(uow, key)
    sellers = {entity.key: entity for entity in CustomerRepository(uow).legal_entities()}
    return _Task(month, run, draft, CompiledBook(draft.book), sellers, rates)


def _simulate_some(uow: UnitOfWork, keys: Sequence[str], task: _Task) -> tuple[list[SimulatedCustomer], int]:
    """Simulate some customers; also return how many subscriptions the draft prices."""
    people = {key: CustomerRepository(uow).get(key) for key in keys}
    subscriptions = known_subscriptions(uow, keys, task.run)
    moved = _at_draft(subscriptions, price_source(uow, subscriptions), task, people)
    issued = _issued(uow, keys, task.month.key)
    live = _rated(uow, keys, task.run)
    draft = _rated(uow, keys, task.run, moved) if moved.subscriptions else live
    held = held_coupons(uow, keys, task.run.effective_at, again=True)
    agreed = _agreed(subscriptions, task.run.effective_at)
    partly = _there_for_a_part(subscriptions, task.run.effective_at)
    names = feature_names(uow, [row.book_hash for rows in live.values() for row in rows])
    names |= {(_DRAFT, feature.key): feature.name for feature in task.draft.book.features}
    found = []
    for customer, asset in sorted({*live, *issued}):
        of_month = issued.get((customer, asset), _NOTHING_ISSUED)
        before = live.get((customer, asset), [])
        after = _with_corrections(before, draft.get((customer, asset), []))
        billed = [
            of_month.again(
                uow.tenant,
                people[customer],
                asset,
                _discounted(uow, rows, held.get(customer, ()), asset, task),
                names,
                task,
            )
            for rows in (before, after)
        ]
        found.append(
            SimulatedCustomer(
                customer=customer,
                segment=people[customer].segment,
                currency=asset,
                issued=Billing(
                    sum(each.net_minor for each in of_month.invoices), sum(each.tax_minor for each in of_month.invoices)
                ),
                live=_billing(billed[0]),
                draft=_billing(billed[1]),
                features=_by_feature(*billed),
                not_sold=moved.not_sold.get(customer, ()),
                selection=agreed.get((customer, asset), {}),
                whole_month=(customer, asset) not in partly,
            )
        )
    return found, len(moved.subscriptions)


def _rated(
    uow: UnitOfWork, keys: Sequence[str], run: Run, moved: _Moved | None = None
) -> dict[_Stream, list[RatedUsage]]:
    instead, source = (None, None) if moved is None else (moved.subscriptions, moved.source)
    charged = charge_customers(uow, keys, run, instead=instead, source=source)
    return {(draft.customer, draft.currency): list(draft.rows) for draft in charged.drafts if draft.rows}


def _agreed(subscriptions: Sequence[Subscription], at: datetime) -> dict[_Stream, dict[str, Decimal]]:
    """Return the quantities agreed at an instant, all subscriptions of a customer together."""
    found: dict[_Stream, dict[str, Decimal]] = {}
    for subscription in subscriptions:
        phase = subscription.phase_at(at)
        sums = found.setdefault((subscription.customer, subscription.currency), {})
        for key, quantity in ({} if phase is None else phase.agreement.selection).items():
            sums[key] = EXACT.add(sums.get(key, _ZERO), quantity)
    return found


def _there_for_a_part(subscriptions: Sequence[Subscription], at: datetime) -> set[_Stream]:
    """Return whose subscriptions, of those in force at the month's last instant, began or paused within it."""
    first = at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    month = Period(first + timedelta(days=1), at)  # Its first day begins in every zone before that.
    found = set()
    for subscription in subscriptions:
        of_month = [each for each in subscription.stretches() if each.period.intersection(month) is not None]
        whole = subscription.starts_at < month.start and all(e.phase.state is PhaseState.ACTIVE for e in of_month)
        if subscription.phase_at(at) is not None and not whole:
            found.add((subscription.customer, subscription.currency))
    return found


def _with_corrections(live: Sequence[RatedUsage], draft: Sequence[RatedUsage]) -> list[RatedUsage]:
    """Return the draft's rows, with the corrections of earlier bills as they were."""
    return [row for row in draft if row.corrects is None] + [row for row in live if row.corrects is not None]


def _discounted(
    uow: UnitOfWork, rows: Sequence[RatedUsage], held: Sequence[HeldCoupon], asset: str, task: _Task
) -> list[RatedUsage]:
    before = taken_before(uow, rows, before_period=task.month.key)
    return apply_held_coupons(rows, held, asset, before)[0]


# Prices.


@dataclass(frozen=True, slots=True)
class _Moved:
    """The subscriptions that the draft prices, by id, with their price source; by customer what it does not sell."""

    subscriptions: Mapping[str, Subscription]
    source: PriceSource
    not_sold: Mapping[str, tuple[str, ...]]


def _at_draft(
    subscriptions: Sequence[Subscription], source: PriceSource, task: _Task, people: Mapping[str, Customer]
) -> _Moved:
    moved: dict[str, Subscription] = {}
    sheets = dict(source.sheets)
    not_sold: dict[str, tuple[str, ...]] = {}
    for subscription in subscriptions:
        phases = []
        for phase in subscription.phases:
            before = phase.agreement
            priced = _agreement_at_draft(before, source, task.draft, people[subscription.customer].segment)
            if priced is not None:
                agreement, sheet = priced
                if sheet is not None and agreement.sheet_hash is not None:
                    sheets[agreement.sheet_hash] = sheet
                lacking = tuple(key for key in before.selection if key not in agreement.selection)
                not_sold |= {subscription.customer: lacking} if lacking else {}
                phases.append(replace(phase, agreement=agreement))
            else:
                phases.append(phase)
        if tuple(phases) != subscription.phases:
            moved[subscription.id] = replace(subscription, phases=tuple(phases))
    return _Moved(moved, PriceSource({**source.books, _DRAFT: task.compiled}, sheets), not_sold)


def _agreement_at_draft(
    agreement: Agreement, source: PriceSource, draft: DraftPrices, segment: str
) -> tuple[Agreement, PriceSheet | None] | None:
    """Return an agreement on the draft, with its price sheet; None where the draft does not price it."""
    live = source.books[agreement.book_hash].features
    tariffs = {feature.key: feature.tariff for feature in draft.book.features}
    selection = {key: quantity for key, quantity in agreement.selection.items() if key in tariffs}
    if source.books[agreement.book_hash].book.key != draft.book.key or not selection:
        return None
    moved = replace(agreement, book_hash=_DRAFT, selection=selection, sheet_hash=None)
    if draft.sheets:
        sheet = draft.sheets.get(segment)
        return (moved, None) if sheet is None else (replace(moved, sheet_hash=f"{_DRAFT}:{segment}", draws={}), sheet)
    if agreement.sheet_hash is None:
        return moved, None
    shown = source.sheets[agreement.sheet_hash]
    kept = tuple(each for each in shown.prices if live[each.feature].tariff == tariffs.get(each.feature))
    moved = replace(moved, sheet_hash=f"{_DRAFT}:{agreement.sheet_hash}")
    return moved, structs.replace(shown, prices=kept)


# Invoices.


@dataclass(frozen=True, slots=True)
class _Issued:
    """One customer's live invoices of the month in one currency, and what on them rating the month did not make."""

    invoices: Sequence[Invoice] = ()
    others: Mapping[str, _Rows] = field(default_factory=dict)

    def again(
        self,
        tenant: str,
        customer: Customer,
        asset: str,
        rated: Sequence[RatedUsage],
        names: Mapping[tuple[str | None, str], str],
        task: _Task,
    ) -> Invoice | None:
        """Return the one invoice that the month would make of these rows; None where there is nothing to invoice."""
        own = f"{task.run.key}/{customer.key}/{asset}"
        by_charge = {**self.others, own: [(own, position, row) for position, row in enumerate(rated)]}
        rows = [row for charge in sorted(by_charge) for row in by_charge[charge]]
        if not rows:
            return None
        first = min(self.invoices, key=lambda each: (each.issued_on, each.number or ""), default=None)
        carried_in = _ZERO if first is None else first.carried_in
        seller = task.sellers[customer.legal_entity]
        issue = issue_of(task.month)
        return draft_invoice(tenant, customer, seller, asset, rows, names, carried_in, issue, task.rates)


_NOTHING_ISSUED = _Issued()


def _issued(uow: UnitOfWork, keys: Sequence[str], period: str) -> dict[_Stream, _Issued]:
    repository, charges = InvoiceRepository(uow), ChargeRepository(uow)
    invoices: dict[_Stream, list[Invoice]] = {}
    for invoice in repository.many(repository.of_period(period, customers=keys)):
        if invoice.state not in _GONE:
            invoices.setdefault((invoice.customer, invoice.currency), []).append(invoice)
    taken = charges.of_invoices([each.id for own in invoices.values() for each in own])
    streams = {
        charge.id: (charge.customer, charge.currency)
        for charge in taken
        if charge.period != period or charge.kind == "addition"
    }
    others: dict[_Stream, dict[str, _Rows]] = {}
    for row in charges.rows(streams):
        others.setdefault(streams[row[0]], {}).setdefault(row[0], []).append(row)
    return {stream: _Issued(own, others.get(stream, {})) for stream, own in invoices.items()}


def _billing(invoice: Invoice | None) -> Billing:
    return Billing(0, 0) if invoice is None else Billing(invoice.net_minor, invoice.tax_minor)


def _by_feature(live: Invoice | None, draft: Invoice | None) -> dict[str, FeatureAmounts]:
    sums: dict[str, FeatureAmounts] = {}
    for line in () if live is None else live.lines:
        _add(sums, line.feature, FeatureAmounts(line.exact, _ZERO, _ZERO))
    for line in () if draft is None else draft.lines:
        _add(sums, line.feature, FeatureAmounts(_ZERO, line.exact, line.cost))
    return sums


def _add(sums: dict[str, FeatureAmounts], feature: str, amounts: FeatureAmounts) -> None:
    sums[feature] = sums[feature].plus(amounts) if feature in sums else amounts
