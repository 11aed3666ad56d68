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

from models.values.money import Currency, round_to_minor
from models.values.quantity import EXACT, MAX_FRACTION_DIGITS
from pricing_engine.catalog import HUNDRED, Chosen, Feature
from pricing_engine.negotiated_terms import NegotiatedTerm
from pricing_engine.price_book import PriceBook
from pricing_engine.price_sheet import PriceSheet, SheetPrice, ShownPrice, shown_price, tariff_at
from pricing_engine.pricing import DiscountKind, DiscountPlan, PricedLine, PricedSelection, RatedFeature, SelectionSums
from pricing_engine.rating import CompiledTariff, Usage, UsageGroup, compile_tariff, parse_usage, rate
from pricing_engine.tariffs.matrix import Matrix
from pricing_engine.tariffs.scaling import decimals_of, scaled
from pricing_engine.tariffs.tariff import Tariff

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Adjustment:
    """One step between a line's list amount and its amount. `reason` is stable, `detail` is for people."""

    reason: str
    amount: Decimal
    detail: str = ""


@dataclass(frozen=True, slots=True)
class QuoteLine:
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


@dataclass(frozen=True, slots=True)
class FeaturePrice:
    """One feature's effective price for one customer: its tariff, and what led from the list to it."""

    feature: Feature
    tariff: CompiledTariff
    percent: Decimal = _ZERO
    below_cost: bool = False
    shown: ShownPrice | None = None
    term: NegotiatedTerm | None = None
    rails: tuple[str, ...] = ()

    @property
    def is_list_price(self) -> bool:
        """Whether the tariff is the book's own."""
        return self.shown is None and (self.term is None or self.term.tariff is None)

    def rated(self, amount: Decimal, quantity: Decimal) -> RatedFeature:
        """Turn what the tariff gives for `quantity` into exact amounts: less the negotiated percent, not below cost."""
        cost = EXACT.multiply(self.feature.unit_cost, quantity)
        if self.percent:
            amount = EXACT.multiply(amount, (HUNDRED - self.percent).scaleb(-2))
        if self.below_cost:
            return RatedFeature(amount, cost, _ZERO)
        return RatedFeature(max(amount, cost), cost, cost)


@lru_cache(maxsize=4096)
def _compiled(tariff: Tariff) -> CompiledTariff:
    return compile_tariff(tariff)


def amount_of(tariff: CompiledTariff, chosen: Chosen, money: Currency) -> Decimal:
    """Return the exact amount of one feature's quantity, or of its usage where that is given.

    A matrix prices a bare quantity at its default. Raises InvalidValueError where units are not enough.
    """
    if chosen.usage is not None:
        return rate(tariff, parse_usage(chosen.usage), money).amount
    if tariff.table is None and isinstance(tariff.tariff.shape, Matrix):
        groups = (UsageGroup((), chosen.quantity),) if chosen.quantity else ()
        return rate(tariff, Usage(groups=groups), money).amount
    if tariff.table is None and not chosen.quantity:
        return rate(tariff, Usage(units=_ZERO, event_count=0, events=(), buckets=()), money).amount
    return tariff.amount(chosen.quantity)


_TOTAL_DIGITS = 100
"""Digits behind the point of integer totals: more than any product of parsed numbers has."""


class _IntegerPrice:
    """A feature's list tariff and unit cost as integers of 10^-_TOTAL_DIGITS of the major unit."""

    def __init__(self, price: FeaturePrice) -> None:
        self._tariff = price.tariff
        self._cost = 0 if price.below_cost else scaled(price.feature.unit_cost, MAX_FRACTION_DIGITS)

    def amount_and_floor(self, quantity: Decimal) -> tuple[int, int]:
        """Return the list amount, lifted to the cost floor, and that floor."""
        tariff = self._tariff
        units = int(quantity)
        if units == quantity:
            units *= 10**tariff.unit_exponent
        else:
            tariff = tariff.at(decimals_of(quantity))
            units = scaled(quantity, tariff.unit_exponent)
        amount = tariff.price_scaled(units) * 10 ** (_TOTAL_DIGITS - tariff.amount_exponent)
        floor = self._cost * units * 10 ** (_TOTAL_DIGITS - MAX_FRACTION_DIGITS - tariff.unit_exponent)
        return (amount, floor) if amount > floor else (floor, floor)


