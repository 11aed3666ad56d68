"""How Stripe counts each currency: its smallest unit, the step amounts must keep, the least it will charge.

The figures stand in `currencies.json`, versioned data that finance can check and replace, not in code.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.resources import files
from typing import Any

from models.values.errors import InvalidValueError
from models.values.money import currency, round_fraction


@dataclass(frozen=True, slots=True)
class StripeCurrency:
    """`per_minor`: Stripe's units in one of our minor units. `step_minor`, `minimum_minor` in our minor units."""

    code: str
    per_minor: Fraction
    step_minor: int
    minimum_minor: int

    def collectable(self, owed_minor: int) -> int:
        """Return what of `owed_minor` (>= 0) Stripe can collect: a whole number of steps, and not below the minimum."""
        whole_steps = owed_minor - owed_minor % self.step_minor
        return whole_steps if whole_steps >= self.minimum_minor else 0

    def to_wire(self, amounts_minor: Sequence[int]) -> list[int]:
        """Return amounts in Stripe's units; they sum to what the sum of the arguments comes to.

        Exact wherever Stripe counts at least as finely as we do. Where it counts more coarsely (MGA), each amount
        is the difference of rounded running totals, so that rounding never adds up.
        """
        wired, running, sent = [], Fraction(0), 0
        for amount in amounts_minor:
            running += amount * self.per_minor
            upto = round_fraction(running)
            wired.append(upto - sent)
            sent = upto
        return wired

    def from_wire(self, amount: int) -> int:
        """Return Stripe's amount in our minor units. Raises InvalidValueError for parts of one."""
        minor = amount / self.per_minor
        if minor.denominator != 1:
            raise InvalidValueError(f"is no whole minor unit of {self.code}", field="amount", value=amount)
        return int(minor)


@cache
def stripe_currency(code: str) -> StripeCurrency:
    """Return how Stripe counts an ISO 4217 currency, whichever case. Raises InvalidValueError for custom credits."""
    ours = currency(code.upper())
    if "." in ours.code:
        raise InvalidValueError("custom credits cannot be collected", field="currency", value=code)
    table = currency_table()
    exponent = table["wire"].get(ours.code, {}).get("exponent", ours.exponent)
    per_minor = Fraction(10) ** (exponent - ours.exponent)
    step = Fraction(table["step_on_wire"].get(ours.code, 1)) / per_minor
    minimum = table["minimum_charge_minor"].get(ours.code, table["minimum_charge_elsewhere_minor"])
    return StripeCurrency(ours.code, per_minor, max(1, int(step)), minimum)


def wire_amount(code: str, amount_minor: int) -> int:
    """Return one amount above zero as it travels. Raises InvalidValueError otherwise."""
    if amount_minor <= 0:
        raise InvalidValueError("must be above 0", field="amount", value=amount_minor)
    (wired,) = stripe_currency(code).to_wire([amount_minor])
    return wired


@cache
def currency_table() -> dict[str, Any]:
    """Return the versioned table."""
    table: dict[str, Any] = json.loads(files("billing.stripe").joinpath("currencies.json").read_text("utf-8"))
    return table
