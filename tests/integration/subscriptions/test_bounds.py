"""The minimum, maximum and commitment of a tariff are of a full period: a part of one has a part of them."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from billing.database import Database
from billing.explanation import explain_line
from billing.phases import Thresholds
from billing.previews import preview_invoices
from billing.progressive import bill_thresholds, reached
from billing.repositories.price_books import PriceBookRepository
from billing.subscriptions import Change, Who, cancel, change_quantity, move_to_book, pause, resume
from models.values.period import BillingCycle, Interval
from tests.billing_story import BOOK, NO_TAX, Company, at, event, make

NOW = "2026-01-30"
UNIT = {"model": "unit", "unit_amount": "1"}
LEAST, MOST = UNIT | {"minimum_spend": "310"}, UNIT | {"maximum_spend": "310"}
LAST = {"model": "volume", "volume_split": "last_only", "tiers": [{"unit_amount": "1"}]}


def _book(version: int, tariff: dict[str, Any], aggregation: str = "sum") -> dict[str, Any]:
    """Return a book of metered use at one tariff, and seats, which say nothing of it."""
    meter = {"key": "use", "event_type": "llm.request", "aggregation": aggregation, "value_property": "tokens"}
    use = {"key": "use", "name": "Use", "kind": "metered", "meter": "use", "tariff": tariff}
    seats = next(each for each in BOOK["features"] if each["key"] == "seats")
    return {**BOOK, "version": version, "meters": [meter], "features": [use, seats], "bundles": []}


@pytest.fixture
def company(database: Database) -> Company:
    company = Company(database)
    company.found("acme")
    return company


def begin(company: Company, tariff: dict[str, Any], starts: str = "2026-01-01", **more: Any) -> None:
    aggregation = more.pop("aggregation", "sum")
    book = company.publish(_book(1, tariff, aggregation))
    company.subscribe("acme", book, {"use": "0", "seats": "1"}, starts, **more)


def use(company: Company, *used: tuple[str, int], now: str = NOW) -> None:
    events = [event(number, "acme", day, tokens) for number, (day, tokens) in enumerate(used)]
    if events:
        company.ingest(events, now)


def change(company: Company, work: Callable[..., Change], *more: object) -> None:
    make(company, work(company.subscription("sub-acme"), *more, Who(at(NOW))))


def billed(company: Company) -> Decimal:
    """Return what January's use comes to."""
    company.close("2026-01", "2026-02-01T01:00")
    return sum(
        (line.exact for invoice in company.invoices("acme") for line in invoice.lines if line.feature == "use"),
        Decimal(0),
    )


def test_a_minimum_counts_by_the_days_of_a_period_that_began_in_the_middle(company: Company) -> None:
    begin(company, LEAST, "2026-01-17")
    use(company, ("2026-01-20", 100))
    assert billed(company) == 150


def test_usage_beyond_the_part_of_a_minimum_is_paid_as_used(company: Company) -> None:
    begin(company, LEAST, "2026-01-17")
    use(company, ("2026-01-20", 160))
    assert billed(company) == 160


def test_a_maximum_counts_by_the_days_until_a_cancellation(company: Company) -> None:
    begin(company, MOST)
    change(company, cancel, at("2026-01-11"))
    use(company, ("2026-01-02", 250))
    assert billed(company) == 100


def test_each_price_has_the_part_of_its_days(company: Company) -> None:
    begin(company, LEAST)
    dear = company.publish(_book(2, UNIT | {"minimum_spend": "620"}))
    with company.database.reading(company.tenant) as uow:
        book = PriceBookRepository(uow).get(dear).book
    change(company, move_to_book, dear, book, at("2026-01-11"))
    assert billed(company) == 100 + 420


def test_a_pause_has_no_minimum_and_no_room(company: Company) -> None:
    begin(company, LEAST)
    change(company, pause, at("2026-01-11"))
    change(company, resume, at("2026-01-21"))
    assert billed(company) == 100 + 110


