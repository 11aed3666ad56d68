"""What one feature costs one customer: its tariff, and what led from the list price to it.

`FeaturePrice` rates any quantity or usage, in decimals. `WholeUnits` is its shadow in integers for the common case,
a whole quantity that the tariff alone prices: two multiplications, the same amount.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from models.values.money import Currency
from models.values.quantity import EXACT
from pricing_engine.catalog import HUNDRED, Chosen, Feature
from pricing_engine.negotiated_terms import NegotiatedTerm
from pricing_engine.price_sheet import ShownPrice
from pricing_engine.pricing import SHARE_DIGITS, RatedFeature
from pricing_engine.rating import CompiledTariff, Usage, UsageGroup, compile_tariff, parse_usage, rate
from pricing_engine.tariffs.matrix import Matrix
from pricing_engine.tariffs.scaling import decimals_of, scaled
from pricing_engine.tariffs.tariff import Tariff

_ZERO = Decimal(0)


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
def compiled_tariff(tariff: Tariff) -> CompiledTariff:
    """Return the tariff compiled; equal tariffs are compiled once."""
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


class WholeUnits:
    """A feature's price and cost of whole quantities, as integers of 10^-SHARE_DIGITS of the major unit."""

    def __init__(self, price: FeaturePrice) -> None:
        self._price_scaled = price.tariff.price_scaled
        self._unit = 10**price.tariff.unit_exponent
        self._finer = 10 ** (SHARE_DIGITS - price.tariff.amount_exponent)
        self._unit_floor = 0 if price.below_cost else scaled(price.feature.unit_cost, SHARE_DIGITS)

    def amount_and_floor(self, units: int) -> tuple[int, int]:
        """Return the amount at the tariff, not yet lifted to the cost floor, and that floor."""
        return self._price_scaled(units * self._unit) * self._finer, self._unit_floor * units


def whole_units(price: FeaturePrice) -> WholeUnits | None:
    """Return the integer form of a price; None where units alone do not tell it, or it has too many digits."""
    tariff = price.tariff
    digits = max(tariff.amount_exponent, decimals_of(price.feature.unit_cost))
    units_alone = tariff.table is not None and tariff.modifiers.event_minimum is None and tariff.divisor == 1
    if not units_alone or price.percent or digits > SHARE_DIGITS:
        return None
    return WholeUnits(price)
