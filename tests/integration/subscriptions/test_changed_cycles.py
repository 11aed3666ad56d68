"""The billing cycle changes where periods are billed already: none is billed twice, none is taken back."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from billing.books_checks import BOOKS_CHECKS
from billing.credit_notes import CreditRequest, issue_credit_note
from billing.database import Database
from billing.phases import Thresholds
from billing.progressive import bill_thresholds
from billing.subscriptions import Who, cancel, change_cycle, change_selection, downgrade, unschedule
from billing.verification import verify
from models.values.errors import InvalidValueError
from models.values.period import BillingCycle, Interval
from pricing_engine.price_book import parse_price_book
from tests.billing_story import BOOK, NO_TAX, UTC_ZONE, Company, at, event, make

QUARTERLY = BillingCycle.calendar(Interval.QUARTER, UTC_ZONE)


@pytest.fixture
def company(database: Database) -> Company:
    company = Company(database)
    company.found("acme")
    return company


def billed(company: Company) -> list[tuple[str, list[Decimal]]]:
    """Month and amounts of each invoice, of books that are sound."""
    with company.database.reading(company.tenant) as uow:
        assert verify(uow, BOOKS_CHECKS).findings == ()
    return [(each.period, [line.exact for line in each.lines]) for each in company.invoices("acme")]


def test_a_longer_cycle_counts_what_shorter_ones_billed(company: Company) -> None:
    subscription = company.subscribe("acme", company.publish(), {"seats": "1"})
    company.close("2026-01", "2026-02-01T01:00")
    make(company, change_cycle(subscription, QUARTERLY, at("2026-01-01"), Who(at("2026-02-03"))))
    company.close("2026-02", "2026-03-01T01:00")
    company.close("2026-03", "2026-04-01T01:00")
    company.close("2026-04", "2026-05-01T01:00")
    assert billed(company) == [("2026-01", [Decimal(10)])]


def test_a_cycle_of_another_length_asks_what_the_minimum_spend_is_from_then_on(company: Company) -> None:
    subscription = company.subscribe("acme", company.publish(), {"tokens": "1"}, minimum_spend=Decimal(100))
    company.close("2026-01", "2026-02-01T01:00")
    who = Who(at("2026-02-01T02:00"))
    with pytest.raises(InvalidValueError, match="is 100 a month: say what it is a quarter") as refused:
        change_cycle(subscription, QUARTERLY, at("2026-02-01"), who)
    assert (refused.value.field, refused.value.code) == ("minimum_spend", "minimum_spend_required")
    from_the_20th = BillingCycle.on_day(Interval.MONTH, UTC_ZONE, 20, at("2026-02-01"))
    kept = change_cycle(subscription, from_the_20th, at("2026-02-01"), who)
    assert kept.phases[0].agreement.minimum_spend == 100
    make(company, change_cycle(subscription, QUARTERLY, at("2026-04-01"), who, minimum_spend=Decimal(270)))
    for month, now in (("2026-03", "2026-04-01T01:00"), ("2026-06", "2026-07-01T01:00")):
        company.close(month, now)
    assert [sum(lines) for _, lines in billed(company)] == [100, 200, 270]


def test_a_downgrade_that_is_scheduled_goes_on_in_the_new_cycle(company: Company) -> None:
    subscription = company.subscribe("acme", company.publish(), {"seats": "9"})
    who = Who(at("2026-01-10"))
    fewer = replace(subscription.phases[0].agreement, selection={"seats": Decimal(3)})
    subscription = make(company, downgrade(subscription, fewer, at("2026-01-10"), who))
    after = make(company, change_cycle(subscription, QUARTERLY, at("2026-01-10"), who, minimum_spend=Decimal(9)))
    now, later = after.in_force()[1:]
    assert [now.agreement.selection, later.agreement.selection] == [{"seats": 9}, {"seats": 3}]
    assert later.starts_at == at("2026-02-01")
    for phase in (now, later):
        assert (phase.agreement.cycle, phase.agreement.minimum_spend) == (QUARTERLY, 9)


def test_what_a_longer_cycle_leaves_out_is_taken_back(company: Company) -> None:
    subscription = company.subscribe("acme", company.publish(), {"seats": "1", "sso": "1"})
    company.close("2026-01", "2026-02-01T01:00")
    who = Who(at("2026-02-03"))
    make(company, change_cycle(subscription, QUARTERLY, at("2026-01-01"), who))
    changed = company.subscription(subscription.id)
    make(company, change_selection(changed, parse_price_book(BOOK), {"sso": Decimal(1)}, at("2026-01-01"), who))
    company.close("2026-02", "2026-03-01T01:00")
    company.close("2026-03", "2026-04-01T01:00")
    january, later = billed(company)
    assert january == ("2026-01", [Decimal(9), Decimal(558)])
    # Alone it comes to no more than the bundle of both: 567.
    assert later == ("2026-03", [Decimal(567 - 558), Decimal(-9)])


def test_a_threshold_after_a_new_anchor_bills_usage_alone(company: Company) -> None:
    """The first period to the new anchor is a part of one that begins in the month that was billed."""
    subscription = company.subscribe(
        "acme", company.publish(), {"seats": "10", "tokens": "1"}, thresholds=Thresholds((Decimal(1),))
    )
    company.close("2026-01", "2026-02-01T01:00")
    from_the_20th = BillingCycle.on_day(Interval.MONTH, UTC_ZONE, 20, at("2026-02-03"))
    make(company, change_cycle(subscription, from_the_20th, at("2026-02-03"), Who(at("2026-02-03"))))
    company.ingest([event(1, "acme", "2026-02-05", 1000)], "2026-02-05T01:00")
    with company.database.writing(company.tenant) as uow:
        bill_thresholds(uow, "acme", at("2026-02-06"), at("2026-02-06"), NO_TAX)
    company.close("2026-02", "2026-03-01T01:00")
    assert billed(company)[:2] == [("2026-01", [Decimal(100)]), ("2026-02", [Decimal(3)])]


@pytest.mark.parametrize("is_dropped", [True, False])
def test_a_zone_to_come_leaves_what_is_over_in_the_zone_of_its_time(company: Company, is_dropped: bool) -> None:
    subscription = company.subscribe("acme", company.publish(), {"seats": "1", "tokens": "1"})
    company.ingest([event(1, "acme", "2026-01-10", 1000)], "2026-01-11")
    berlin = BillingCycle.calendar(Interval.MONTH, ZoneInfo("Europe/Berlin"))
    subscription = make(company, change_cycle(subscription, berlin, at("2026-03-01"), Who(at("2026-01-20"))))
    company.close("2026-01", "2026-02-01T12:00")
    assert billed(company) == [("2026-01", [Decimal(3), Decimal(10)])]
    if is_dropped:
        make(company, unschedule(subscription, at("2026-02-01T13:00"), Who(at("2026-02-01T13:00"))))
    company.close("2026-02", "2026-03-01T12:00")
    company.close("2026-03", "2026-04-01T12:00")
    assert [sum(lines) for _, lines in billed(company)] == [13, 10, 10]


def test_a_zone_that_is_replaced_loses_no_month(company: Company) -> None:
    """Berlin from February on, and on the tenth New York: January's close left what was in neither's January."""
    subscription = company.subscribe("acme", company.publish(), {"seats": "1"})

    def to(zone: str, day: str, recorded: str) -> None:
        cycle = BillingCycle.calendar(Interval.MONTH, ZoneInfo(zone))
        make(company, change_cycle(company.subscription(subscription.id), cycle, at(day), Who(at(recorded))))

    to("Europe/Berlin", "2026-02-01", "2026-01-20")
    company.close("2026-01", "2026-02-01T12:00")
    to("America/New_York", "2026-02-10", "2026-02-10")
    company.close("2026-02", "2026-03-01T12:00")
    company.close("2026-03", "2026-04-01T12:00")
    whole = sum(sum(lines) for _, lines in billed(company))
    assert abs(whole - 30) < Decimal("0.4")  # A part of a day lies between the zones' midnights.


def test_two_cycles_that_begin_at_once_are_two_periods_of_what_is_credited(company: Company) -> None:
    """A quarter and a year begin with January: a note on the one says nothing of the other."""
    book = company.publish()
    prices = parse_price_book(BOOK)
    company.subscribe("acme", book, {"seats": "1", "support": "1"}, cycle=QUARTERLY)
    company.close("2025-12", "2026-01-01T01:00")
    [invoice] = company.invoices("acme")
    with company.database.writing(company.tenant) as uow:
        issue_credit_note(uow, CreditRequest("k", invoice.id, "gift", date(2026, 1, 3)), at("2026-01-03"))

    def to(day: str, recorded: str, **selection: int) -> None:
        chosen = {key: Decimal(quantity) for key, quantity in selection.items()}
        make(company, change_selection(company.subscription("sub-acme"), prices, chosen, at(day), Who(at(recorded))))

    to("2026-02-11", "2026-02-11", seats=1)
    for month, now in (("2026-02", "2026-03-01T01:00"), ("2026-03", "2026-04-01T01:00")):
        company.close(month, now)
    yearly = BillingCycle.calendar(Interval.YEAR, UTC_ZONE)
    make(company, change_cycle(company.subscription("sub-acme"), yearly, at("2026-04-13"), Who(at("2026-04-13"))))
    company.close("2026-04", "2026-05-01T01:00")
    to("2026-05-27", "2026-05-27", seats=1, support=1)
    company.close("2026-05", "2026-06-01T01:00")
    to("2026-02-12", "2026-06-10", seats=2)
    company.close("2026-06", "2026-07-01T01:00")
    support = [line.exact for each in company.invoices("acme") for line in each.lines if line.feature == "support"]
    assert sum(support) == 62 + Decimal("37.2")  # The 62 that a note gave back, and what was added in May.


@pytest.mark.parametrize("interval", [Interval.DAY, Interval.WEEK, Interval.MONTH])
def test_a_threshold_counts_usage_of_every_period_that_no_close_billed(company: Company, interval: Interval) -> None:
    """Four days of 30 dollars reach a hundred, however short the periods are, and though it is cancelled."""
    cycle = BillingCycle.calendar(interval, UTC_ZONE)
    subscription = company.subscribe(
        "acme", company.publish(), {"tokens": "1"}, cycle=cycle, thresholds=Thresholds((Decimal(100),))
    )
    for day in (9, 10, 11, 12):
        company.ingest([event(day, "acme", f"2026-01-{day:02}T12:00", 14_000)], f"2026-01-{day:02}T12:01")
    make(company, cancel(subscription, at("2026-01-12T13:00"), Who(at("2026-01-12T13:00"))))
    with company.database.writing(company.tenant) as uow:
        [invoice] = bill_thresholds(uow, "acme", at("2026-01-13"), at("2026-01-13"), NO_TAX)
    assert invoice.exact > 100
    company.close("2026-01", "2026-02-01T01:00")
    assert billed(company) == [("2026-01", [line.exact for line in invoice.lines])]