class CompiledBook:
    """A price book compiled once, ready to price selections in microseconds."""

    def __init__(self, book: PriceBook) -> None:
        self.book = book
        self.plan = DiscountPlan(book)
        self.features = {feature.key: feature for feature in book.features}
        self._tariffs = {feature.key: _compiled(feature.tariff) for feature in book.features}
        self._bundled = {key for bundle in book.bundles for key in bundle.features}
        self._plain = {
            key: FeaturePrice(feature, self._tariffs[key], below_cost=bool(feature.rails.below_cost))
            for key, feature in self.features.items()
        }
        self._least_amounts: dict[str, Decimal] = {}
        self._least_amounts = {key: self._least(self._plain[key]) for key in self._bundled}
        self._integer_prices = {key: _IntegerPrice(price) for key, price in self._plain.items()}
        self._least_scaled = {key: scaled(amount, _TOTAL_DIGITS) for key, amount in self._least_amounts.items()}
        self._dependents = {key: frozenset(book.dropped_with(key, self.features)) for key in self.features}

    def total(self, quantities: Mapping[str, Decimal]) -> Decimal:
        """Return only the exact total of a selection at list prices: integers all the way, nothing explained.

        It equals `price_quote(...).total` for the same quantities and no sheet, draw or term.
        Raises InvalidValueError for a tariff that units alone do not price.
        """
        amounts: dict[str, int] = {}
        floor = 0
        for key, quantity in quantities.items():
            amounts[key], own_floor = self._integer_prices[key].amount_and_floor(quantity)
            floor += own_floor
        least = SelectionSums(self.plan, amounts, self._least_scaled).least().total
        return self.plan.decimal(max(least, floor * self.plan.denominator), _TOTAL_DIGITS)

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

    def _special_price(
        self, at_list: FeaturePrice, term: NegotiatedTerm | None, sheet_price: SheetPrice | None, draw: Decimal
    ) -> FeaturePrice:
        """Return the price under a negotiated term or, unless that names a tariff, at the sheet's price."""
        feature = at_list.feature
        tariff = at_list.tariff
        shown: ShownPrice | None = None
        if term is not None and term.tariff is not None:
            tariff = _compiled(term.tariff)
        elif feature.adaptive and sheet_price is not None:
            shown = shown_price(sheet_price, draw)
            tariff = _compiled(tariff_at(feature, shown.price))
        return FeaturePrice(
            feature=feature,
            tariff=tariff,
            percent=term.percent or _ZERO if term is not None else _ZERO,
            below_cost=at_list.below_cost or (term is not None and term.below_cost),
            shown=shown,
            term=term,
            rails=sheet_price.rails if shown is not None and sheet_price is not None else (),
        )

    def price(self, amounts: Mapping[str, RatedFeature], prices: Mapping[str, FeaturePrice]) -> PricedSelection:
        """Apply bundle and number-of-features discounts to rated features: the step quote and invoice share."""
        return self.plan.price(amounts, self._absent(amounts, prices))

    def list_amount(self, key: str, chosen: Chosen) -> Decimal:
        """Return the amount at the book's own tariff, exact, in major units."""
        return amount_of(self._tariffs[key], chosen, self.book.money)

    def _absent(self, chosen: Mapping[str, object], prices: Mapping[str, FeaturePrice]) -> dict[str, Decimal]:
        absent: dict[str, Decimal] = {}
        for key, price in prices.items():
            if key not in chosen and key in self._bundled:
                absent[key] = self._least(price)
        return absent

    def savings(
        self, amounts: Mapping[str, RatedFeature], prices: Mapping[str, FeaturePrice], total: Decimal
    ) -> dict[str, tuple[Decimal, tuple[str, ...]]]:
        """Return by chosen feature what dropping it would save, and the features that would go with it."""
        absent = self._absent(amounts, prices)
        least = {**absent, **{key: self._least(prices[key]) for key in amounts if key in self._bundled}}
        totals = self.plan.totals_without(
            amounts, least, {key: self._dependents[key].intersection(amounts) for key in amounts}
        )
        order = list(amounts)
        return {
            key: (EXACT.subtract(total, totals[key]), tuple(k for k in order if k in self._dependents[key]))
            for key in order
        }

    def _least(self, price: FeaturePrice) -> Decimal:
        """Return the amount at which a feature counts towards a bundle it is not chosen from."""
        key = price.feature.key
        if price is self._plain[key] and key in self._least_amounts:
            return self._least_amounts[key]
        least = Chosen(price.feature.least_quantity)
        return price.rated(amount_of(price.tariff, least, self.book.money), least.quantity).list_amount


