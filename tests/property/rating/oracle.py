"""A slow second opinion: cumulative amounts by the plain definition, in fractions, unit by unit of the documentation.

Shares no code with the engine but the reading of numbers.
"""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor
from typing import Any

Json = dict[str, Any]


def number(text: Any) -> Fraction:
    return Fraction(text if text is not None else 0)


def amount(tariff: Json, units: str) -> Fraction:
    """Return the whole period's exact amount."""
    quantity = converted(tariff, number(units))
    price = priced(tariff, quantity)
    return finished(tariff, price)


def converted(tariff: Json, quantity: Fraction) -> Fraction:
    conversion = tariff.get("unit_conversion")
    if conversion is None:
        return quantity
    factor = number(conversion["factor"])
    quantity = quantity * factor if conversion["operation"] == "multiply" else quantity / factor
    rounding = conversion["rounding"]
    if rounding == "ceiling":
        return Fraction(ceil(quantity))
    if rounding == "floor":
        return Fraction(floor(quantity))
    return Fraction(floor(quantity + Fraction(1, 2))) if rounding == "half_up" else quantity


def priced(tariff: Json, quantity: Fraction) -> Fraction:
    included, discount = number(tariff.get("included_units")), number(tariff.get("usage_discount"))
    model = tariff["model"]
    left = max(quantity - included - discount, Fraction(0))
    if model == "unit":
        return left * number(tariff["unit_amount"])
    if model == "package":
        packages = max(left - number(tariff["free_units"]), Fraction(0)) / number(tariff["package_size"])
        return (ceil(packages) if tariff["package_rounding"] == "up" else floor(packages)) * number(
            tariff["package_amount"]
        )
    if left == 0:
        first = number(tariff["tiers"][0]["flat_amount"])
        return first if tariff["zero_usage_flat_fee"] and not included else Fraction(0)
    if model == "volume":
        for tier in tariff["tiers"]:
            if tier["up_to"] is None or left <= number(tier["up_to"]):
                return sold(tier, quantity - discount) + number(tier["flat_amount"])
    total, reached = Fraction(0), Fraction(0)
    for tier in tariff["tiers"]:
        end = left if tier["up_to"] is None else min(left, number(tier["up_to"]))
        if left > reached:
            total += sold(tier, end - reached) + number(tier["flat_amount"])
        reached = end
    return total


def sold(tier: Json, units: Fraction) -> Fraction:
    if tier.get("package_size") is not None:
        return ceil(units / number(tier["package_size"])) * number(tier["package_amount"])
    return units * (number(tier.get("unit_amount")) + number(tier.get("rate")) / 100)


def finished(tariff: Json, price: Fraction, *, final: bool = True) -> Fraction:
    overage = tariff.get("overage")
    if overage and price > number(overage["commitment"]):
        commitment = number(overage["commitment"])
        price = commitment + (price - commitment) * number(overage["factor"])
    price -= price * number(tariff.get("percentage_discount")) / 100
    if tariff.get("maximum_spend") is not None:
        price = min(price, number(tariff["maximum_spend"]))
    if final and tariff.get("minimum_spend") is not None:
        price = max(price, number(tariff["minimum_spend"]))
    return price
