"""Metered features over a billing period: which usage rating needs, and what it comes to segment by segment. Pure.

A segment counts by the difference of cumulative amounts, so that tiers run on over a change that leaves the price
alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from billing.measured_usage import NOTHING, Measured, Window, window_of
from billing.phases import CyclePeriod, Segment
from billing.price_source import PriceSource
from billing.rated_usage import Scope
from models.values.period import Period
from models.values.quantity import EXACT
from pricing_engine.aggregation import AggregationKind
from pricing_engine.catalog import FeatureKind, Meter
from pricing_engine.feature_price import FeaturePrice
from pricing_engine.pricing import RatedFeature
from pricing_engine.rating import Rating, rate

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class MeteredFeature:
    """One metered feature in one segment: rated, with units and how it came about."""

    rated: RatedFeature
    units: Decimal
    event_count: int
    rating: Rating


def windows_of(cycle: CyclePeriod, source: PriceSource, scope: Scope, until: datetime) -> Iterator[tuple[str, Window]]:
    """Yield, by hash of the book whose meter it is, the windows of usage that rating this billing period needs.

    Usage from `until` on is left out.
    """
    if scope is Scope.ADVANCE:
        return
    for feature, chain in chains(cycle, source):
        price = source.prices(chain[0].phase.agreement, chain[0].period.start)[feature]
        meter = source.books[chain[0].phase.agreement.book_hash].book.meter(price.feature.meter or "")
        for segment in chain:
            end = min(segment.period.end, until)
            if end > segment.period.start:
                window = window_of(meter, price.tariff.tariff, Period(chain[0].period.start, end))
                yield chain[0].phase.agreement.book_hash, window


def metered_features(
    cycle: CyclePeriod,
    source: PriceSource,
    measured: Mapping[tuple[str, Window], Measured],
    scope: Scope,
    until: datetime,
) -> dict[tuple[str, datetime], MeteredFeature]:
    """Return metered features by (feature, start of segment)."""
    found: dict[tuple[str, datetime], MeteredFeature] = {}
    for feature, chain in chains(cycle, source):
        agreement = chain[0].phase.agreement
        price = source.prices(agreement, chain[0].period.start)[feature]
        book = source.books[agreement.book_hash].book
        meter = book.meter(price.feature.meter or "")
        before: tuple[RatedFeature, Measured] | None = None
        for segment in chain:
            end = min(segment.period.end, until)
            usage = NOTHING
            if scope is not Scope.ADVANCE and end > segment.period.start:
                window = window_of(meter, price.tariff.tariff, Period(chain[0].period.start, end))
                usage = _over_cycle(measured.get((agreement.book_hash, window), NOTHING), meter, window, cycle)
            elif before is not None:
                usage = before[1]
            rating = rate(price.tariff, usage.usage(price.tariff.tariff, meter.group_by), book.money)
            rated = price.rated(rating.amount, usage.units)
            if before is None:
                found[feature, segment.period.start] = MeteredFeature(rated, usage.units, usage.event_count, rating)
            else:
                found[feature, segment.period.start] = MeteredFeature(
                    _rated_difference(rated, before[0]),
                    EXACT.subtract(usage.units, before[1].units),
                    usage.event_count - before[1].event_count,
                    rating,
                )
            before = rated, usage
    return found


def _over_cycle(usage: Measured, meter: Meter, window: Window, cycle: CyclePeriod) -> Measured:
    """Return what counts of a window's usage: a mean weighted by time counts by its part of the full period."""
    lasted = Period(window.start, window.end)
    if meter.aggregation != AggregationKind.WEIGHTED_SUM or lasted == cycle.full:
        return usage
    return usage.averaged_over(Fraction(lasted.microseconds, cycle.full.microseconds))


def chains(cycle: CyclePeriod, source: PriceSource) -> Iterator[tuple[str, list[Segment]]]:
    """Yield each metered feature with the runs of neighbouring segments in which its price is the same.

    The price of the same usage, that is: a book may give a meter of one key another reading than the book before.
    """
    open_chains: dict[str, tuple[FeaturePrice, Meter, list[Segment]]] = {}
    for segment in cycle.segments:
        agreement = segment.phase.agreement
        prices = source.prices(agreement, segment.period.start)
        chosen = {key: prices[key] for key in agreement.selection if prices[key].feature.kind is FeatureKind.METERED}
        book = source.books[agreement.book_hash].book
        meters = {key: book.meter(price.feature.meter or "") for key, price in chosen.items()}
        for key in list(open_chains):
            price, meter, chain = open_chains[key]
            is_next = key in chosen and chain[-1].period.end == segment.period.start
            if not (is_next and _same_price(price, chosen[key]) and meter == meters[key]):
                yield key, open_chains.pop(key)[2]
        for key, price in chosen.items():
            open_chains.setdefault(key, (price, meters[key], []))[2].append(segment)
    for key, (_, _, chain) in open_chains.items():
        yield key, chain


def _same_price(one: FeaturePrice, other: FeaturePrice) -> bool:
    return (
        one.tariff.tariff == other.tariff.tariff
        and one.percent == other.percent
        and one.below_cost == other.below_cost
        and one.feature.unit_cost == other.feature.unit_cost
    )


def _rated_difference(now: RatedFeature, before: RatedFeature) -> RatedFeature:
    return RatedFeature(
        EXACT.subtract(now.list_amount, before.list_amount),
        EXACT.subtract(now.cost, before.cost),
        max(EXACT.subtract(now.floor, before.floor), _ZERO),
    )
