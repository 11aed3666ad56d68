"""The allowance: how many units of a meter a tariff gives before the first that costs something."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Context, Decimal

from models.values.quantity import EXACT
from pricing_engine.tariffs.conversion import DIVIDE, NONE
from pricing_engine.tariffs.graduated import Graduated
from pricing_engine.tariffs.package import Package
from pricing_engine.tariffs.tariff import Tariff
from pricing_engine.tariffs.tier import Tier
from pricing_engine.tariffs.unit import Unit
from pricing_engine.tariffs.volume import Volume

_ZERO = Decimal(0)
_QUOTIENT = Context(prec=60, rounding=ROUND_FLOOR)


def allowance(tariff: Tariff) -> Decimal | None:
    """Return the units a period includes, as the meter counts them: included units, discount, free first tiers.

    None where units alone do not say it (prices by event, hour, level or property), where every unit costs something
    and where none does. Behind a unit conversion or in blocks it is what is free for certain: whole units.
    """
    if tariff.windows is not None or tariff.prorated:
        return None
    front = _front(tariff)
    if front is None:
        return None
    conversion = tariff.unit_conversion
    if tariff.billing_units is not None:
        blocks = EXACT.divide_int(_included(tariff, front), tariff.billing_units)
        return EXACT.multiply(blocks, tariff.billing_units) or None
    units = _included(tariff, front)
    if conversion is None:
        return units or None
    if conversion.rounding != NONE:
        units = EXACT.divide_int(units, Decimal(1))
    if conversion.operation == DIVIDE:
        return EXACT.multiply(units, conversion.factor) or None
    return _QUOTIENT.divide(units, conversion.factor) or None


def _included(tariff: Tariff, front: Decimal) -> Decimal:
    return EXACT.add(EXACT.add(front, tariff.included_units or _ZERO), tariff.usage_discount or _ZERO)


def _front(tariff: Tariff) -> Decimal | None:
    """Return the units that the shape itself gives; None where it gives all, or has no units to give."""
    match tariff.shape:
        case Unit(unit_amount=amount):
            return _ZERO if amount else None
        case Package(package_amount=amount, free_units=free):
            return free if amount else None
        case Graduated(tiers=tiers) | Volume(tiers=tiers):
            return _free_tiers(tiers)
    return None


def _free_tiers(tiers: tuple[Tier, ...]) -> Decimal | None:
    edge = _ZERO
    for tier in tiers:
        if tier.unit_amount or tier.flat_amount:
            return edge
        if tier.up_to is None:
            return None
        edge = tier.up_to
    return edge
