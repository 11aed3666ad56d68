"""Unit conversion: from the metered unit to the one that is priced, then rounding. The first step of rating.

It applies to the cumulative quantity, so the splits of a period always sum to the whole. A division that has no
finite decimal form, such as seconds to hours, stays exact: quantities are then counted in finer units (`divisor`).
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from models.values.errors import InvalidValueError
from models.values.quantity import plain
from pricing_engine.tariffs.reading import Fields
from pricing_engine.tariffs.scaling import decimals_of, half_away, scaled

MULTIPLY = "multiply"
DIVIDE = "divide"
NONE = "none"
CEILING = "ceiling"
FLOOR = "floor"
HALF_UP = "half_up"


@dataclass(frozen=True, slots=True)
class UnitConversion:
    """Multiply or divide by `factor`, then round to whole units (away from zero for `ceiling`)."""

    operation: str
    factor: Decimal
    rounding: str = NONE

    @staticmethod
    def read(fields: Fields) -> UnitConversion:
        """Read `operation`, `factor`, `rounding`."""
        operation = fields.choice("operation", (MULTIPLY, DIVIDE), "unknown_conversion_operation")
        factor = fields.positive("factor", "conversion_factor_not_positive")
        rounding = fields.choice("rounding", (NONE, CEILING, FLOOR, HALF_UP), "unknown_conversion_rounding") or NONE
        fields.finish("unknown_conversion_field")
        if operation is None or factor is None:
            missing = "operation" if operation is None else "factor"
            raise InvalidValueError("is required", field=fields.path(missing), code="incomplete_conversion")
        return UnitConversion(operation, factor, rounding)

    def document(self) -> dict[str, Any]:
        """Write the conversion in wire form."""
        document = {"operation": self.operation, "factor": plain(self.factor)}
        return document if self.rounding == NONE else document | {"rounding": self.rounding}

    def describe(self) -> str:
        """Say it in words, for an explanation."""
        rounding = "" if self.rounding == NONE else f", rounded {self.rounding}"
        return f"{self.operation} by {plain(self.factor)}{rounding}"


@dataclass(frozen=True, slots=True)
class CompiledConversion:
    """Integer form: result = raw * numerator / denominator, rounded, times `one`.

    With rounding `none` the numerator already has the billable scale, so that the division leaves no rest.
    """

    numerator: int
    denominator: int
    rounding: str
    one: int

    def apply(self, raw: int) -> int:
        """Convert a raw quantity to billable units. Odd in its argument: f(-x) = -f(x)."""
        magnitude = abs(raw) * self.numerator
        if self.rounding == CEILING:
            result = -(-magnitude // self.denominator)
        elif self.rounding == FLOOR:
            result = magnitude // self.denominator
        elif self.rounding == HALF_UP:
            result = half_away(magnitude, self.denominator)
        else:
            result = magnitude // self.denominator
        return result * self.one if raw >= 0 else -result * self.one


def compile_conversion(
    conversion: UnitConversion, raw_exponent: int, least_exponent: int
) -> tuple[CompiledConversion, int, int]:
    """Compile for raw quantities of 10^-raw_exponent; return it with exponent and divisor of billable units.

    `least_exponent`: decimals that tier edges and allowances need at least. The divisor is 1 but for a division
    without finite decimal form that is not rounded.
    """
    decimals = decimals_of(conversion.factor)
    factor = scaled(conversion.factor, decimals)
    if conversion.operation == MULTIPLY:
        numerator, denominator = factor, 10 ** (raw_exponent + decimals)
    else:
        numerator, denominator = 10**decimals, factor * 10**raw_exponent
    if conversion.rounding != NONE:
        one = 10**least_exponent
        return CompiledConversion(numerator, denominator, conversion.rounding, one), least_exponent, 1
    exponent, divisor = _finite_form(Fraction(numerator, denominator).denominator)
    exponent = max(least_exponent, exponent)
    return CompiledConversion(numerator * 10**exponent * divisor, denominator, NONE, 1), exponent, divisor


def _finite_form(denominator: int) -> tuple[int, int]:
    """Return (e, d) such that denominator divides 10^e * d, d without factors 2 and 5, both least."""
    powers = []
    for prime in (2, 5):
        power = 0
        while denominator % prime == 0:
            denominator //= prime
            power += 1
        powers.append(power)
    return max(powers), denominator
