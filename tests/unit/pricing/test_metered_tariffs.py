"""What a catalog sells by a meter, a close can bill, whatever is used; what it could not, no catalog sells."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.measured_usage import UsageMeasurer, window_of
from billing.metered_features import Stretch, stretches
from billing.metering.history import StoredEvent
from billing.phases import Agreement, Phase, PhaseState, Subscription
from billing.price_source import PriceSource
from models.values.errors import InvalidValueError
from models.values.period import BillingCycle, Interval, Period, parse_zone
from pricing_engine.aggregation import AggregationKind
from pricing_engine.negotiated_terms import NegotiatedTerm
from pricing_engine.price_book import PriceBook, parse_price_book
from pricing_engine.price_sheet import list_price_sheet
from pricing_engine.quoting import CompiledBook, QuoteFacts, price_quote
from pricing_engine.selection import selection_of
from pricing_engine.tariffs.tariff import parse_tariff

MONTH = Period(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
TIERS = [{"up_to": "5", "unit_amount": "2", "flat_amount": "3"}, {"unit_amount": "1"}]
NIGHT = {"zone": "UTC", "ranges": [{"name": "night", "from": "22:00", "to": "06:00", "factor": "0.5"}]}
UNIT = {"model": "unit", "unit_amount": "1"}
SEATS = {"model": "graduated", "prorated": True, "tiers": TIERS}
MATRIX = {"model": "matrix", "rules": [{"when": {"kind": "a"}, "unit_amount": "3"}], "default": {"unit_amount": "1"}}
PERCENTAGE = {"model": "percentage", "rate": "1", "fixed_amount": "1"}
TARIFFS: dict[str, dict[str, Any]] = {
    "flat": {"model": "flat", "amount": "5"},
    "unit": UNIT,
    "unit with a minimum an event": UNIT | {"event_minimum": "1"},
    "unit at night": UNIT | {"windows": NIGHT},
    "unit converted": UNIT | {"unit_conversion": {"operation": "divide", "factor": "3", "rounding": "ceiling"}},
    "unit in blocks": UNIT | {"billing_units": "3"},
    "unit with overage": UNIT | {"overage": {"commitment": "2", "factor": "2"}, "minimum_spend": "2"},
    "graduated": {"model": "graduated", "tiers": TIERS},
    "graduated by level": SEATS,
    "graduated at night": {"model": "graduated", "tiers": TIERS, "windows": NIGHT},
    "volume": {"model": "volume", "may_fall": True, "tiers": TIERS},
    "volume by level": {"model": "volume", "may_fall": True, "tiers": TIERS, "prorated": True},
    "volume split last": {"model": "volume", "may_fall": True, "tiers": TIERS, "volume_split": "last_only"},
    "graduated percentage": {"model": "graduated_percentage", "tiers": [{"up_to": "5", "rate": "2"}, {"rate": "1"}]},
    "package": {"model": "package", "package_size": "3", "package_amount": "2", "free_units": "1"},
    "percentage": PERCENTAGE,
    "percentage of more": PERCENTAGE | {"fixed_amount": None, "free_units_per_total_aggregation": "2"},
    "percentage, events free": PERCENTAGE | {"free_units_per_events": "1"},
    "percentage, some free": PERCENTAGE | {"free_units_per_total_aggregation": "2"},
    "percentage, bounded": PERCENTAGE | {"per_transaction_min_amount": "1"},
    "dynamic": {"model": "dynamic", "multiplier": "1.5"},
    "hours": {"model": "bucketed_unit", "unit_amount": "1"},
    "hours, graduated": {"model": "bucketed_graduated", "tiers": TIERS},
    "hours, packages": {"model": "bucketed_package", "package_size": "3", "package_amount": "2"},
    "matrix": MATRIX,
    "matrix without default": {name: value for name, value in MATRIX.items() if name != "default"},
}


EMPTY = {"key": "b", "version": 1, "currency": "USD", "effective_from": "2020-01-01T00:00:00Z"}


def stored(number: int, day: int, hour: int, amount: object, **data: object) -> StoredEvent:
    at = MONTH.start + timedelta(days=day, hours=hour)
    return StoredEvent("s", str(number), "used", "c", at, at, json.dumps({"amount": amount, **data}))


USED = (stored(1, 0, 0, 1, kind="a"), stored(2, 3, 23, 7, kind="b"), stored(3, 4, 12, "2.5"))
FALLING = (stored(1, 0, 0, 1, kind="a"), stored(2, 3, 23, -7, kind="b"), stored(3, 4, 12, -2))


def book_of(tariff: dict[str, Any], aggregation: str, group_by: tuple[str, ...] = ("kind",)) -> PriceBook:
    """Return a book of one feature by one meter. Raises where no catalog sells it."""
    counted = aggregation == AggregationKind.COUNT
    meter = {"key": "m", "event_type": "used", "aggregation": aggregation, "group_by": list(group_by)}
    feature = {"key": "f", "name": "F", "kind": "metered", "meter": "m", "tariff": tariff}
    meters = [meter if counted else meter | {"value_property": "amount"}]
    return parse_price_book({**EMPTY, "features": [feature], "meters": meters})


def sold(tariff: dict[str, Any], aggregation: str, group_by: tuple[str, ...] = ("kind",)) -> Stretch:
    """Return January of who subscribed to a feature at that tariff. Raises where no catalog sells it."""
    book = book_of(tariff, aggregation, group_by)
    cycle = BillingCycle.calendar(Interval.MONTH, parse_zone("UTC"))
    phase = Phase(1, MONTH.start, PhaseState.ACTIVE, "start", Agreement("h", {"f": Decimal(0)}, cycle))
    subscription = Subscription("s", "c", "USD", MONTH.start, None, (phase,))
    (period,) = subscription.cycle_periods(MONTH)
    ((_, stretch),) = stretches(period, PriceSource({"h": CompiledBook(book)}, {}))
    return stretch


def rated(stretch: Stretch, events: Sequence[StoredEvent]) -> tuple[Decimal, Decimal]:
    """Return what of the events counts, and what is due for it."""
    window = window_of(stretch.meter, stretch.price.tariff.tariff, MONTH)
    measurer = UsageMeasurer({"m": stretch.meter}, [window])
    measurer.add(events)
    counted, rating = stretch.rate(measurer.measured()[window], MONTH.end)
    return counted.units, rating.amount


def due(stretch: Stretch, events: Sequence[StoredEvent]) -> Decimal:
    return rated(stretch, events)[1]


def is_refused(name: str, aggregation: str) -> bool:
    """Whether no catalog sells a tariff by a meter of that kind."""
    added, level = aggregation in {"sum", "count"}, aggregation == "weighted_sum"
    by_event = {"unit at night", "graduated at night", "percentage, events free", "percentage, some free"}
    return (
        name == "matrix without default"
        or (name in by_event | {"percentage, bounded"} and not added)
        or (name.endswith("by level") and not level)
        or (name.startswith("hours") and level)
    )


@pytest.mark.parametrize("aggregation", [kind for kind in AggregationKind if kind != AggregationKind.PERCENTILE])
@pytest.mark.parametrize("name", TARIFFS)
def test_what_a_catalog_sells_can_be_billed_whatever_is_used(name: str, aggregation: str) -> None:
    if is_refused(name, aggregation):
        with pytest.raises(InvalidValueError):
            sold(TARIFFS[name], aggregation)
    else:
        stretch = sold(TARIFFS[name], aggregation)
        assert all(due(stretch, events) >= 0 for events in ((), USED, FALLING))


@pytest.mark.parametrize(
    ("code", "field", "tariff", "aggregation"),
    [
        ("prorated_without_level", "features.f.tariff.prorated", SEATS, "sum"),
        ("buckets_of_a_level", "features.f.tariff.model", TARIFFS["hours"], "weighted_sum"),
        ("events_do_not_add_up", "features.f.tariff", TARIFFS["unit at night"], "max"),
        ("events_do_not_add_up", "features.f.tariff", TARIFFS["percentage, bounded"], "unique_count"),
        ("events_do_not_add_up", "features.f.tariff", TARIFFS["percentage, some free"], "latest"),
        ("matrix_without_default", "features.f.tariff.default", TARIFFS["matrix without default"], "sum"),
    ],
)
def test_what_could_not_be_billed_is_not_sold(code: str, field: str, tariff: dict[str, Any], aggregation: str) -> None:
    with pytest.raises(InvalidValueError) as refused:
        sold(tariff, aggregation)
    assert (refused.value.code, refused.value.field) == (code, field)


@pytest.mark.parametrize("kind", ["switch", "quantity"])
@pytest.mark.parametrize(
    "name",
    ["percentage", "dynamic", "hours", "unit at night", "unit with a minimum an event", "matrix without default"],
)
def test_a_switch_or_quantity_is_not_sold_at_a_price_of_usage(name: str, kind: str) -> None:
    feature = {"key": "f", "name": "F", "kind": kind, "tariff": TARIFFS[name]}
    with pytest.raises(InvalidValueError) as refused:
        parse_price_book({**EMPTY, "features": [feature]})
    assert (refused.value.code, refused.value.field) == ("tariff_needs_usage", "features.f.tariff")


def test_a_rule_on_what_the_meter_adds_up_is_not_sold() -> None:
    with pytest.raises(InvalidValueError) as refused:
        sold(MATRIX, "sum", ())
    assert (refused.value.code, refused.value.field) == ("rule_never_matches", "features.f.tariff.rules[0].when.kind")


def test_a_negotiated_tariff_is_as_the_catalogs() -> None:
    compiled = CompiledBook(book_of(UNIT, "max"))
    tariff = parse_tariff(TARIFFS["percentage, bounded"])
    term = NegotiatedTerm("f", "volume", "ann", MONTH.start, tariff=tariff)
    selection = selection_of({"f": "1"}, compiled.book)
    sheet = list_price_sheet(compiled.book, "h", "default", 1, MONTH.start)
    with pytest.raises(InvalidValueError) as refused:
        price_quote(compiled, QuoteFacts(sheet, selection, terms={"f": term}))
    assert (refused.value.code, refused.value.field) == ("events_do_not_add_up", "terms.f.tariff")


@pytest.mark.parametrize(
    ("aggregation", "amount"),
    # Lago prices the aggregate: 1 percent of 60, 30, 20, 3 and 3, and 1.00 for each of 3 events.
    [("sum", "3.6"), ("max", "3.3"), ("latest", "3.2"), ("count", "3.03"), ("unique_count", "3.03")],
)
def test_a_percentage_is_of_what_the_meter_reads(aggregation: str, amount: str) -> None:
    events = [stored(number, 4, number, value) for number, value in enumerate((10, 30, 20))]
    assert due(sold(PERCENTAGE, aggregation), events) == Decimal(amount)


@pytest.mark.parametrize(
    ("name", "aggregation", "needs"),
    [
        ("percentage", "sum", True),
        ("percentage", "max", False),
        ("dynamic", "latest", False),
        ("percentage", "weighted_sum", False),
        ("hours", "max", True),
        ("graduated by level", "weighted_sum", True),
        ("unit", "sum", False),
    ],
)
def test_only_what_prices_them_has_events_kept_apart(name: str, aggregation: str, *, needs: bool) -> None:
    """A month of readings hour by hour takes as long again as their maximum: a percentage asks for that alone."""
    stretch = sold(TARIFFS[name], aggregation)
    assert window_of(stretch.meter, stretch.price.tariff.tariff, MONTH).by_event is needs


@pytest.mark.parametrize(
    ("aggregation", "amount"),
    [
        ("sum", "10"),
        ("max", "8"),
        ("min", "7"),
        ("latest", "7"),
        ("average", "7.5"),
        ("count", "3"),
        ("unique_count", "3"),
    ],
)
def test_an_hour_is_priced_by_what_the_meter_reads_in_it(aggregation: str, amount: str) -> None:
    events = (stored(1, 0, 0, 3), stored(2, 0, 0, 2), stored(3, 0, 1, 5))
    assert due(sold(TARIFFS["hours"], aggregation), events) == Decimal(amount)


@pytest.mark.parametrize("aggregation", ["latest", "weighted_sum"])
def test_what_falls_below_nothing_counts_as_nothing(aggregation: str) -> None:
    """One reading below zero stood in the way of a whole month's close."""
    assert rated(sold(UNIT, aggregation), FALLING) == (0, 0)


def test_a_group_below_nothing_takes_nothing_off_another() -> None:
    events = (stored(1, 0, 0, 4, kind="a"), stored(2, 0, 0, -9, kind="b"))
    assert rated(sold(MATRIX, "latest"), events) == (4, 12)


def test_who_says_what_less_than_nothing_means_is_heard() -> None:
    assert due(sold(UNIT | {"allow_negative": True}, "latest"), FALLING) == -8
