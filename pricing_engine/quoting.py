"""Quoting: a selection, a price book, a price sheet and a customer give priced lines with their reasons.

Everything here is a function of facts: the same facts give the same quote, and `verification` calls the same
functions to recompute one offline.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

import msgspec

from models.values.money import round_to_minor
from models.values.quantity import EXACT
from pricing_engine.catalog import HUNDRED, Feature
from pricing_engine.feature_price import FeaturePrice, amount_of, compiled_tariff, digits_of, feature_price
from pricing_engine.metered_tariff import check_metered, check_unmetered
from pricing_engine.negotiated_terms import NegotiatedTerm
from pricing_engine.price_book import PriceBook
from pricing_engine.price_sheet import PriceSheet, SheetPrice, ShownPrice, shown_price, tariff_at
from pricing_engine.pricing import (
    SHARE_DIGITS,
    DiscountKind,
    DiscountPlan,
    PricedLine,
    PricedSelection,
    RatedFeature,
    ScaledSelection,
    SelectionSums,
    TooCoarseError,
    scaled_selection,
    whole_at,
)
from pricing_engine.rating import CompiledTariff, compile_tariff
from pricing_engine.selection import Chosen
from pricing_engine.tariffs.scaling import decimals_of

_ZERO = Decimal(0)
_DIGITS = (6, 12, SHARE_DIGITS)
"""The scales at which a book's amounts are counted: the first that holds all its prices and costs."""


class Adjustment(msgspec.Struct, frozen=True, gc=False):
    """One step between a line's list amount and its amount. `reason` is stable, `detail` is for people."""

    reason: str
    amount: Decimal
    detail: str = ""


class QuoteLine(msgspec.Struct, frozen=True, gc=False):
    """One feature as quoted: list_amount + sum(adjustments) = amount, exact, in major units.

    `saved_if_dropped`: how much the total falls when the feature goes, together with `dropped_with`, all
    that requires it. `rails`: the guard rails that bound this price. `shown`: the adaptive price, if any.
    """

    feature: str
    chosen: Chosen
    list_amount: Decimal
    adjustments: tuple[Adjustment, ...]
    amount: Decimal
    unit_cost: Decimal
    cost: Decimal
    saved_if_dropped: Decimal
    dropped_with: tuple[str, ...]
    rails: tuple[str, ...] = ()
    shown: ShownPrice | None = None
    term: NegotiatedTerm | None = None

    @property
    def margin(self) -> Decimal:
        """What remains over cost."""
        return EXACT.subtract(self.amount, self.cost)


@dataclass(frozen=True, slots=True)
class PricedQuote:
    """The lines, their exact total, and the total rounded to the currency's minor unit.

    `counted`: adaptive prices of features that were not chosen but count towards a bundle.
    """

    lines: tuple[QuoteLine, ...]
    total: Decimal
    rounded_total_minor: int
    discount: DiscountKind
    discount_key: str
    discount_percent: Decimal
    floor_bound: bool
    counted: Mapping[str, ShownPrice]


class _RatedSelection(NamedTuple):
    """A selection at its tariffs, before what bundles and the number of features take off.

    `sums`: of the same as integers, with the least amounts of unchosen features of bundles. `droppable`: with those of
    the chosen ones too, which count once one is dropped.
    """

    at_tariff: Mapping[str, Decimal]
    features: Mapping[str, RatedFeature]
    sums: SelectionSums
    droppable: SelectionSums


