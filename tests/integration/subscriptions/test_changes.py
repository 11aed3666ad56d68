"""Subscriptions change in the middle of things; what is billed is what each day was worth."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from functools import partial

import pytest

from billing.chart_of_accounts import Account
from billing.closing import reopen
from billing.coupons import define_coupon, grant_coupon
from billing.database import Database
from billing.invoicing import void
from billing.ledger import balance
from billing.phases import Thresholds
from billing.previews import preview_change, preview_invoices
from billing.progressive import bill_thresholds
from billing.repositories.price_books import PriceBookRepository
from billing.subscriptions import (
    Who,
    add_feature,
    cancel,
    change_quantity,
    downgrade,
    drop_feature,
    move_to_book,
    pause,
    resume,
    unschedule,
    upgrade,
)
from billing.verification import verify
from models.values.errors import ConflictError, RuleBrokenError
from pricing_engine.coupons import parse_coupon
from pricing_engine.price_book import PriceBook
from tests.billing_story import BOOK, NO_TAX, Company, at, event, make, repriced

WHO = Who(recorded_at=at("2026-01-02"), actor="ann", reason="asked for")


@pytest.fixture
def company(database: Database) -> Company:
    company = Company(database)
    company.found("acme")
    return company


def book_of(company: Company, book_hash: str) -> PriceBook:
    with company.database.reading(company.tenant) as uow:
        return PriceBookRepository(uow).get(book_hash).book


def amounts(company: Company, position: int = -1) -> list[tuple[str, Decimal, str]]:
    """Feature, exact amount and first day of each line of an invoice."""
    lines = company.invoices("acme")[position].lines
    return [(line.feature, line.exact, line.service.start.date().isoformat()) for line in lines]


def test_a_quantity_changed_within_the_month_is_billed_by_the_day(company: Company) -> None:
    book = company.publish()
    subscription = company.subscribe("acme", book, {"seats": "31"})
    make(company, change_quantity(subscription, book_of(company, book), "seats", Decimal(62), at("2026-01-11"), WHO))
    company.close("2026-01", "2026-02-01T01:00")
    # 31 seats for 10 of 31 days, 62 for 21; 10 a seat.
    assert amounts(company) == [("seats", Decimal(100), "2026-01-01"), ("seats", Decimal(420), "2026-01-11")]


def test_what_is_changed_again_on_the_same_day_leaves_no_line(company: Company) -> None:
    book = company.publish()
    prices = book_of(company, book)
    subscription = company.subscribe("acme", book, {"seats": "31", "sso": "1"}, "2026-01-01T08:00")
    for hour, seats in ((9, 40), (10, 50), (11, 62)):
        moment = at(f"2026-01-11T{hour:02}:00")
        subscription = make(company, change_quantity(subscription, prices, "seats", Decimal(seats), moment, WHO))
    make(company, drop_feature(subscription, prices, "sso", at("2026-01-11T12:00"), WHO))
    company.close("2026-01", "2026-02-01T01:00")
    assert amounts(company) == [
        ("seats", Decimal(90), "2026-01-01"),
        ("sso", Decimal(180), "2026-01-01"),
        ("seats", Decimal(420), "2026-01-11"),
    ]


def test_features_come_and_go_and_the_bundle_with_them(company: Company) -> None:
    book = company.publish()
    subscription = company.subscribe("acme", book, {"seats": "31"})
    prices = book_of(company, book)
    subscription = make(company, add_feature(subscription, prices, "sso", Decimal(1), at("2026-01-11"), WHO))
    make(company, drop_feature(subscription, prices, "sso", at("2026-01-21"), WHO))
    company.close("2026-01", "2026-02-01T01:00")
    # The team bundle takes 10 percent off both while both are there: 10 of 31 days.
    assert amounts(company) == [
        ("seats", Decimal(100), "2026-01-01"),
        ("seats", Decimal(90), "2026-01-11"),
        ("sso", Decimal(180), "2026-01-11"),
        ("seats", Decimal(110), "2026-01-21"),
    ]


def test_an_upgrade_credits_what_was_billed_ahead_and_recognises_the_rest(company: Company) -> None:
    book = company.publish()
    subscription = company.subscribe("acme", book, {"support": "1"})
    company.close("2026-01", "2026-02-01T01:00")
    assert amounts(company) == [("support", Decimal(62), "2026-01-01"), ("support", Decimal(62), "2026-02-01")]
    second = company.publish(repriced("support", {"model": "flat", "amount": "124"}))
    moved = subscription.phases[0].agreement
    agreement = type(moved)(book_hash=second, selection=moved.selection, cycle=moved.cycle)
    make(company, upgrade(company.subscription(subscription.id), agreement, at("2026-02-15"), Who(at("2026-02-15"))))
    company.close("2026-02", "2026-03-01T01:00")
    assert amounts(company) == [
        ("support", Decimal(-31), "2026-02-15"),
        ("support", Decimal(62), "2026-02-15"),
        ("support", Decimal(124), "2026-03-01"),
    ]
    with company.database.reading(company.tenant) as uow:
        assert balance(uow, Account("deferred_revenue", "USD", "acme", "support")) == -124 * 10**8
        assert balance(uow, Account("revenue", "USD", "", "support")) == -(62 + 31 + 62) * 10**8
        assert verify(uow).is_sound


def test_a_downgrade_waits_for_the_period_end_and_can_be_taken_back(company: Company) -> None:
    book = company.publish()
    subscription = company.subscribe("acme", book, {"seats": "4"})
    agreement = subscription.phases[0].agreement
    fewer = type(agreement)(book_hash=book, selection={"seats": Decimal(1)}, cycle=agreement.cycle)
    subscription = make(company, downgrade(subscription, fewer, at("2026-01-10"), WHO))
    assert subscription.in_force()[-1].starts_at == at("2026-02-01")
    kept = make(company, unschedule(subscription, at("2026-01-12"), WHO))
    assert kept.ends_at is None
    company.close("2026-01", "2026-02-01T01:00")
    company.close("2026-02", "2026-03-01T01:00")
    assert [invoice.exact for invoice in company.invoices("acme")] == [Decimal(40), Decimal(40)]


def test_a_pause_bills_nothing_and_usage_in_it_is_not_counted(company: Company) -> None:
    book = company.publish()
    subscription = company.subscribe("acme", book, {"seats": "31", "tokens": "1"})
    subscription = make(company, pause(subscription, at("2026-01-11"), WHO))
    make(company, resume(subscription, at("2026-01-21"), WHO))
    company.ingest([event(day, "acme", f"2026-01-{day:02d}", 100) for day in (5, 15, 25)], "2026-01-30")
    company.close("2026-01", "2026-02-01T01:00")
    found = {(feature, start): exact for feature, exact, start in amounts(company)}
    assert found[("seats", "2026-01-01")] == Decimal(100)
    assert found[("seats", "2026-01-21")] == Decimal(110)
    assert sum(exact for (feature, _), exact in found.items() if feature == "tokens") == Decimal("0.6")


def test_a_cancellation_ends_now_or_with_the_period(company: Company) -> None:
    book = company.publish()
    now = company.subscribe("acme", book, {"seats": "31"}, id="now")
    later = company.subscribe("acme", book, {"sso": "1"}, id="later")
    make(company, cancel(now, at("2026-01-11"), WHO))
    make(company, cancel(later, at("2026-01-11"), WHO, at_period_end=True))
    company.close("2026-01", "2026-02-01T01:00")
    # Single sign-on alone costs no more than the team bundle with its one least seat: 90 percent of 630.
    assert sorted(amounts(company)) == [("seats", Decimal(100), "2026-01-01"), ("sso", Decimal(567), "2026-01-01")]
    company.close("2026-02", "2026-03-01T01:00")
    assert len(company.invoices("acme")) == 1
    with pytest.raises(RuleBrokenError) as refused:
        pause(company.subscription("now"), at("2026-01-20"), WHO)
    assert refused.value.code == "subscription_not_running"


def test_what_has_ended_by_then_is_not_changed_and_stays_ended(company: Company) -> None:
    book = company.publish()
    subscription = company.subscribe("acme", book, {"seats": "4"})
    subscription = make(company, cancel(subscription, at("2026-01-11"), WHO, at_period_end=True))
    changed = partial(change_quantity, subscription, book_of(company, book), "seats", Decimal(1))
    for attempt in (
        lambda: changed(at("2026-02-01"), WHO),
        lambda: downgrade(subscription, subscription.phases[0].agreement, at("2026-01-12"), WHO),
        lambda: pause(subscription, at("2026-02-01"), WHO),
    ):
        with pytest.raises(RuleBrokenError) as refused:
            attempt()
        assert refused.value.code == "subscription_not_running"
    again = cancel(subscription, at("2026-01-12"), WHO, at_period_end=True)
    assert make(company, again).ends_at == at("2026-02-01")


def test_moving_to_another_book_rates_each_side_at_its_prices(company: Company) -> None:
    first = company.publish()
    subscription = company.subscribe("acme", first, {"tokens": "1"})
    second = company.publish(repriced("tokens", {"model": "unit", "unit_amount": "0.001"}))
    make(company, move_to_book(subscription, second, book_of(company, second), at("2026-01-16"), WHO))
    company.ingest([event(1, "acme", "2026-01-10", 100), event(2, "acme", "2026-01-20", 100)], "2026-01-21")
    company.close("2026-01", "2026-02-01T01:00")
    assert amounts(company) == [("tokens", Decimal("0.3"), "2026-01-01"), ("tokens", Decimal("0.1"), "2026-01-16")]


def test_tiers_run_on_over_a_change_that_leaves_their_price_alone(company: Company) -> None:
    book = company.publish()
    subscription = company.subscribe("acme", book, {"tokens": "1", "seats": "1"})
    make(company, change_quantity(subscription, book_of(company, book), "seats", Decimal(2), at("2026-01-16"), WHO))
    company.ingest([event(1, "acme", "2026-01-10", 900), event(2, "acme", "2026-01-20", 300)], "2026-01-21")
    company.close("2026-01", "2026-02-01T01:00")
    tokens = [exact for feature, exact, _ in amounts(company) if feature == "tokens"]
    assert tokens == [Decimal("2.7"), Decimal("0.3") + Decimal("0.42")]


def test_a_meter_that_reads_something_else_counts_from_the_move_on(company: Company) -> None:
    meters = [{**each, "event_type": "llm.v2"} if each["key"] == "tokens" else each for each in BOOK["meters"]]
    first, second = company.publish(), company.publish({**BOOK, "version": 2, "meters": meters})
    subscription = company.subscribe("acme", first, {"tokens": "1"})
    make(company, move_to_book(subscription, second, book_of(company, second), at("2026-01-16"), WHO))
    company.ingest(
        [event(1, "acme", "2026-01-10", 900), {**event(2, "acme", "2026-01-20", 300), "type": "llm.v2"},
         event(3, "acme", "2026-01-21", 7000)], "2026-01-22"
    )  # fmt: skip
    company.close("2026-01", "2026-02-01T01:00")
    assert amounts(company) == [("tokens", Decimal("2.7"), "2026-01-01"), ("tokens", Decimal("0.9"), "2026-01-16")]


def test_a_trial_is_free_of_all_but_usage(company: Company) -> None:
    book = company.publish()
    company.subscribe("acme", book, {"tokens": "1", "seats": "31"}, trial_days=10)
    company.ingest([event(1, "acme", "2026-01-05", 100)], "2026-01-21")
    company.close("2026-01", "2026-02-01T01:00")
    assert amounts(company) == [("tokens", Decimal("0.3"), "2026-01-01"), ("seats", Decimal(210), "2026-01-11")]


def test_a_change_in_a_closed_month_becomes_a_correction(company: Company) -> None:
    book = company.publish()
    subscription = company.subscribe("acme", book, {"seats": "31"})
    company.close("2026-01", "2026-02-01T01:00")
    late = Who(recorded_at=at("2026-02-10"))
    make(
        company, change_quantity(subscription, book_of(company, book), "seats", Decimal(0 + 1), at("2026-01-21"), late)
    )
    company.close("2026-02", "2026-03-01T01:00")
    found = amounts(company)
    correction = company.invoices("acme")[1].lines[0]
    assert correction.corrects == "2026-01/1/acme/USD"
    assert correction.exact == Decimal(-110)
    assert found[-1] == ("seats", Decimal(10), "2026-02-01")


def test_two_changes_worked_out_from_one_state_do_not_both_go_in(company: Company) -> None:
    book = company.publish()
    subscription = company.subscribe("acme", book, {"seats": "1"})
    prices = book_of(company, book)
    make(company, change_quantity(subscription, prices, "seats", Decimal(2), at("2026-01-11"), WHO))
    with pytest.raises(ConflictError) as refused:
        make(company, change_quantity(subscription, prices, "seats", Decimal(3), at("2026-01-12"), WHO))
    assert refused.value.code == "subscription_changed"


def test_a_preview_says_what_the_close_will_bill_and_writes_nothing(company: Company) -> None:
    book = company.publish()
    subscription = company.subscribe("acme", book, {"seats": "31", "tokens": "1"})
    company.ingest([event(1, "acme", "2026-01-05", 100)], "2026-01-06")
    change = change_quantity(subscription, book_of(company, book), "seats", Decimal(62), at("2026-01-11"), WHO)
    with company.database.reading(company.tenant) as uow:
        preview = preview_change(uow, change, date(2026, 2, 1), at("2026-01-31"), NO_TAX)
    assert preview.difference_minor == {"USD": 21000}
    assert company.invoices("acme") == []
    make(company, change)
    company.close("2026-01", "2026-02-01T01:00")
    billed = company.invoices("acme")[0]
    assert [line.exact for line in billed.lines] == [line.exact for line in preview.after[0].lines]
    with company.database.reading(company.tenant) as uow:
        assert preview_invoices(uow, "acme", date(2026, 2, 1), at("2026-02-02"), rates=NO_TAX) == ()


def test_a_preview_counts_a_late_event_that_a_clock_ahead_of_ours_recorded(company: Company) -> None:
    book = company.publish()
    company.subscribe("acme", book, {"tokens": "1"})
    company.close("2026-01", "2026-02-01T01:00")
    company.ingest([event(1, "acme", "2026-01-05", 500)], "2026-02-10T03:00")
    with company.database.reading(company.tenant) as uow:
        (late,) = preview_invoices(uow, "acme", date(2026, 3, 1), at("2026-02-10T01:00"), rates=NO_TAX)
    company.close("2026-02", "2026-03-01T01:00")
    assert [line.exact for line in company.invoices("acme")[-1].lines] == [line.exact for line in late.lines]


def test_a_preview_takes_up_what_a_void_let_go(company: Company) -> None:
    book = company.publish()
    company.subscribe("acme", book, {"seats": "2"})
    company.close("2026-01", "2026-02-01T01:00")
    with company.database.writing(company.tenant) as uow:
        void(uow, company.invoices("acme")[0].id, "wrong address", at("2026-02-02"))
    with company.database.reading(company.tenant) as uow:
        (seen,) = preview_invoices(uow, "acme", date(2026, 3, 1), at("2026-02-10"), rates=NO_TAX)
        change = change_quantity(
            company.subscription("sub-acme"), book_of(company, book), "seats", Decimal(3), at("2026-02-01"), WHO
        )
        assert preview_change(uow, change, date(2026, 3, 1), at("2026-02-10"), NO_TAX).difference_minor == {"USD": 1000}
    company.close("2026-02", "2026-03-01T01:00")
    [_, taken] = company.invoices("acme")
    assert [line.exact for line in taken.lines] == [line.exact for line in seen.lines] == [Decimal(20), Decimal(20)]


def test_a_minimum_spend_is_topped_up_by_the_part_of_the_period(company: Company) -> None:
    book = company.publish()
    company.subscribe("acme", book, {"seats": "1"}, starts="2026-01-22", minimum_spend=Decimal(310))
    company.close("2026-01", "2026-02-01T01:00")
    (seats, exact, _), (commitment, missing, _) = amounts(company)
    assert (seats, commitment) == ("seats", "commitment")
    assert exact + missing == Decimal(100)


def test_a_threshold_brings_the_invoice_forward_and_the_close_bills_the_rest(company: Company) -> None:
    book = company.publish()
    company.subscribe("acme", book, {"tokens": "1"}, thresholds=Thresholds((Decimal(2),)))
    company.ingest([event(1, "acme", "2026-01-05", 500)], "2026-01-05T01:00")
    with company.database.writing(company.tenant) as uow:
        assert bill_thresholds(uow, "acme", at("2026-01-06"), at("2026-01-06"), NO_TAX) == []
    company.ingest([event(2, "acme", "2026-01-07", 300)], "2026-01-07T01:00")
    for _ in range(2):
        with company.database.writing(company.tenant) as uow:
            bill_thresholds(uow, "acme", at("2026-01-08"), at("2026-01-08"), NO_TAX)
    company.ingest([event(3, "acme", "2026-01-09", 400)], "2026-01-09T01:00")
    company.close("2026-01", "2026-02-01T01:00")
    assert [invoice.exact for invoice in company.invoices("acme")] == [Decimal("2.4"), Decimal("0.6") + Decimal("0.42")]


def test_coupons_take_off_before_tax_and_end_when_used_up(company: Company) -> None:
    book = company.publish()
    company.subscribe("acme", book, {"seats": "3", "sso": "1"})
    with company.database.writing(company.tenant) as uow:
        coupon = parse_coupon({"key": "welcome", "percent_off": "50", "duration": "once", "features": ["seats"]})
        define_coupon(uow, coupon, None, at("2026-01-01"))
        grant_coupon(uow, "acme", "welcome", at("2026-01-01"), at("2026-01-01"))
    company.close("2026-01", "2026-02-01T01:00")
    company.close("2026-02", "2026-03-01T01:00")
    january, february = company.invoices("acme")
    assert [(line.kind.value, line.exact) for line in january.lines] == [
        ("recurring", Decimal(27)),
        ("recurring", Decimal(558)),
        ("coupon", Decimal("-13.5")),
    ]
    assert february.exact == Decimal(585)


def test_one_invoice_covers_all_subscriptions_of_a_customer(company: Company) -> None:
    book = company.publish()
    company.subscribe("acme", book, {"seats": "1"}, id="a")
    company.subscribe("acme", book, {"sso": "1"}, id="b")
    company.close("2026-01", "2026-02-01T01:00")
    (invoice,) = company.invoices("acme")
    assert {line.subscription for line in invoice.lines} == {"a", "b"}


def test_a_reopened_month_bills_only_what_has_changed_and_says_who_and_why(company: Company) -> None:
    book = company.publish()
    company.subscribe("acme", book, {"tokens": "1"})
    company.ingest([event(1, "acme", "2026-01-05", 100)], "2026-01-06")
    company.close("2026-01", "2026-02-01T01:00")
    with company.database.writing(company.tenant) as uow:
        reopen(uow, "2026-01", "a feed was missing", "ann", at("2026-02-02"))
    company.ingest([event(2, "acme", "2026-01-20", 50)], "2026-02-03")
    company.close("2026-01", "2026-02-04")
    first, second = company.invoices("acme")
    assert (first.exact, second.exact) == (Decimal("0.3"), Decimal("0.15"))
    assert second.number == "INV-2026-000002"
    with pytest.raises(RuleBrokenError), company.database.writing(company.tenant) as uow:
        reopen(uow, "2025-12", "never closed", "ann", at("2026-02-05"))
