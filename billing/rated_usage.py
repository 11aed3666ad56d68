"""Rated usage: what each feature of a subscription costs over a billing period, exact, less what was billed. Pure.

Whatever a run bills is due less billed, key by key. So a late event, a change in the middle of a period that was
billed in advance, a pause and a cancellation are one thing: a difference, with the charge it corrects. A run over a
period that is billed already finds nothing.

Each segment of a period (one agreement, one side of the trial) is priced as a selection by the function that priced
the quote; switches and quantities count by their part of the full period, metered features by the difference of
cumulative amounts, so that tiers run on over a change that leaves the price alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, NamedTuple

from billing.measured_usage import NOTHING, Measured, Window, window_of
from billing.phases import Agreement, CyclePeriod, Segment, Subscription
from models.values.money import round_fraction
from models.values.period import Period
from models.values.quantity import EXACT, plain
from pricing_engine.catalog import Chosen, Feature, FeatureKind, Meter
from pricing_engine.feature_price import FeaturePrice, amount_of
from pricing_engine.price_sheet import PriceSheet
from pricing_engine.pricing import SHARE_DIGITS, PricedLine, PricedSelection, RatedFeature
from pricing_engine.proration import prorate
from pricing_engine.quoting import CompiledBook
from pricing_engine.rating import Rating, rate

COMMITMENT = "commitment"
"""The feature under which a minimum spend is billed."""
_ZERO = Decimal(0)
_STANDARD = "standard"


class Kind(StrEnum):
    """Why an amount is due."""

    USAGE = "usage"
    RECURRING = "recurring"
    COMMITMENT = "commitment"
    COUPON = "coupon"
    ADDITION = "addition"


class Scope(StrEnum):
    """What of a billing period can be billed: all of it, its usage so far, or only what is billed in advance."""

    FINAL = "final"
    INTERIM = "interim"
    ADVANCE = "advance"


class Key(NamedTuple):
    """What an amount is for: by it a later run finds what was billed."""

    feature: str
    kind: Kind
    segment_start: datetime


@dataclass(frozen=True, slots=True)
class RatedUsage:
    """One exact amount in major units. See `models.tables.invoice.RatedUsageRow` for the dates."""

    subscription: str | None
    feature: str
    kind: Kind
    in_advance: bool
    cycle: Period
    segment_start: datetime
    service: Period
    quantity: Decimal
    list_amount: Decimal
    amount: Decimal
    cost: Decimal
    tax_category: str
    book_hash: str | None
    corrects: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """What the amount is for."""
        return Key(self.feature, self.kind, self.segment_start)

    @property
    def is_nothing(self) -> bool:
        """Whether it says nothing at all."""
        return not (self.quantity or self.list_amount or self.amount or self.cost)


@dataclass(frozen=True, slots=True)
class Billed:
    """What earlier charges billed under one key: sums, the end of the stretch last billed, the last charge."""

    row: RatedUsage
    charge: str


class PriceSource:
    """Compiled books and sheets by hash, and the effective prices of agreements, each worked out once."""

    def __init__(self, books: Mapping[str, CompiledBook], sheets: Mapping[str, PriceSheet]) -> None:
        self.books, self.sheets = books, sheets
        self._known: dict[tuple[int, tuple[str, ...]], tuple[Agreement, Mapping[str, FeaturePrice]]] = {}

    def prices(self, agreement: Agreement, at: datetime) -> Mapping[str, FeaturePrice]:
        """Return the effective prices of the agreed features, under the negotiated terms that hold at `at`."""
        terms = {key: term for key, term in agreement.terms.items() if term.holds_at(at)}
        known = self._known.get((id(agreement), tuple(terms)))
        if known is not None:
            return known[1]
        compiled = self.books[agreement.book_hash]
        sheet = self._sheet(agreement, compiled, at)
        prices = compiled.feature_prices(sheet, agreement.draws, terms, agreement.selection)
        self._known[id(agreement), tuple(terms)] = agreement, prices  # The agreement is kept, so its id stays its own.
        return prices

    def _sheet(self, agreement: Agreement, compiled: CompiledBook, at: datetime) -> PriceSheet:
        if agreement.sheet_hash is not None:
            return self.sheets[agreement.sheet_hash]
        return PriceSheet(
            book_hash=agreement.book_hash, segment="default", epoch=0, effective_from=at, prices=()
        )  # Lists nothing: every feature at its list price.


def scope_of(cycle: CyclePeriod, cutoff: datetime) -> Scope:
    """Return what of a billing period a close at `cutoff` can bill."""
    return Scope.FINAL if cycle.ends_at <= cutoff else Scope.ADVANCE


def windows_of(cycle: CyclePeriod, source: PriceSource, scope: Scope, until: datetime) -> Iterator[tuple[str, Window]]:
    """Yield, by hash of the book whose meter it is, the windows of usage that rating this billing period needs.

    Usage from `until` on is left out.
    """
    if scope is Scope.ADVANCE:
        return
    for feature, chain in _chains(cycle, source):
        price = source.prices(chain[0].phase.agreement, chain[0].period.start)[feature]
        meter = source.books[chain[0].phase.agreement.book_hash].book.meter(price.feature.meter or "")
        for segment in chain:
            end = min(segment.period.end, until)
            if end > segment.period.start:
                window = window_of(meter, price.tariff.tariff, Period(chain[0].period.start, end))
                yield chain[0].phase.agreement.book_hash, window


def rate_period(
    subscription: Subscription,
    cycle: CyclePeriod,
    source: PriceSource,
    measured: Mapping[tuple[str, Window], Measured],
    scope: Scope,
    until: datetime,
) -> list[RatedUsage]:
    """Return what is due for one billing period: one amount a feature and segment, in the order of the catalog."""
    metered = _metered(cycle, source, measured, scope, until)
    due: list[RatedUsage] = []
    for segment in cycle.segments:
        due += _rate_segment(subscription, cycle, segment, source, metered, scope, until)
    if scope is Scope.FINAL:
        due += _true_up(subscription, cycle, source, due)
    return due


def differences(
    due: Iterable[RatedUsage], billed: Mapping[Key, Billed], in_question: Mapping[Key, Billed]
) -> list[RatedUsage]:
    """Return due less billed. `in_question`: what of `billed` has to be taken back where it is not due any more."""
    found: list[RatedUsage] = []
    seen: set[Key] = set()
    for row in due:
        seen.add(row.key)
        earlier = billed.get(row.key)
        found.append(row if earlier is None else _less(row, earlier))
    for key, earlier in in_question.items():
        if key not in seen:
            row = earlier.row
            nothing = replace(
                row,
                quantity=_ZERO,
                list_amount=_ZERO,
                amount=_ZERO,
                cost=_ZERO,
                service=Period(row.service.start, row.service.start),
                detail={"reason": "no longer due"},
            )
            found.append(_less(nothing, earlier))
    return [row for row in found if not row.is_nothing]


def _less(row: RatedUsage, earlier: Billed) -> RatedUsage:
    """Return the difference to what was billed, dated to the stretch that changed."""
    was, now = earlier.row.service, row.service
    service = now if was.end == now.end else Period(min(was.end, now.end), max(was.end, now.end))
    return replace(
        row,
        service=service,
        quantity=EXACT.subtract(row.quantity, earlier.row.quantity),
        list_amount=EXACT.subtract(row.list_amount, earlier.row.list_amount),
        amount=EXACT.subtract(row.amount, earlier.row.amount),
        cost=EXACT.subtract(row.cost, earlier.row.cost),
        corrects=earlier.charge,
        detail={**row.detail, "due": plain(row.amount), "billed": plain(earlier.row.amount)},
    )


# Metered features.


@dataclass(frozen=True, slots=True)
class _Metered:
    """One metered feature in one segment: rated, with units and how it came about."""

    rated: RatedFeature
    units: Decimal
    event_count: int
    rating: Rating


def _chains(cycle: CyclePeriod, source: PriceSource) -> Iterator[tuple[str, list[Segment]]]:
    """Yield each metered feature with the runs of neighbouring segments in which its price is the same."""
    open_chains: dict[str, tuple[FeaturePrice, list[Segment]]] = {}
    for segment in cycle.segments:
        agreement = segment.phase.agreement
        prices = source.prices(agreement, segment.period.start)
        chosen = {key: prices[key] for key in agreement.selection if prices[key].feature.kind is FeatureKind.METERED}
        for key in list(open_chains):
            price, chain = open_chains[key]
            goes_on = key in chosen and chain[-1].period.end == segment.period.start and _same_price(price, chosen[key])
            if not goes_on:
                yield key, open_chains.pop(key)[1]
        for key, price in chosen.items():
            open_chains.setdefault(key, (price, []))[1].append(segment)
    for key, (_, chain) in open_chains.items():
        yield key, chain


def _meter_of(source: PriceSource, segment: Segment, feature: str) -> Meter:
    book = source.books[segment.phase.agreement.book_hash].book
    return book.meter(book.feature(feature).meter or "")


def _same_price(one: FeaturePrice, other: FeaturePrice) -> bool:
    return (
        one.tariff.tariff == other.tariff.tariff
        and one.percent == other.percent
        and one.below_cost == other.below_cost
        and one.feature.meter == other.feature.meter
        and one.feature.unit_cost == other.feature.unit_cost
    )


def _metered(
    cycle: CyclePeriod,
    source: PriceSource,
    measured: Mapping[tuple[str, Window], Measured],
    scope: Scope,
    until: datetime,
) -> dict[tuple[str, datetime], _Metered]:
    """Return metered features by (feature, start of segment)."""
    found: dict[tuple[str, datetime], _Metered] = {}
    for feature, chain in _chains(cycle, source):
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
                usage = measured.get((agreement.book_hash, window), NOTHING)
            elif before is not None:
                usage = before[1]
            rating = rate(price.tariff, usage.usage(price.tariff.tariff, meter.group_by), book.money)
            rated = price.rated(rating.amount, usage.units)
            if before is None:
                found[feature, segment.period.start] = _Metered(rated, usage.units, usage.event_count, rating)
            else:
                found[feature, segment.period.start] = _Metered(
                    _rated_difference(rated, before[0]),
                    EXACT.subtract(usage.units, before[1].units),
                    usage.event_count - before[1].event_count,
                    rating,
                )
            before = rated, usage
    return found


def _rated_difference(now: RatedFeature, before: RatedFeature) -> RatedFeature:
    return RatedFeature(
        EXACT.subtract(now.list_amount, before.list_amount),
        EXACT.subtract(now.cost, before.cost),
        max(EXACT.subtract(now.floor, before.floor), _ZERO),
    )


# Segments.


def _rate_segment(
    subscription: Subscription,
    cycle: CyclePeriod,
    segment: Segment,
    source: PriceSource,
    metered: Mapping[tuple[str, datetime], _Metered],
    scope: Scope,
    until: datetime,
) -> list[RatedUsage]:
    if scope is Scope.INTERIM and segment.period.start >= until:
        return []
    agreement = segment.phase.agreement
    compiled = source.books[agreement.book_hash]
    prices = source.prices(agreement, segment.period.start)
    whole = segment.period == cycle.full
    rated: dict[str, RatedFeature] = {}
    for key, price in prices.items():
        if key not in agreement.selection:
            continue
        if price.feature.kind is FeatureKind.METERED:
            rated[key] = metered[key, segment.period.start].rated
        elif segment.in_trial:
            rated[key] = RatedFeature(_ZERO, _ZERO, _ZERO)
        else:
            rated[key] = _recurring(price, agreement, compiled, segment.period, cycle.full)
    priced = _price(compiled, rated, prices, agreement, segment.period, cycle.full, whole=whole)
    rows = []
    for line in priced.lines:
        feature = prices[line.feature].feature
        if _in_scope(feature, segment, scope):
            one = metered.get((line.feature, segment.period.start))
            row = _row(subscription, cycle, segment, prices[line.feature], line, priced, one)
            if scope is Scope.INTERIM:
                row = replace(row, service=Period(row.service.start, min(row.service.end, until)))
            rows.append(row)
    return rows


def _in_scope(feature: Feature, segment: Segment, scope: Scope) -> bool:
    if feature.kind is FeatureKind.METERED:
        return scope is not Scope.ADVANCE
    if segment.in_trial:
        return False
    return scope is Scope.FINAL or (scope is Scope.ADVANCE and feature.billed == "advance")


def _recurring(
    price: FeaturePrice, agreement: Agreement, compiled: CompiledBook, used: Period, full: Period
) -> RatedFeature:
    """Return a switch or quantity for its part of the period."""
    quantity = agreement.selection[price.feature.key]
    whole = price.rated(amount_of(price.tariff, Chosen(quantity), compiled.book.money), quantity)
    return RatedFeature(
        part_of(whole.list_amount, used, full, agreement),
        part_of(whole.cost, used, full, agreement),
        part_of(whole.floor, used, full, agreement),
    )


def part_of(amount: Decimal, used: Period, full: Period, agreement: Agreement) -> Decimal:
    """Return the part of a full period's amount, to SHARE_DIGITS places; neighbouring parts sum to the whole.

    It is the difference of two running sums, each rounded half away from zero.
    """
    if used == full:
        return amount
    rule = agreement.proration
    until_end = prorate(amount, used=Period(full.start, used.end), full=full, rule=rule).exact
    until_start = prorate(amount, used=Period(full.start, used.start), full=full, rule=rule).exact
    scale = 10**SHARE_DIGITS
    units = round_fraction(until_end * scale) - round_fraction(until_start * scale)
    return Decimal(units).scaleb(-SHARE_DIGITS, EXACT)


def _price(
    compiled: CompiledBook,
    rated: Mapping[str, RatedFeature],
    prices: Mapping[str, FeaturePrice],
    agreement: Agreement,
    used: Period,
    full: Period,
    *,
    whole: bool,
) -> PricedSelection:
    """Apply the selection's discounts. A feature whose amount fell (a tier that may) stays outside them."""
    fitting = {key: one for key, one in rated.items() if one.list_amount >= 0}
    if whole:
        priced = compiled.price(fitting, prices)
    else:
        absent = {
            key: part_of(price.least, used, full, agreement) for key, price in prices.items() if key not in fitting
        }
        priced = compiled.plan.price(fitting, absent)
    if len(fitting) == len(rated):
        return priced
    below = tuple(
        PricedLine(key, one.list_amount, _ZERO, one.list_amount, one.cost, at_floor=False)
        for key, one in rated.items()
        if key not in fitting
    )
    return replace(priced, lines=priced.lines + below)