class CompiledBook:
    """A price book compiled once, ready to price selections in microseconds."""

    def __init__(self, book: PriceBook) -> None:
        self.book = book
        self.plan = DiscountPlan(book)
        self.features = {feature.key: feature for feature in book.features}
        self._bundled = {key for bundle in book.bundles for key in bundle.features}
        self._digits = _digits_of(book)
        self._one = Decimal(1).scaleb(-self._digits)
        self._plain = {
            key: self._feature_price(
                feature, compiled_tariff(feature.tariff), below_cost=bool(feature.rails.below_cost)
            )
            for key, feature in self.features.items()
        }
        self._at_price = lru_cache(maxsize=4096)(self._compile_at_price)
        self._least_whole = self._whole_amounts({key: self._plain[key].least for key in self._bundled})
        dropped = {key: frozenset(book.dropped_with(key, self.features)) for key in self.features}
        self._dependents = {key: with_it for key, with_it in dropped.items() if len(with_it) > 1}

    def total(self, quantities: Mapping[str, Decimal]) -> Decimal:
        """Return only the exact total of a selection at list prices, nothing explained.

        It equals `price_quote(...).total` for the same quantities and no sheet, draw or term.
        """
        amounts: dict[str, int] = {}
        floors: dict[str, int] = {}
        for key, quantity in quantities.items():
            whole, units = self._plain[key].whole, int(quantity)
            if whole is None or units != quantity:
                return self._total_of_decimals(quantities)
            amount, floor = whole.amount_and_floor(units)
            amounts[key], floors[key] = amount if amount > floor else floor, floor
        if self._least_whole is None:
            return self._total_of_decimals(quantities)
        sums = SelectionSums(self.plan, ScaledSelection(self._digits, amounts, floors, self._least_whole))
        return sums.decimal(sums.total())

    def _total_of_decimals(self, quantities: Mapping[str, Decimal]) -> Decimal:
        money = self.book.money
        selection = {key: Chosen(quantity) for key, quantity in quantities.items()}
        rated = {
            key: self._plain[key].rated(amount_of(self._plain[key].tariff, chosen, money), chosen.quantity)
            for key, chosen in selection.items()
        }
        return self.price(rated, self._plain).total

    def feature_prices(
        self,
        sheet: PriceSheet,
        draws: Mapping[str, Decimal],
        terms: Mapping[str, NegotiatedTerm],
        keys: Iterable[str],
    ) -> dict[str, FeaturePrice]:
        """Return the effective price of each feature in `keys`, and of those that share a bundle with one.

        `draws`: by adaptive feature, this customer's draw; absent means 0. `terms`: those in force.
        """
        wanted = set(keys)
        for bundle in self.book.bundles:
            if not wanted.isdisjoint(bundle.features):
                wanted |= set(bundle.features)
        sheet_prices = {price.feature: price for price in sheet.prices}
        return {
            key: plain_price
            if key not in terms and key not in sheet_prices
            else self._special_price(plain_price, terms.get(key), sheet_prices.get(key), draws.get(key, _ZERO))
            for key, plain_price in self._plain.items()
            if key in wanted
        }

    def check_term(self, term: NegotiatedTerm) -> None:
        """Refuse a negotiated tariff that no catalog would sell by the feature's meter."""
        feature, field = self.book.feature(term.feature), f"terms.{term.feature}.tariff"
        if term.tariff is not None and feature.meter is not None:
            meter = self.book.meter(feature.meter)
            check_metered(term.tariff, meter.aggregation, meter.group_by, field)
        elif term.tariff is not None:
            check_unmetered(term.tariff, field)

    def _special_price(
        self, at_list: FeaturePrice, term: NegotiatedTerm | None, sheet_price: SheetPrice | None, draw: Decimal
    ) -> FeaturePrice:
        """Return the price under a negotiated term or, unless that names a tariff, at the sheet's price."""
        feature = at_list.feature
        price, shown = at_list, None
        if term is not None and term.tariff is not None:
            price = self._feature_price(feature, compiled_tariff(term.tariff), below_cost=at_list.below_cost)
        elif feature.adaptive and sheet_price is not None:
            shown = shown_price(sheet_price, draw)
            price = self._at_price(feature.key, shown.price)
        if term is not None and (term.percent or term.below_cost):
            price = self._feature_price(
                feature,
                price.tariff,
                percent=term.percent or _ZERO,
                below_cost=at_list.below_cost or term.below_cost,
            )
        rails = sheet_price.rails if shown is not None and sheet_price is not None else ()
        return msgspec.structs.replace(price, shown=shown, term=term, rails=rails)

    def _compile_at_price(self, key: str, price: Decimal) -> FeaturePrice:
        """Return an adaptive feature at one price; a ladder has few rungs, so prices come again."""
        feature = self.features[key]
        tariff = compile_tariff(tariff_at(feature, price))
        return self._feature_price(feature, tariff, below_cost=self._plain[key].below_cost)

    def _feature_price(
        self, feature: Feature, tariff: CompiledTariff, *, below_cost: bool, percent: Decimal = _ZERO
    ) -> FeaturePrice:
        return feature_price(feature, tariff, self.book.money, self._digits, percent=percent, below_cost=below_cost)

    def price(self, amounts: Mapping[str, RatedFeature], prices: Mapping[str, FeaturePrice]) -> PricedSelection:
        """Apply bundle and number-of-features discounts to rated features: the step quote and invoice share."""
        return self.plan.price(
            amounts,
            {key: price.least for key, price in prices.items() if key in self._bundled and key not in amounts},
        )

    def list_amount(self, key: str, chosen: Chosen) -> Decimal:
        """Return the amount at the book's own tariff, exact, in major units."""
        price, units = self._plain[key], int(chosen.quantity)
        if price.whole is None or chosen.usage is not None or units != chosen.quantity:
            return amount_of(price.tariff, chosen, self.book.money)
        return EXACT.multiply(price.whole.amount_and_floor(units)[0], self._one)

    def rate(self, selection: Mapping[str, Chosen], prices: Mapping[str, FeaturePrice]) -> _RatedSelection:
        """Rate each chosen feature alone, as decimals and as integers."""
        times, one = EXACT.multiply, self._one
        at_tariff: dict[str, Decimal] = {}
        features: dict[str, RatedFeature] = {}
        amounts: dict[str, int] = {}
        floors: dict[str, int] = {}
        for key, chosen in selection.items():
            price, quantity = prices[key], chosen.quantity
            units = int(quantity)
            if price.whole is None or chosen.usage is not None or units != quantity:
                at_tariff[key] = amount_of(price.tariff, chosen, self.book.money)
                features[key] = price.rated(at_tariff[key], quantity)
                continue
            amount, floor = price.whole.amount_and_floor(units)
            at_tariff[key] = listed = times(amount, one)
            cost = times(price.feature.unit_cost, quantity)
            lifted = listed if amount >= floor else cost
            features[key] = RatedFeature(lifted, cost, _ZERO if price.below_cost else cost)
            amounts[key], floors[key] = amount if amount > floor else floor, floor
        if len(amounts) == len(features):
            least = self._least_whole_of(prices)
            if least is not None:
                sums = SelectionSums(self.plan, ScaledSelection(self._digits, amounts, floors, least))
                return _RatedSelection(at_tariff, features, sums, sums)
        bundled = {key: price.least for key, price in prices.items() if key in self._bundled}
        absent = {key: least for key, least in bundled.items() if key not in features}
        sums = SelectionSums(self.plan, scaled_selection(features, absent))
        return _RatedSelection(at_tariff, features, sums, SelectionSums(self.plan, scaled_selection(features, bundled)))

    def savings(self, rated: _RatedSelection, total: Decimal) -> list[tuple[Decimal, tuple[str, ...]]]:
        """Return for each chosen feature what dropping it would save, and the features that would go with it."""
        chosen, sums, times = rated.features, rated.droppable, EXACT.multiply
        whole, one = int(EXACT.divide(total, sums.one)), sums.one
        savings: list[tuple[Decimal, tuple[str, ...]]] = []
        for key, without in sums.total_without_each().items():
            gone: tuple[str, ...] = (key,)
            dependents = self._dependents.get(key)
            if dependents is not None:
                gone = tuple([other for other in chosen if other in dependents])
                without = sums.total(frozenset(gone))
            savings.append((times(whole - without, one), gone))
        return savings

    def _least_whole_of(self, prices: Mapping[str, FeaturePrice]) -> Mapping[str, int] | None:
        moved = {key: price.least for key, price in prices.items() if key in self._bundled and not price.is_list_price}
        if not moved or self._least_whole is None:
            return self._least_whole
        whole = self._whole_amounts(moved)
        return None if whole is None else {**self._least_whole, **whole}

    def _whole_amounts(self, amounts: Mapping[str, Decimal]) -> Mapping[str, int] | None:
        """Return the amounts as integers at the book's scale, or None where one has more digits."""
        try:
            return {key: whole_at(amount, self._digits, key) for key, amount in amounts.items()}
        except TooCoarseError:
            return None


