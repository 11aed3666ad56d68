"""Telling several companies the same: they have to answer alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from billing.chart_of_accounts import Account
from billing.unit_of_work import UnitOfWork
from models.values.errors import DomainError
from tests.billing_story import Company
from tests.state_machine import model as m

CUSTOMERS = ["acme", "bolt"]
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
TICK = timedelta(minutes=1)
T = TypeVar("T")

customers = st.sampled_from(CUSTOMERS)
seats = st.integers(1, 4)
tokens = st.one_of(st.integers(0, 2_000), st.integers(0, 20).map(lambda each: each * 500))
shares = st.sampled_from([Fraction(1), Fraction(1, 2), Fraction(1, 3), Fraction(3, 2)])
picks = st.integers(0, 10**6)
WALLET_ACCOUNTS = (("wallet", "", "paid"), ("units_held", "promo:", "promotional"))
OWED = ("finalised", "paid", "uncollectible")


def chosen(of: Sequence[T], pick: int) -> T:
    """Choose one of several."""
    return of[pick % len(of)]


def book(code: str) -> dict[str, Any]:
    """The price book that `model` knows by heart."""
    return {
        "key": "gateway", "version": 1, "currency": code, "effective_from": "2020-01-01T00:00:00Z",
        "meters": [{"key": "tokens", "event_type": "llm.request", "aggregation": "sum", "value_property": "tokens"}],
        "features": [
            {"key": "tokens", "name": "Tokens", "kind": "metered", "meter": "tokens",
             "tariff": {"model": "graduated", "tiers": [
                 {"up_to": "1000", "unit_amount": "0.003"}, {"up_to": None, "unit_amount": "0.0021"}]}},
            {"key": "seats", "name": "Seats", "kind": "quantity", "tariff": {"model": "unit", "unit_amount": "10"}},
            {"key": "support", "name": "Support", "kind": "switch", "billed": "advance",
             "tariff": {"model": "flat", "amount": "62"}},
        ],
    }  # fmt: skip


class Telling(RuleBasedStateMachine):
    """Companies that are told the same, and what was told so far. `open_companies` says where their books are kept."""

    open_companies: Callable[[], Sequence[Company]]

    def __init__(self) -> None:
        super().__init__()
        self.companies = type(self).open_companies()
        self.now = FIRST + timedelta(hours=9)
        self.counter = 0
        self.closed: list[datetime] = []
        self.reopened = False
        self.known: list[tuple[datetime, dict[Account, int]]] = []

    # Telling.

    def tell(self, act: Callable[[Company], T]) -> T:
        """Do the same in every company; all answer alike."""
        self.now += TICK
        first, *others = [act(company) for company in self.companies]
        assert all(other == first for other in others)
        return first

    def write(self, work: Callable[[UnitOfWork], T]) -> T:
        """Do work in a transaction of every company."""

        def act(company: Company) -> T:
            with company.database.writing(company.tenant) as uow:
                return work(uow)

        return self.tell(act)

    def refusal(self, work: Callable[[UnitOfWork], object]) -> str | None:
        """Do work that may be refused; return the code of the refusal."""

        def act(company: Company) -> str | None:
            try:
                with company.database.writing(company.tenant) as uow:
                    work(uow)
            except DomainError as error:
                return error.code
            return None

        return self.tell(act)

    def next_id(self, prefix: str) -> str:
        """Return an id that was not used."""
        self.counter += 1
        return f"{prefix}{self.counter}"

    def issued(self, *states: str) -> list[m.Invoice]:
        """Return the invoices in one of some states, in the order of their numbers."""
        return sorted((each for each in self.model.invoices.values() if each.state in states), key=lambda x: x.order)