def _row(
    subscription: Subscription,
    cycle: CyclePeriod,
    segment: Segment,
    price: FeaturePrice,
    line: PricedLine,
    priced: PricedSelection,
    metered: _Metered | None,
) -> RatedUsage:
    agreement = segment.phase.agreement
    feature = price.feature
    return RatedUsage(
        subscription=subscription.id,
        feature=feature.key,
        kind=Kind.RECURRING if metered is None else Kind.USAGE,
        in_advance=feature.billed == "advance",
        cycle=cycle.full,
        segment_start=segment.period.start,
        service=segment.period,
        quantity=agreement.selection[feature.key] if metered is None else metered.units,
        list_amount=line.list_amount,
        amount=line.amount,
        cost=line.cost,
        tax_category=feature.tax_category,
        book_hash=agreement.book_hash,
        detail=_detail(cycle, segment, price, line, priced, metered),
    )


def _detail(
    cycle: CyclePeriod,
    segment: Segment,
    price: FeaturePrice,
    line: PricedLine,
    priced: PricedSelection,
    metered: _Metered | None,
) -> dict[str, Any]:
    """Return how an amount came about, for the explanation of a line."""
    agreement = segment.phase.agreement
    detail: dict[str, Any] = {"phase": segment.phase.sequence, "tariff": _tariff_source(price, agreement)}
    if metered is not None:
        detail["events"] = metered.event_count
        detail["steps"] = [
            {"name": step.name, "of": step.of, "before": plain(step.before), "after": plain(step.after)}
            for step in metered.rating.steps
        ]
    elif segment.period != cycle.full:
        ratio = prorate(Decimal(1), used=segment.period, full=cycle.full, rule=agreement.proration)
        detail["prorated"] = f"{ratio.used_units}/{ratio.full_units}"
    if line.discount:
        detail["discount"] = {
            "kind": priced.kind.value,
            "key": priced.key,
            "percent": plain(priced.percent),
            "amount": plain(line.discount),
        }
    return detail