def _digits_of(book: PriceBook) -> int:
    """Return the first of _DIGITS that holds every price, cost and rung of the book, or the last."""
    needed = [0]
    for feature in book.features:
        tariff = compiled_tariff(feature.tariff)
        least = amount_of(tariff, Chosen(feature.least_quantity), book.money)
        needed += digits_of(tariff, feature.unit_cost), decimals_of(least)
        if feature.adaptive:
            needed.append(decimals_of(feature.rails.ladder_step))
    return next((digits for digits in _DIGITS if digits >= max(needed)), SHARE_DIGITS)


@dataclass(frozen=True, slots=True)
class QuoteFacts:
    """What a price depends on besides the book: the sheet, the customer's draws and terms, the selection."""

    sheet: PriceSheet
    selection: Mapping[str, Chosen]
    draws: Mapping[str, Decimal] = field(default_factory=dict)
    terms: Mapping[str, NegotiatedTerm] = field(default_factory=dict)


def price_quote(compiled: CompiledBook, facts: QuoteFacts) -> PricedQuote:
    """Price and explain a selection that obeys the catalog's rules (see `selection_of`).

    Raises what rating raises for a quantity beyond the exact range, and InvalidValueError for a negotiated tariff that
    cannot price what its meter reads.
    """
    for key in facts.terms.keys() & facts.selection.keys():
        compiled.check_term(facts.terms[key])
    prices = compiled.feature_prices(facts.sheet, facts.draws, facts.terms, facts.selection)
    rated = compiled.rate(facts.selection, prices)
    priced = compiled.plan.settle(rated.sums, rated.features)
    savings = compiled.savings(rated, priced.total)
    discount = priced.kind.value, priced.key
    in_order = zip(priced.lines, facts.selection.values(), rated.at_tariff.values(), savings, strict=True)
    lines = tuple(
        [
            _line(compiled, prices[line.feature], line, discount, chosen, at_tariff, saving)
            for line, chosen, at_tariff, saving in in_order
        ]
    )
    counted = {
        key: price.shown for key, price in prices.items() if key not in facts.selection and price.shown is not None
    }
    return PricedQuote(
        lines=lines,
        total=priced.total,
        rounded_total_minor=round_to_minor(priced.total, compiled.book.money),
        discount=priced.kind,
        discount_key=priced.key,
        discount_percent=priced.percent,
        floor_bound=priced.floor_bound,
        counted=counted,
    )