@pytest.mark.parametrize(("prorated", "due"), [(True, 150), (False, 310)])
def test_a_flat_amount_is_prorated_where_its_tariff_says_so(company: Company, due: int, *, prorated: bool) -> None:
    begin(company, {"model": "flat", "amount": "310", "proration": prorated}, "2026-01-17")
    assert billed(company) == due


def test_a_change_of_something_else_leaves_the_bounds_whole(company: Company) -> None:
    """Used in one part of the month or in the other, it comes to the same."""
    begin(company, MOST)
    with company.database.reading(company.tenant) as uow:
        book = PriceBookRepository(uow).get(company.subscription("sub-acme").phases[0].agreement.book_hash).book
    change(company, change_quantity, book, "seats", Decimal(2), at("2026-01-11"))
    use(company, ("2026-01-02", 300), ("2026-01-12", 300))
    assert billed(company) == 310


def test_a_trial_has_no_minimum(company: Company) -> None:
    begin(company, LEAST, trial_days=60)
    assert billed(company) == 0


def test_a_trial_of_ten_days_leaves_the_minimum_of_the_others(company: Company) -> None:
    begin(company, LEAST, trial_days=10)
    assert billed(company) == 210


def test_a_commitment_counts_as_its_minimum_does(company: Company) -> None:
    committed = UNIT | {"overage": {"commitment": "310", "factor": "2"}, "minimum_spend": "310"}
    begin(company, committed, "2026-01-17")
    use(company, ("2026-01-20", 160))
    assert billed(company) == 150 + 2 * 10


def test_some_hours_of_a_price_that_was_put_right_are_not_free(company: Company) -> None:
    begin(company, MOST)
    right = company.publish(_book(2, UNIT))
    with company.database.reading(company.tenant) as uow:
        book = PriceBookRepository(uow).get(right).book
    change(company, move_to_book, right, book, at("2026-01-01T12:00"))
    use(company, ("2026-01-01T06:00", 5), ("2026-01-01T18:00", 7))
    assert billed(company) == 12


@pytest.mark.parametrize(
    ("tariff", "more", "part"),
    [
        (LEAST, {"starts": "2026-01-17"}, "15/31"),
        (LEAST, {"trial_days": 10}, "21/31"),
        (LEAST | {"maximum_spend": "620"}, {"trial_days": 10}, "31/31, minimum 21/31"),
    ],
)
def test_the_explanation_says_which_part(
    company: Company, tariff: dict[str, Any], more: dict[str, Any], part: str
) -> None:
    begin(company, tariff, **more)
    billed(company)
    (invoice,) = company.invoices("acme")
    with company.database.reading(company.tenant) as uow:
        line = next(line.line for line in invoice.lines if line.feature == "use")
        explained = explain_line(uow, invoice.id, line)
    assert explained.usages[0].row.detail["bounds"] == part


def test_a_preview_is_what_the_close_bills(company: Company) -> None:
    begin(company, LEAST, "2026-01-17")
    use(company, ("2026-01-20", 100))
    with company.database.reading(company.tenant) as uow:
        (preview,) = preview_invoices(uow, "acme", at("2026-02-01").date(), at(NOW), rates=NO_TAX)
    assert sum(line.exact for line in preview.lines if line.feature == "use") == billed(company)


@pytest.mark.parametrize("live", [True, False])
@pytest.mark.parametrize(("tariff", "due"), [(LEAST, 5), (LAST, 0), (MOST, 5)])
def test_what_waits_for_the_end_is_not_due_at_a_threshold(
    company: Company, tariff: dict[str, Any], due: int, *, live: bool
) -> None:
    begin(company, tariff)
    use(company, ("2026-01-03", 5), now="2026-01-04")
    with company.database.reading(company.tenant) as uow:
        charged, _ = reached(uow, "acme", at("2026-01-11"), live=live)
    assert sum(draft.exact for draft in charged.drafts) == due


def test_what_a_threshold_left_of_the_minimum_the_close_bills(company: Company) -> None:
    begin(company, LEAST, thresholds=Thresholds((Decimal(10),), None))
    use(company, ("2026-01-03", 50), now="2026-01-04")
    with company.database.writing(company.tenant) as uow:
        bill_thresholds(uow, "acme", at("2026-01-10"), at("2026-01-10"), NO_TAX)
    assert billed(company) == 310
    assert [[line.exact for line in each.lines if line.feature == "use"] for each in company.invoices("acme")] == [
        [50], [260]
    ]  # fmt: skip


