"""A pause lasts until it is ended, whatever else changes before it, in it and after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from billing.database import Database
from billing.phases import Agreement, PhaseState, Subscription
from billing.repositories.price_books import PriceBookRepository
from billing.subscriptions import (
    Change,
    Who,
    add_feature,
    change_cycle,
    change_quantity,
    downgrade,
    move_to_book,
    pause,
    record,
    resume,
    unschedule,
    upgrade,
)
from models.values.period import BillingCycle, Interval
from pricing_engine.price_book import PriceBook
from tests.billing_story import UTC_ZONE, Company, at, repriced

DEAR = repriced("seats", {"model": "unit", "unit_amount": "12"})


@pytest.fixture
def company(database: Database) -> Company:
    company = Company(database)
    company.found("acme")
    company.subscribe("acme", company.publish(), {"seats": "4"})
    return company


def tell(company: Company, change: Callable[[Subscription, PriceBook, Who], Change], recorded: str) -> Subscription:
    """Record a change of what is there."""
    found = company.subscription("sub-acme")
    with company.database.writing(company.tenant) as uow:
        book = PriceBookRepository(uow).get(found.phases[-1].agreement.book_hash).book
        return record(uow, change(found, book, Who(at(recorded))))


def fewer(subscription: Subscription) -> Agreement:
    return replace(subscription.phases[0].agreement, selection={"seats": Decimal(1)})


def states(subscription: Subscription) -> list[tuple[str, str]]:
    return [(phase.action, phase.state.value) for phase in subscription.in_force()]


def billed(company: Company) -> list[Decimal]:
    company.close("2026-01", "2026-02-01T01:00")
    company.close("2026-02", "2026-03-01T01:00")
    return [invoice.exact for invoice in company.invoices("acme")]


def test_what_was_scheduled_before_a_pause_does_not_end_it(company: Company) -> None:
    tell(company, lambda s, _, who: downgrade(s, fewer(s), at("2026-01-10"), who), "2026-01-10")
    now = tell(company, lambda s, _, who: pause(s, at("2026-01-01"), who), "2026-01-20")
    assert states(now) == [("pause", "paused"), ("downgrade", "paused")]
    assert billed(company) == []
    now = tell(company, lambda s, _, who: resume(s, at("2026-03-01"), who), "2026-03-02")
    company.close("2026-03", "2026-04-01T01:00")
    assert [invoice.exact for invoice in company.invoices("acme")] == [Decimal(10)]


@pytest.mark.parametrize(
    "change",
    [
        lambda s, book, dear, who: change_quantity(s, book[0], "seats", Decimal(9), at("2026-01-16"), who),
        lambda s, book, dear, who: add_feature(s, book[0], "sso", Decimal(1), at("2026-01-16"), who),
        lambda s, book, dear, who: move_to_book(s, *dear, at("2026-01-16"), who),
        lambda s, book, dear, who: upgrade(s, fewer(s), at("2026-01-16"), who),
        lambda s, book, dear, who: downgrade(s, fewer(s), at("2026-01-16"), who),
        lambda s, book, dear, who: unschedule(s, at("2026-01-16"), who),
        lambda s, book, dear, who: change_cycle(
            s, BillingCycle.on_day(Interval.MONTH, UTC_ZONE, 16, at("2026-01-16")), at("2026-01-16"), who
        ),
    ],
    ids=["quantity", "add", "move", "upgrade", "downgrade", "unschedule", "cycle"],
)
def test_a_change_in_a_pause_does_not_end_it(company: Company, change: Callable[..., Change]) -> None:
    tell(company, lambda s, _, who: pause(s, at("2026-01-01"), who), "2026-01-02")
    dear = company.publish(DEAR)
    with company.database.reading(company.tenant) as uow:
        document = PriceBookRepository(uow).get(dear).book
    now = tell(company, lambda s, book, who: change(s, [book], (dear, document), who), "2026-01-16")
    assert {phase.state for phase in now.in_force()} == {PhaseState.PAUSED}
    assert billed(company) == []


def test_a_resumed_subscription_keeps_what_was_scheduled_in_the_pause(company: Company) -> None:
    tell(company, lambda s, _, who: pause(s, at("2026-01-01"), who), "2026-01-02")
    tell(company, lambda s, _, who: downgrade(s, fewer(s), at("2026-01-10"), who), "2026-01-10")
    now = tell(company, lambda s, _, who: resume(s, at("2026-01-01"), who), "2026-01-20")
    assert states(now) == [("resume", "active"), ("downgrade", "active")]
    assert billed(company) == [Decimal(40), Decimal(10)]


def test_a_pause_that_was_to_come_and_its_end_stay_where_they_are(company: Company) -> None:
    tell(company, lambda s, _, who: pause(s, at("2026-03-01"), who), "2026-01-02")
    tell(company, lambda s, _, who: resume(s, at("2026-04-01"), who), "2026-01-02")
    tell(company, lambda s, _, who: pause(s, at("2026-01-01"), who), "2026-01-03")
    now = tell(company, lambda s, book, who: change_quantity(s, book, "seats", Decimal(9), at("2026-01-05"), who),
               "2026-01-05")  # fmt: skip
    assert states(now) == [("pause", "paused"), ("change", "paused"), ("pause", "paused"), ("resume", "active")]
    now = tell(company, lambda s, _, who: resume(s, at("2026-02-01"), who), "2026-01-06")
    assert states(now)[2:] == [("resume", "active"), ("pause", "paused"), ("resume", "active")]