def _line(
    compiled: CompiledBook,
    price: FeaturePrice,
    line: PricedLine,
    discount: tuple[str, str],
    chosen: Chosen,
    at_tariff: Decimal,
    saving: tuple[Decimal, tuple[str, ...]],
) -> QuoteLine:
    """Explain one line. `discount`: reason and detail of what the whole selection takes off."""
    is_own = price.shown is not None or price.term is not None
    listed, rails = at_tariff, price.rails
    if is_own or price.below_cost or line.at_floor or line.list_amount is not at_tariff:
        if not price.is_list_price:
            listed = compiled.list_amount(line.feature, chosen)
        adjustments, rails = _adjustments(price, line, discount, listed, at_tariff)
    else:  # The catalog's price and the selection's discount are all there is to say: nearly every line.
        adjustments = (_discount_step(line, discount),) if line.discount else ()
    return QuoteLine(
        line.feature,
        chosen,
        listed,
        adjustments,
        line.amount,
        price.feature.unit_cost,
        line.cost,
        *saving,
        rails,
        price.shown,
        price.term,
    )


def _adjustments(
    price: FeaturePrice, line: PricedLine, discount: tuple[str, str], listed: Decimal, at_tariff: Decimal
) -> tuple[tuple[Adjustment, ...], tuple[str, ...]]:
    """Return the steps from the list amount to the line's amount, each with its reason, and the rails hit."""
    steps: list[Adjustment] = []
    rails, own_price = price.rails, at_tariff
    if price.shown is not None or price.term is not None:
        own_price = _add_own_steps(steps, price, listed, at_tariff)
    lifted = line.list_amount is not own_price and line.list_amount != own_price
    if lifted:
        _step(steps, "cost_floor", EXACT.subtract(line.list_amount, own_price), "not below cost")
    if line.discount:
        steps.append(_discount_step(line, discount))
    if line.at_floor or lifted:
        rails = (*rails, "cost_floor")
    elif price.below_cost and line.amount < line.cost:
        rails = (*rails, f"below_cost:{price.feature.rails.below_cost or 'negotiated'}")
    return tuple(steps), rails


def _discount_step(line: PricedLine, discount: tuple[str, str]) -> Adjustment:
    return Adjustment(discount[0], line.discount.copy_negate(), discount[1])


def _add_own_steps(steps: list[Adjustment], price: FeaturePrice, listed: Decimal, at_tariff: Decimal) -> Decimal:
    """Add the steps that are this customer's own: an adaptive price, negotiated terms. Return the amount after them."""
    reason = price.term.reason if price.term else ""
    _step(
        steps,
        "negotiated_tariff" if price.shown is None else "adaptive_price",
        EXACT.subtract(at_tariff, listed),
        reason,
    )
    if not price.percent:
        return at_tariff
    after_percent = EXACT.multiply(at_tariff, (HUNDRED - price.percent).scaleb(-2))
    _step(steps, "negotiated_discount", EXACT.subtract(after_percent, at_tariff), reason)
    return after_percent


def _step(steps: list[Adjustment], reason: str, amount: Decimal, detail: str) -> None:
    if amount:
        steps.append(Adjustment(reason, amount, detail))


@dataclass(frozen=True, slots=True)
class QuoteHead:
    """Who a quote is for and how long it holds. All instants are aware UTC."""

    id: str
    tenant: str
    customer: str
    segment: str
    channel: str
    created_at: datetime
    expires_at: datetime
