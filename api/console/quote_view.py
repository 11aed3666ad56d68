"""A priced selection as people read it: each line's bar, its reasons and what dropping it saves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from markupsafe import Markup

from api.console import charts, figures
from api.console.customer_choice import first_sold_to, offered_customers
from api.console.forms import selection_of_form
from billing.customers import Customer
from billing.phases import PhaseState
from billing.quotes import Priced, QuoteRequest, price_request
from billing.repositories.customers import CustomerRepository
from billing.repositories.price_books import PriceBookRepository, StoredBook
from billing.repositories.subscriptions import SubscriptionRepository
from billing.unit_of_work import UnitOfWork
from models.values.errors import DomainError, NotFoundError
from models.values.money import from_minor
from models.values.quantity import plain
from pricing_engine.catalog import Feature, FeatureKind
from pricing_engine.quoting import QuoteLine
from pricing_engine.sealing import Signer
from pricing_engine.tariffs.tariff import tariff_document

_PRICES = ("unit_amount", "amount", "flat_amount")


@dataclass(frozen=True, slots=True)
class Choice:
    """One feature of the book as a form offers it."""

    feature: Feature
    chosen: bool
    quantity: str
    price: str

    @property
    def is_switch(self) -> bool:
        """Whether there is no quantity to ask for."""
        return self.feature.kind is FeatureKind.SWITCH


@dataclass(frozen=True, slots=True)
class LineView:
    """One priced line with its bar."""

    line: QuoteLine
    feature: Feature
    bar: Markup
    dropped_with: tuple[str, ...]
    """Names of all that goes with the feature, itself among them."""


@dataclass(frozen=True, slots=True)
class SelectionPage:
    """What a page with a selection shows. Either `priced` or `refusal` is given; where nothing is chosen, neither."""

    customers: list[Customer]
    customer: Customer
    book: StoredBook
    choices: list[Choice]
    priced: Priced | None
    refusal: DomainError | None

    @property
    def lines(self) -> list[LineView]:
        """The priced lines, drawn to one scale."""
        return [] if self.priced is None else line_views(self.priced)

    @property
    def total(self) -> Decimal:
        """The total in major units, rounded as it is billed."""
        if self.priced is None:
            return Decimal(0)
        return from_minor(self.priced.quote.rounded_total_minor, self.book.book.money)


def selection_page(uow: UnitOfWork, form: Mapping[str, Any], signer: Signer, at: datetime) -> SelectionPage:
    """Price what a form says: without a selection, what the customer has today. Raises NotFoundError, e.g. no customer.

    A selection that the book refuses is not an error of the page: the refusal is shown in place of the price.
    """
    asked = str(form.get("customer") or "")
    customers = offered_customers(uow, asked)
    if not customers:
        raise NotFoundError("there is no customer yet", field="customer", code="no_customer")
    customer = CustomerRepository(uow).get(asked) if asked else first_sold_to(uow, customers, at)
    book = PriceBookRepository(uow).for_customer(customer.currency, customer.channel, at)
    known = {feature.key for feature in book.book.features}
    today = {key: quantity for key, quantity in _current_selection(uow, customer.key, at).items() if key in known}
    given = form.get("chosen") == customer.key
    selection: Mapping[str, Any] = selection_of_form(form, book.book) if given else _as_form(today, book)
    priced, refusal = None, None
    try:
        priced = price_request(uow, QuoteRequest(customer.key, selection), signer, at) if selection else None
    except DomainError as error:
        refusal = error
    choices = [
        Choice(
            feature=feature,
            chosen=feature.key in selection,
            quantity=_quantity(feature, form if given else {}, today),
            price=price_text(feature),
        )
        for feature in book.book.features
    ]
    return SelectionPage(customers, customer, book, choices, priced, refusal)


def line_views(priced: Priced) -> list[LineView]:
    """Return the lines of a priced selection with their bars, drawn to one scale."""
    lines, book = priced.quote.lines, priced.book.book
    largest = max((max(line.list_amount, line.amount) for line in lines), default=Decimal(0))
    return [
        LineView(
            line,
            book.feature(line.feature),
            _bar(line, largest),
            tuple(book.feature(each).name for each in line.dropped_with),
        )
        for line in lines
    ]


def price_text(feature: Feature) -> str:
    """Return a tariff in a few characters: its price, or the prices it goes between."""
    document = tariff_document(feature.tariff)
    if "package_amount" in document:
        return f"{document['package_amount']} / {figures.number(int(document['package_size']))}"
    amounts = sorted(_amounts(document))
    return figures.prices(amounts[0], amounts[-1]) if amounts else str(document["model"])


def _amounts(node: object) -> set[Decimal]:
    if isinstance(node, dict):
        own = {Decimal(str(node[name])) for name in _PRICES if node.get(name) is not None}
        return own.union(*(_amounts(each) for each in node.values()))
    if isinstance(node, list | tuple):
        return set().union(*(_amounts(each) for each in node))
    return set()


def _current_selection(uow: UnitOfWork, customer: str, at: datetime) -> dict[str, Decimal]:
    for subscription in SubscriptionRepository(uow).of_customers([customer]):
        phase = subscription.phase_at(at)
        if phase is not None and phase.state is PhaseState.ACTIVE:
            return dict(phase.agreement.selection)
    return {}


def _as_form(selection: Mapping[str, Decimal], book: StoredBook) -> dict[str, str | bool]:
    return {
        key: True if book.book.feature(key).kind is FeatureKind.SWITCH else plain(quantity)
        for key, quantity in selection.items()
    }


def _quantity(feature: Feature, form: Mapping[str, Any], today: Mapping[str, Decimal]) -> str:
    typed = form.get(f"q.{feature.key}")
    if isinstance(typed, str):
        return typed
    if feature.key in today:
        return plain(today[feature.key])
    return plain(max(feature.least_quantity, Decimal(1)))


def _bar(line: QuoteLine, largest: Decimal) -> Markup:
    """Draw the amount, and after it what the reasons took off or put on."""
    taken = line.list_amount - line.amount
    if taken >= 0:
        return charts.bar([("amount", line.amount), ("off", taken)], largest)
    return charts.bar([("amount", line.list_amount), ("on", -taken)], largest)
