"""What one feature costs one customer: its tariff, and what led from the list price to it.

`FeaturePrice` rates any quantity or usage, in decimals. `WholeUnits` is its shadow in integers for the common case,
a whole quantity that the tariff alone prices: two multiplications, the same amount.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

import msgspec

from models.values.money import Currency
from models.values.quantity import EXACT
from pricing_engine.catalog import HUNDRED, Feature
from pricing_engine.negotiated_terms import NegotiatedTerm
from pricing_engine.price_sheet import ShownPrice
from pricing_engine.pricing import SHARE_DIGITS, RatedFeature
from pricing_engine.rating import CompiledTariff, EventUsage, Usage, UsageGroup, compile_tariff, parse_usage, rate
from pricing_engine.selection import Chosen
from pricing_engine.tariffs.matrix import Matrix
from pricing_engine.tariffs.scaling import decimals_of, scaled
from pricing_engine.tariffs.table import Table
from pricing_engine.tariffs.tariff import Tariff

_ZERO = Decimal(0)


class WholeUnits:
    """A feature's price and cost of whole quantities, as integers of 10^-digits of the major unit."""

    __slots__ = ("_finer", "_price", "_unit", "_unit_floor")

    def __init__(self, tariff: CompiledTariff, table: Table, unit_floor: Decimal, digits: int) -> None:
        self._price = table.price if tariff.is_plain else tariff.price_scaled
        self._unit = 10**tariff.unit_exponent
        self._finer = 10 ** (digits - tariff.amount_exponent)
        self._unit_floor = scaled(unit_floor, digits)

    def amount_and_floor(self, units: int) -> tuple[int, int]:
        """Return the amount at the tariff, not yet lifted to the cost floor, and that floor. `units` >= 0."""
        return self._price(units * self._unit) * self._finer, self._unit_floor * units


def whole_units(tariff: CompiledTariff, unit_cost: Decimal, digits: int, *, below_cost: bool) -> WholeUnits | None:
    """Return the integer form of a tariff; None where units alone do not price it, or it has more digits."""
    table = tariff.table
    if table is None or tariff.modifiers.event_minimum is not None or tariff.divisor != 1:
        return None
    if digits_of(tariff, unit_cost) > digits:
        return None
    return WholeUnits(tariff, table, _ZERO if below_cost else unit_cost, digits)


def digits_of(tariff: CompiledTariff, unit_cost: Decimal) -> int:
    """Return the digits behind the point of what whole quantities cost and are sold for."""
    return max(tariff.amount_exponent, decimals_of(unit_cost))


class FeaturePrice(msgspec.Struct, frozen=True):
    """One feature's effective price for one customer: its tariff, and what led from the list to it.

    `least`: the list amount at the feature's least quantity, which counts towards a bundle while it is not chosen.
    `whole`: the same price in integers, where it has that form.
    """

    feature: Feature
    tariff: CompiledTariff
    least: Decimal
    whole: WholeUnits | None = None
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
        return _rated(self.feature, self.percent, amount, quantity, below_cost=self.below_cost)


def feature_price(
    feature: Feature,
    tariff: CompiledTariff,
    money: Currency,
    digits: int = SHARE_DIGITS,
    *,
    percent: Decimal = _ZERO,
    below_cost: bool = False,
    term: NegotiatedTerm | None = None,
) -> FeaturePrice:
    """Return the price of a feature at a tariff, less `percent`, ready to rate quantities: whole ones to `digits`."""
    least = Chosen(feature.least_quantity)
    at_least = _rated(feature, percent, amount_of(tariff, least, money), least.quantity, below_cost=below_cost)
    whole = None if percent else whole_units(tariff, feature.unit_cost, digits, below_cost=below_cost)
    return FeaturePrice(feature, tariff, at_least.list_amount, whole, percent, below_cost, term=term)


def _rated(feature: Feature, percent: Decimal, amount: Decimal, quantity: Decimal, *, below_cost: bool) -> RatedFeature:
    cost = EXACT.multiply(feature.unit_cost, quantity)
    if percent:
        amount = EXACT.multiply(amount, (HUNDRED - percent).scaleb(-2))
    if below_cost:
        return RatedFeature(amount, cost, _ZERO)
    return RatedFeature(max(amount, cost), cost, cost)


@lru_cache(maxsize=4096)
def compiled_tariff(tariff: Tariff) -> CompiledTariff:
    """Return the tariff compiled; equal tariffs are compiled once."""
    return compile_tariff(tariff)


def amount_of(tariff: CompiledTariff, chosen: Chosen, money: Currency) -> Decimal:
    """Return the exact amount of one feature's quantity, or of its usage where that is given.

    A matrix prices a bare quantity at its default, a prorated price one that is held for the whole period. Raises
    InvalidValueError where units are not enough.
    """
    if chosen.usage is not None:
        return rate(tariff, parse_usage(chosen.usage), money).amount
    if tariff.table is None and isinstance(tariff.tariff.shape, Matrix):
        groups = (UsageGroup((), chosen.quantity),) if chosen.quantity else ()
        return rate(tariff, Usage(groups=groups), money).amount
    if tariff.tariff.prorated:
        held = EventUsage(full=chosen.quantity, prorated=chosen.quantity)
        usage = Usage(units=chosen.quantity, full_units=chosen.quantity, events=(held,))
        return rate(tariff, usage, money).amount
    if not chosen.quantity and (tariff.table is None or tariff.modifiers.event_minimum is not None):
        return rate(tariff, Usage(units=_ZERO, event_count=0, events=(), buckets=()), money).amount
    return tariff.amount(chosen.quantity)
