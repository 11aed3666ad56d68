"""A small company to bill with: a price book, customers, events, and a month at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from billing.close_tasks import CloseOutcome, CloseTask, InTurn
from billing.closing import CloseOptions, CloseResult, close
from billing.customers import Customer, LegalEntity
from billing.database import Database
from billing.invoices import Invoice
from billing.metering.directory import PriceBookDirectory
from billing.metering.ingest import ingest
from billing.metering.outcome import Outcome
from billing.metering.parsing import parse_batch
from billing.phases import Agreement, Subscription
from billing.publishing import publish
from billing.repositories.customers import CustomerRepository
from billing.repositories.invoices import InvoiceRepository
from billing.repositories.subscriptions import SubscriptionRepository
from billing.subscriptions import Change, record, start
from billing.tax import FixedRate, TaxRates
from models.values.ids import DEFAULT_TENANT
from models.values.period import BillingCycle, Interval
from pricing_engine.price_book import parse_price_book
from pricing_engine.sealing import Signer
from tests.quote_facts import SIGNER

UTC_ZONE = ZoneInfo("UTC")
NO_TAX: TaxRates = FixedRate("none", Decimal(0))
MONTHLY = BillingCycle.calendar(Interval.MONTH, UTC_ZONE)

BOOK: dict[str, Any] = {
    "key": "gateway",
    "version": 1,
    "currency": "USD",
    "effective_from": "2020-01-01T00:00:00Z",
    "meters": [
        {"key": "tokens", "event_type": "llm.request", "aggregation": "sum", "value_property": "tokens"},
        {"key": "calls", "event_type": "llm.request", "aggregation": "count"},
    ],
    "features": [
        {"key": "tokens", "name": "Tokens", "kind": "metered", "meter": "tokens",
         "tariff": {"model": "graduated", "tiers": [
             {"up_to": "1000", "unit_amount": "0.003"}, {"up_to": None, "unit_amount": "0.0021"}]}},
        {"key": "calls", "name": "Calls", "kind": "metered", "meter": "calls",
         "tariff": {"model": "unit", "unit_amount": "0.000000000001"}},
        {"key": "seats", "name": "Seats", "kind": "quantity", "tariff": {"model": "unit", "unit_amount": "10"}},
        {"key": "sso", "name": "Single sign-on", "kind": "switch", "tariff": {"model": "flat", "amount": "620"}},
        {"key": "support", "name": "Support", "kind": "switch", "billed": "advance",
         "tariff": {"model": "flat", "amount": "62"}},
    ],
    "bundles": [{"key": "team", "name": "Team", "features": ["seats", "sso"], "percent": "10"}],
}  # fmt: skip


def repriced(feature: str, tariff: Mapping[str, Any], version: int = 2) -> dict[str, Any]:
    """Return the next version of the book, with one feature at another tariff."""
    features = [{**each, "tariff": tariff} if each["key"] == feature else each for each in BOOK["features"]]
    return {**BOOK, "version": version, "features": features}


def at(text: str) -> datetime:
    """Parse 2026-01-31 or 2026-01-31T12:00."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@dataclass(slots=True)
class Company:
    """One tenant's company over a database, with a clock that tests move by hand."""

    database: Database
    tenant: str = DEFAULT_TENANT
    signer: Signer = SIGNER
    rates: TaxRates = NO_TAX
    directory: PriceBookDirectory = field(default_factory=PriceBookDirectory)

    def found(self, *customers: str, currency: str = "USD", **customer: Any) -> None:
        """Set up the legal entity and customers."""
        with self.database.writing(self.tenant) as uow:
            repository = CustomerRepository(uow)
            repository.save_legal_entity(LegalEntity("main", "Alacarte Test Ltd", "IE", "1 Quay", "IE1", "INV"))
            repository.save(
                [
                    Customer(
                        key,
                        "main",
                        **{"legal_name": f"{key} GmbH", "country": "DE", "currency": currency, **customer},
                    )
                    for key in customers
                ],
                at("2020-01-01"),
            )

    def publish(self, document: Mapping[str, Any] = BOOK) -> str:
        """Publish a price book; return its hash."""
        with self.database.writing(self.tenant) as uow:
            return publish(uow, parse_price_book(dict(document)), self.signer, at("2020-01-01"), "test").content_hash

    def subscribe(
        self,
        customer: str,
        book_hash: str,
        selection: Mapping[str, str],
        starts: str = "2026-01-01",
        *,
        id: str | None = None,
        trial_days: int = 0,
        currency: str = "USD",
        **agreement: Any,
    ) -> Subscription:
        """Start a subscription."""
        chosen = {key: Decimal(quantity) for key, quantity in selection.items()}
        terms = Agreement(book_hash=book_hash, selection=chosen, **{"cycle": MONTHLY, **agreement})
        with self.database.writing(self.tenant) as uow:
            return start(
                uow, id or f"sub-{customer}", customer, currency, terms, at(starts), at(starts), trial_days=trial_days
            )

    def subscription(self, subscription: str) -> Subscription:
        """Read a subscription."""
        with self.database.reading(self.tenant) as uow:
            return SubscriptionRepository(uow).get(subscription)

    def ingest(self, events: Sequence[Mapping[str, Any]], now: str) -> list[Outcome]:
        """Send events."""
        body = json.dumps(list(events)).encode()
        with self.database.writing(self.tenant) as uow:
            return ingest(uow, parse_batch(body, at(now)), self.directory, at(now))

    def close(
        self, period: str, now: str, *, meanwhile: Callable[[], object] | None = None, **options: Any
    ) -> CloseResult:
        """Close a month; `meanwhile` happens after each bucket is read and before it is posted."""
        executor = None if meanwhile is None else Meanwhile(meanwhile)
        close_options = CloseOptions(**{"rates": self.rates, **options})
        return close(self.database, self.tenant, period, at(now), close_options, executor=executor)

    def invoices(self, customer: str) -> list[Invoice]:
        """Return a customer's invoices, oldest first."""
        with self.database.reading(self.tenant) as uow:
            return InvoiceRepository(uow).of_customer(customer)


@dataclass(frozen=True)
class Meanwhile(InTurn):
    """Does something between what a close reads and what it posts."""

    act: Callable[[], object]

    def run(self, tasks: Sequence[CloseTask], database: Database) -> Iterator[CloseOutcome]:
        """Yield one outcome a task."""
        for outcome in super().run(tasks, database):
            self.act()
            yield outcome


def make(company: Company, change: Change) -> Subscription:
    """Record a change that was worked out."""
    with company.database.writing(company.tenant) as uow:
        return record(uow, change)


def event(number: int | str, customer: str, when: str, tokens: int | str = 1, **data: Any) -> dict[str, Any]:
    """Return one usage event in CloudEvents shape."""
    moment = at(when).isoformat().replace("+00:00", "Z")
    return {
        "specversion": "1.0",
        "id": f"e{number}",
        "source": "test",
        "type": "llm.request",
        "subject": customer,
        "time": moment,
        "data": {"tokens": tokens, **data},
    }
