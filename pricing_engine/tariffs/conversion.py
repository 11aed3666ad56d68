"""Unit conversion: from the metered unit to the one that is priced, then rounding. The first step of rating.

A division that has no finite decimal form keeps 24 decimal places, rounded half away from zero; everything after
it is exact again. It applies to the cumulative quantity, so the splits of a period always sum to the whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from models.values.errors import InvalidValueError
from models.values.quantity import MAX_FRACTION_DIGITS, plain
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

    With rounding `none` the result already has the billable scale and `one` is 1; it is whole unless the division
    has no finite form.
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
        else:
            result = half_away(magnitude, self.denominator)
        return result * self.one if raw >= 0 else -result * self.one


def compile_conversion(
    conversion: UnitConversion, raw_exponent: int, least_exponent: int
) -> tuple[CompiledConversion, int]:
    """Compile for raw quantities of 10^-raw_exponent; return it with the exponent of billable units.

    `least_exponent`: decimals that tier edges and allowances need at least.
    """
    decimals = decimals_of(conversion.factor)
    factor = scaled(conversion.factor, decimals)
    if conversion.operation == MULTIPLY:
        numerator, denominator = factor, 10 ** (raw_exponent + decimals)
    else:
        numerator, denominator = 10**decimals, factor * 10**raw_exponent
    if conversion.rounding != NONE:
        return CompiledConversion(numerator, denominator, conversion.rounding, 10**least_exponent), least_exponent
    exponent = max(least_exponent, _decimals_needed(numerator, denominator))
    return CompiledConversion(numerator * 10**exponent, denominator, NONE, 1), exponent


def _decimals_needed(numerator: int, denominator: int) -> int:
    """Digits behind the point with which k * numerator / denominator is whole for every integer k."""
    for exponent in range(MAX_FRACTION_DIGITS):
        if numerator * 10**exponent % denominator == 0:
            return exponent
    return MAX_FRACTION_DIGITS