def test_an_end_that_becomes_known_after_the_close_gives_back_its_part(company: Company) -> None:
    begin(company, LEAST)
    use(company, ("2026-01-03", 50))
    assert billed(company) == 310
    make(company, cancel(company.subscription("sub-acme"), at("2026-01-11"), Who(at("2026-02-02"))))
    company.close("2026-02", "2026-03-01T01:00")
    assert [line.exact for line in company.invoices("acme")[1].lines if line.feature == "use"] == [-210]


def test_days_are_those_of_the_subscriptions_zone_when_clocks_change(company: Company) -> None:
    """From midnight in Berlin on the day of 23 hours: three of the 31 days of March."""
    begin(company, LEAST, "2026-03-28T23:00", cycle=BillingCycle.calendar(Interval.MONTH, ZoneInfo("Europe/Berlin")))
    company.close("2026-03", "2026-04-01T01:00")
    (invoice,) = company.invoices("acme")
    assert [line.exact for line in invoice.lines if line.feature == "use"] == [30]


def test_a_reading_below_nothing_leaves_the_month_to_close(company: Company) -> None:
    begin(company, UNIT, aggregation="latest")
    use(company, ("2026-01-03", 5), ("2026-01-04", -5))
    assert billed(company) == 0


class TestSeatsByEvents:
    """Seats that come and go by events fill tiers as a level and cost the part of the period that they are there."""

    TIERS = (
        {"up_to": "5", "unit_amount": "10", "flat_amount": "100"},
        {"up_to": "15", "unit_amount": "5", "flat_amount": "50"},
        {"unit_amount": "2", "flat_amount": "0"},
    )
    """Lago's story of September 2023, 30 days: what it had come to by each event."""

    STORY = (
        ("2026-09-10", 2),
        ("2026-09-16", 5),
        ("2026-09-20", -6),
        ("2026-09-25", 10),
        ("2026-09-26", 4),
        ("2026-09-30", 60),
    )

    @pytest.mark.parametrize(
        ("events", "cents"), [(0, 10000), (1, 11400), (2, 18400), (3, 16567), (4, 17967), (5, 18300), (6, 18700)]
    )
    def test_graduated(self, company: Company, events: int, cents: int) -> None:
        begin(
            company,
            {"model": "graduated", "prorated": True, "tiers": list(self.TIERS)},
            "2026-09-01",
            aggregation="weighted_sum",
        )
        use(company, *self.STORY[:events], now="2026-09-30")
        company.close("2026-09", "2026-10-01T01:00")
        (invoice,) = company.invoices("acme")
        (line,) = [line for line in invoice.lines if line.feature == "use"]
        assert round(line.exact * 100) == cents

    def test_volume(self, company: Company) -> None:
        """31 from the 11th and 62 from the 22nd are a level of 93, and 41 units: all at the price of the third tier."""
        tiers = [{"up_to": "30", "unit_amount": "5"}, {"up_to": "60", "unit_amount": "3"}, {"unit_amount": "2"}]
        begin(
            company,
            {"model": "volume", "prorated": True, "may_fall": True, "tiers": tiers},
            aggregation="weighted_sum",
        )
        use(company, ("2026-01-11", 31), ("2026-01-22", 62))
        assert billed(company) == pytest.approx(Decimal(82), abs=Decimal("0.0000000001"))

    def test_who_cancels_pays_for_the_days_until_then(self, company: Company) -> None:
        begin(
            company,
            {"model": "graduated", "prorated": True, "tiers": [{"unit_amount": "31"}]},
            aggregation="weighted_sum",
        )
        change(company, cancel, at("2026-01-11"))
        use(company, ("2026-01-01", 1), ("2026-01-06", 1))
        assert billed(company) == pytest.approx(Decimal(15), abs=Decimal("0.0000000001"))