def _tariff_source(price: FeaturePrice, agreement: Agreement) -> dict[str, str]:
    """Name where the tariff stands: the book, the sheet and the draw, or a negotiated term."""
    source = {"price_book": agreement.book_hash, "feature": price.feature.key}
    if price.shown is not None and agreement.sheet_hash is not None:
        source |= {
            "price_sheet": agreement.sheet_hash,
            "price": plain(price.shown.price),
            "draw": plain(price.shown.draw),
        }
    if price.term is not None:
        source["term"] = f"{price.term.reason} (approved by {price.term.approver})"
    if agreement.quote_id is not None:
        source["quote"] = agreement.quote_id
    return source


def _true_up(
    subscription: Subscription, cycle: CyclePeriod, source: PriceSource, due: list[RatedUsage]
) -> list[RatedUsage]:
    """Return what the period lacks to its minimum spend, counted by the part of the period outside the trial."""
    committed = _ZERO
    for segment in cycle.segments:
        agreement = segment.phase.agreement
        if agreement.minimum_spend and not segment.in_trial:
            part = part_of(agreement.minimum_spend, segment.period, cycle.full, agreement)
            committed = EXACT.add(committed, part)
    if not committed:
        return []
    spent = _ZERO
    for row in due:
        spent = EXACT.add(spent, row.amount)
    lacking = max(EXACT.subtract(committed, spent), _ZERO)
    last = cycle.segments[-1]
    return [
        RatedUsage(
            subscription=subscription.id,
            feature=COMMITMENT,
            kind=Kind.COMMITMENT,
            in_advance=False,
            cycle=cycle.full,
            segment_start=cycle.span.start,
            service=cycle.span,
            quantity=_ZERO,
            list_amount=lacking,
            amount=lacking,
            cost=_ZERO,
            tax_category=_STANDARD,
            book_hash=last.phase.agreement.book_hash,
            detail={"phase": last.phase.sequence, "committed": plain(committed), "spent": plain(spent)},
        )
    ]