@dataclass(frozen=True, slots=True)
class QuoteFacts:
    """What a price depends on besides the book: the sheet, the customer's draws and terms, the selection."""

    sheet: PriceSheet
    selection: Mapping[str, Chosen]
    draws: Mapping[str, Decimal] = field(default_factory=dict)
    terms: Mapping[str, NegotiatedTerm] = field(default_factory=dict)


def price_quote(compiled: CompiledBook, facts: QuoteFacts) -> PricedQuote:
    """Price and explain a selection that obeys the catalog's rules (see `selection_of`).

    Raises what rating raises for a quantity beyond the exact range.
    """
    prices = compiled.feature_prices(facts.sheet, facts.draws, facts.terms, facts.selection)
    money = compiled.book.money
    at_tariff = {key: amount_of(prices[key].tariff, chosen, money) for key, chosen in facts.selection.items()}
    rated = {key: prices[key].rated(at_tariff[key], chosen.quantity) for key, chosen in facts.selection.items()}
    priced = compiled.price(rated, prices)
    savings = compiled.savings(rated, prices, priced.total)
    lines = tuple(
        _line(
            compiled,
            prices[line.feature],
            line,
            priced,
            facts.selection[line.feature],
            at_tariff[line.feature],
            savings,
        )
        for line in priced.lines
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
    priced: PricedSelection,
    chosen: Chosen,
    at_tariff: Decimal,
    savings: Mapping[str, tuple[Decimal, tuple[str, ...]]],
) -> QuoteLine:
    listed = at_tariff if price.is_list_price else compiled.list_amount(line.feature, chosen)
    adjustments, rails = _adjustments(price, line, priced, listed, at_tariff)
    saved, dropped_with = savings[line.feature]
    return QuoteLine(
        feature=line.feature,
        chosen=chosen,
        list_amount=listed,
        adjustments=adjustments,
        amount=line.amount,
        unit_cost=price.feature.unit_cost,
        cost=line.cost,
        saved_if_dropped=saved,
        dropped_with=dropped_with,
        rails=rails,
        shown=price.shown,
        term=price.term,
    )


def _adjustments(
    price: FeaturePrice, line: PricedLine, priced: PricedSelection, listed: Decimal, at_tariff: Decimal
) -> tuple[tuple[Adjustment, ...], tuple[str, ...]]:
    """Return the steps from the list amount to the line's amount, each with its reason, and the rails hit."""
    rails = list(price.rails)
    steps: list[Adjustment] = []
    reason = "negotiated_tariff" if price.shown is None else "adaptive_price"
    _step(steps, reason, EXACT.subtract(at_tariff, listed), price.term.reason if price.term else "")
    after_percent = at_tariff
    if price.percent:
        after_percent = EXACT.multiply(at_tariff, (HUNDRED - price.percent).scaleb(-2))
        _step(
            steps,
            "negotiated_discount",
            EXACT.subtract(after_percent, at_tariff),
            price.term.reason if price.term else "",
        )
    _step(steps, "cost_floor", EXACT.subtract(line.list_amount, after_percent), "not below cost")
    _step(steps, priced.kind.value, line.discount.copy_negate(), priced.key)
    if line.at_floor or line.list_amount != after_percent:
        rails.append("cost_floor")
    elif price.below_cost and line.amount < line.cost:
        rails.append(f"below_cost:{price.feature.rails.below_cost or 'negotiated'}")
    return tuple(steps), tuple(rails)


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
