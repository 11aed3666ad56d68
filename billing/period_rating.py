"""Rating a billing period: what each feature of a subscription costs over it, exact. Pure.

Each segment of a period (one agreement, one side of the trial) is priced as a selection by the function that priced
the quote; switches and quantities count by their part of the full period. Where a change is not prorated they count
for the whole run of segments, and each segment bills what it adds to those before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from billing.measured_usage import Measured, Window
from billing.metered_features import MeteredFeature, metered_features
from billing.parts import part_of
from billing.phases import Agreement, CyclePeriod, Segment, Subscription
from billing.price_source import PriceSource
from billing.rated_usage import COMMITMENT, Kind, RatedUsage, Scope
from models.values.period import Period
from models.values.quantity import EXACT, plain
from pricing_engine.catalog import Feature, FeatureKind
from pricing_engine.feature_price import FeaturePrice, amount_of
from pricing_engine.pricing import PricedLine, PricedSelection, RatedFeature
from pricing_engine.proration import MidPeriod, added, prorate
from pricing_engine.quoting import CompiledBook
from pricing_engine.selection import Chosen

_ZERO = Decimal(0)
_STANDARD = "standard"
_SUMS = ("quantity", "prorated_units", "list_amount", "amount", "cost")


def scope_of(cycle: CyclePeriod, cutoff: datetime) -> Scope:
    """Return what of a billing period a close at `cutoff` can bill."""
    return Scope.FINAL if cycle.ends_at <= cutoff else Scope.ADVANCE


def rate_period(
    subscription: Subscription,
    cycle: CyclePeriod,
    source: PriceSource,
    measured: Mapping[tuple[str, Window], Measured],
    scope: Scope,
    until: datetime,
) -> list[RatedUsage]:
    """Return what is due for one billing period: one amount a feature and segment, in the order of the catalog."""
    metered = metered_features(cycle, source, measured, scope, until)
    due: list[RatedUsage] = []
    standing: dict[str, _Standing] = {}
    for segment in cycle.segments:
        rows = _rate_segment(subscription, cycle, segment, source, metered, scope, until)
        if segment.is_joined:
            rows = [row for row in rows if row.kind is not Kind.RECURRING] + _added(standing, rows, segment)
        else:
            standing = {row.feature: _Standing(row, row, row) for row in rows if row.kind is Kind.RECURRING}
        due += rows
    if scope is Scope.FINAL:
        due += _true_up(subscription, cycle, source, due)
    return due


class _Standing(NamedTuple):
    """What a feature comes to for the whole of a run: since the last change, the highest so far, and what is paid."""

    now: RatedUsage
    highest: RatedUsage
    paid: RatedUsage


def _added(standing: dict[str, _Standing], rows: list[RatedUsage], segment: Segment) -> list[RatedUsage]:
    """Return what a joined segment adds to its run, feature by feature, and let it stand."""
    recurring = {row.feature: row for row in rows if row.kind is Kind.RECURRING}
    found = []
    for feature in {**standing, **recurring}:
        now = recurring.get(feature) or _nothing(standing[feature].now, segment)
        before = standing.get(feature) or _Standing(*(_nothing(now, segment),) * 3)
        more = _beyond(now, before, segment.phase.agreement.mid_period)
        found.append(_due_of(more, segment))
        highest = {name: max(getattr(now, name), getattr(before.highest, name)) for name in _SUMS}
        paid = {name: EXACT.add(getattr(before.paid, name), getattr(more, name)) for name in _SUMS}
        standing[feature] = _Standing(now, replace(now, **highest), replace(now, **paid))
    return found


def _nothing(row: RatedUsage, segment: Segment) -> RatedUsage:
    start = segment.period.start
    zeros = dict.fromkeys(_SUMS, _ZERO)
    return replace(row, segment_start=start, service=Period(start, segment.counted.end), detail={}, **zeros)


def _beyond(now: RatedUsage, before: _Standing, rule: MidPeriod) -> RatedUsage:
    """Return what a change adds, for the whole of the run."""
    more = {
        name: added(
            getattr(now, name),
            before=getattr(before.now, name),
            highest=getattr(before.highest, name),
            paid=getattr(before.paid, name),
            rule=rule,
        )
        for name in _SUMS
    }
    return replace(now, **more, detail={**now.detail, "mid_period": rule.value})


def _due_of(more: RatedUsage, segment: Segment) -> RatedUsage:
    """Return what is due of what a change adds: of one that is prorated, the rest of the run."""
    agreement = segment.phase.agreement
    if agreement.mid_period is not MidPeriod.PRORATED:
        return more
    rest = Period(segment.period.start, segment.counted.end)
    names = [name for name in _SUMS if name != "quantity"]
    return replace(more, **{name: part_of(getattr(more, name), rest, segment.counted, agreement) for name in names})


def _rate_segment(
    subscription: Subscription,
    cycle: CyclePeriod,
    segment: Segment,
    source: PriceSource,
    metered: Mapping[tuple[str, datetime], MeteredFeature],
    scope: Scope,
    until: datetime,
) -> list[RatedUsage]:
    if scope is Scope.INTERIM and segment.period.start >= until:
        return []
    agreement = segment.phase.agreement
    compiled = source.books[agreement.book_hash]
    prices = source.prices(agreement, segment.period.start)
    whole = segment.counted == cycle.full
    rated: dict[str, RatedFeature] = {}
    for key, price in prices.items():
        if key not in agreement.selection:
            continue
        if price.feature.kind is FeatureKind.METERED:
            rated[key] = metered[key, segment.period.start].rated
        elif segment.in_trial:
            rated[key] = RatedFeature(_ZERO, _ZERO, _ZERO)
        else:
            rated[key] = _recurring(price, agreement, compiled, segment.counted, cycle.full)
    priced = _price(compiled, rated, prices, agreement, segment.counted, cycle.full, whole=whole)
    rows = []
    for line in priced.lines:
        feature = prices[line.feature].feature
        if _in_scope(feature, cycle, segment, scope):
            one = metered.get((line.feature, segment.period.start))
            row = _row(subscription, cycle, segment, prices[line.feature], line, priced, one)
            if scope is Scope.INTERIM:
                row = replace(row, service=Period(row.service.start, min(row.service.end, until)))
            rows.append(row)
    return rows


def _in_scope(feature: Feature, cycle: CyclePeriod, segment: Segment, scope: Scope) -> bool:
    if feature.kind is FeatureKind.METERED:
        return scope is not Scope.ADVANCE
    if segment.in_trial or _counts_for_nothing(cycle, segment):
        return False
    return scope is Scope.FINAL or (scope is Scope.ADVANCE and feature.billed == "advance")


def _counts_for_nothing(cycle: CyclePeriod, segment: Segment) -> bool:
    """Whether a segment is replaced on the day on which it begins, where days are what counts."""
    if segment.counted == cycle.full:
        return False
    rule = segment.phase.agreement.proration
    return not prorate(Decimal(1), used=segment.counted, full=cycle.full, rule=rule).used_units


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
    metered: MeteredFeature | None,
) -> RatedUsage:
    agreement = segment.phase.agreement
    feature = price.feature
    quantity = agreement.selection[feature.key] if metered is None else metered.units
    return RatedUsage(
        subscription=subscription.id,
        feature=feature.key,
        kind=Kind.RECURRING if metered is None else Kind.USAGE,
        in_advance=feature.billed == "advance",
        cycle=cycle.full,
        segment_start=segment.period.start,
        service=segment.period if metered else Period(segment.period.start, segment.counted.end),
        quantity=quantity,
        prorated_units=part_of(quantity, segment.counted, cycle.full, agreement) if metered is None else quantity,
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
    metered: MeteredFeature | None,
) -> dict[str, Any]:
    """Return how an amount came about, for the explanation of a line."""
    agreement = segment.phase.agreement
    detail: dict[str, Any] = {"phase": segment.phase.sequence, "tariff": _tariff_source(price, agreement)}
    if metered is not None:
        detail["events"] = metered.event_count
        if metered.part is not None:
            detail["bounds"] = metered.part
        detail["steps"] = [
            {"name": step.name, "of": step.of, "before": plain(step.before), "after": plain(step.after)}
            for step in metered.rating.steps
        ]
    elif segment.counted != cycle.full:
        ratio = prorate(Decimal(1), used=segment.counted, full=cycle.full, rule=agreement.proration)
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
            prorated_units=_ZERO,
            list_amount=lacking,
            amount=lacking,
            cost=_ZERO,
            tax_category=_STANDARD,
            book_hash=last.phase.agreement.book_hash,
            detail={"phase": last.phase.sequence, "committed": plain(committed), "spent": plain(spent)},
        )
    ]
