"""Metered features over a billing period: which usage rating needs, and what it comes to segment by segment. Pure.

A segment counts by the difference of cumulative amounts, so that tiers run on over a change that leaves the price
alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from billing.measured_usage import NOTHING, Measured, Window, window_of
from billing.parts import part_of
from billing.phases import CyclePeriod, Segment
from billing.price_source import PriceSource
from billing.rated_usage import Scope
from models.values.money import Currency
from models.values.period import Period
from models.values.quantity import EXACT
from pricing_engine.aggregation import AggregationKind
from pricing_engine.catalog import FeatureKind, Meter
from pricing_engine.feature_price import FeaturePrice, compiled_tariff
from pricing_engine.pricing import RatedFeature
from pricing_engine.proration import Proration, prorate
from pricing_engine.rating import CompiledTariff, Rating, rate
from pricing_engine.tariffs.flat import Flat
from pricing_engine.tariffs.scaling import exact_sum
from pricing_engine.tariffs.tariff import Tariff

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class MeteredFeature:
    """One metered feature in one segment: rated, with units and how it came about. `part`: that of its bounds."""

    rated: RatedFeature
    units: Decimal
    event_count: int
    rating: Rating
    part: str | None


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
    final = scope is not Scope.INTERIM or until >= cycle.ends_at
    for feature, stretch in stretches(cycle, source):
        tariff, start = stretch.price.tariff.tariff, stretch.segments[0].period.start
        usage, lasted = NOTHING, start
        before: tuple[RatedFeature, Measured] | None = None
        for segment in stretch.segments:
            end = min(segment.period.end, until)
            if scope is not Scope.ADVANCE and end > segment.period.start:
                window = window_of(stretch.meter, tariff, Period(start, end))
                usage, lasted = measured.get((stretch.book_hash, window), NOTHING), end
            counted, rating = stretch.rate(usage, lasted, final=final)
            rated = stretch.price.rated(rating.amount, counted.units)
            if before is None:
                one = MeteredFeature(rated, counted.units, counted.event_count, rating, stretch.part)
            else:
                one = MeteredFeature(
                    _rated_difference(rated, before[0]),
                    EXACT.subtract(counted.units, before[1].units),
                    counted.event_count - before[1].event_count,
                    rating,
                    stretch.part,
                )
            found[feature, segment.period.start] = one
            before = rated, counted
    return found


@dataclass(frozen=True, slots=True)
class Stretch:
    """A metered feature over the neighbouring segments in which its price is the same, and how its usage is rated.

    `bounded`: its tariff, the amounts of which that are of a full period counted by the part of one that this lasts.
    `part`: that part, in the units of the agreement's proration, None where it is all or there is no such amount.
    """

    price: FeaturePrice
    meter: Meter
    segments: tuple[Segment, ...]
    cycle: CyclePeriod
    money: Currency
    bounded: CompiledTariff
    part: str | None

    @property
    def book_hash(self) -> str:
        """The book whose meter measures it."""
        return self.segments[0].phase.agreement.book_hash

    def rate(self, measured: Measured, until: datetime, *, final: bool = True) -> tuple[Measured, Rating]:
        """Rate what was measured from the start up to an instant; return what of it counts as well.

        What waits for the end of a billing period (a minimum, a price that is split last) is due with `final`.
        """
        tariff, lasted = self.price.tariff.tariff, Period(self.segments[0].period.start, until)
        counted = self._over_cycle(measured, lasted)
        if tariff.allow_negative is None:
            counted = counted.from_nothing_on(tariff)
        if tariff.prorated:
            usage = counted.changes(lasted, self.cycle.full)
        else:
            usage = counted.usage(tariff, self.meter.group_by)
        if isinstance(tariff.shape, Flat) and tariff.shape.proration:
            ratio = _ratio(self.segments, self.cycle)
            usage = replace(usage, service_days=Decimal(ratio.used_units), full_days=Decimal(ratio.full_units))
        return counted, rate(self.bounded, replace(usage, final=final), self.money)

    def _over_cycle(self, measured: Measured, lasted: Period) -> Measured:
        """Return what counts: a mean weighted by time counts by its part of the full period."""
        if self.meter.aggregation != AggregationKind.WEIGHTED_SUM or lasted == self.cycle.full:
            return measured
        return measured.averaged_over(Fraction(lasted.microseconds, self.cycle.full.microseconds))


def stretches(cycle: CyclePeriod, source: PriceSource) -> Iterator[tuple[str, Stretch]]:
    """Yield each metered feature with its stretches, in which tiers and bounds run on."""
    for feature, chain in chains(cycle, source):
        agreement = chain[0].phase.agreement
        price = source.prices(agreement, chain[0].period.start)[feature]
        book = source.books[agreement.book_hash].book
        bounded, part = _bounded(price.tariff, chain, cycle)
        meter = book.meter(price.feature.meter or "")
        yield feature, Stretch(price, meter, tuple(chain), cycle, book.money, bounded, part)


def _bounded(tariff: CompiledTariff, chain: Sequence[Segment], cycle: CyclePeriod) -> tuple[CompiledTariff, str | None]:
    """Count minimum, maximum and commitment by the part of the full period that a stretch lasts, as switches count.

    A minimum leaves the trial out, as that of an agreement does. A stretch of no day keeps maximum and commitment:
    usage of some hours is not free because a price was put right within the day.
    """
    plain, agreement = tariff.tariff, chain[0].phase.agreement
    lasted = Period(chain[0].period.start, chain[-1].period.end)
    amounts = (plain.minimum_spend, plain.maximum_spend, plain.overage)
    if amounts == (None, None, None) or (lasted == cycle.full and not any(each.in_trial for each in chain)):
        return tariff, None

    def part(amount: Decimal) -> Decimal:
        return part_of(amount, lasted, cycle.full, agreement) or amount

    least = None
    if plain.minimum_spend is not None:
        paid = [each.period for each in chain if not each.in_trial]
        least = exact_sum(part_of(plain.minimum_spend, each, cycle.full, agreement) for each in paid)
    most, overage = plain.maximum_spend, plain.overage
    bounded = replace(
        plain,
        minimum_spend=least,
        maximum_spend=None if most is None else part(most),
        overage=None if overage is None else replace(overage, commitment=part(overage.commitment)),
    )
    return compiled_tariff(bounded), _part_text(plain, chain, cycle)


def _part_text(tariff: Tariff, chain: Sequence[Segment], cycle: CyclePeriod) -> str:
    """Write which part of the bounds counts; that of a minimum where a trial makes it another one."""
    whole = _ratio(chain, cycle)
    trial = sum(_ratio([each], cycle).used_units for each in chain if each.in_trial)
    lasts, paid = (f"{units}/{whole.full_units}" for units in (whole.used_units, whole.used_units - trial))
    if tariff.minimum_spend is None or not trial:
        return lasts
    return paid if tariff.maximum_spend is None and tariff.overage is None else f"{lasts}, minimum {paid}"


def _ratio(chain: Sequence[Segment], cycle: CyclePeriod) -> Proration:
    """Return which part of the full period a stretch lasts."""
    lasted = Period(chain[0].period.start, chain[-1].period.end)
    return prorate(Decimal(1), used=lasted, full=cycle.full, rule=chain[0].phase.agreement.proration)


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
