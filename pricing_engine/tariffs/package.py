"""Package: usage is sold in packages; a package begun counts as a whole one, or only full ones count."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from models.values.errors import InvalidValueError
from models.values.quantity import EXACT, plain
from pricing_engine.tariffs.reading import Fields
from pricing_engine.tariffs.scaling import decimals_of, decimals_of_all
from pricing_engine.tariffs.table import PackageTable, Scale
from pricing_engine.tariffs.table_pricer import TablePricer

UP = "up"
DOWN = "down"


@dataclass(frozen=True, slots=True)
class Package:
    """`package_amount` for each `package_size` units above `free_units`."""

    package_size: Decimal
    package_amount: Decimal | None
    free_units: Decimal = Decimal(0)
    package_rounding: str = UP

    model = "package"

    @staticmethod
    def read(fields: Fields) -> Package:
        """Read `package_size`, `package_amount`, `free_units`, `package_rounding`."""
        size = fields.positive("package_size", "package_size_not_positive")
        if size is None:
            raise InvalidValueError("is required", field=fields.path("package_size"), code="missing_package_size")
        return Package(
            size,
            fields.amount("package_amount", "negative_price"),
            fields.amount("free_units", "negative_free_units") or Decimal(0),
            fields.choice("package_rounding", (UP, DOWN), "unknown_package_rounding") or UP,
        )

    def document(self) -> dict[str, Any]:
        """Write the fields of this shape."""
        document: dict[str, Any] = {"package_size": plain(self.package_size)}
        if self.package_amount is not None:
            document["package_amount"] = plain(self.package_amount)
        if self.free_units:
            document["free_units"] = plain(self.free_units)
        if self.package_rounding != UP:
            document["package_rounding"] = self.package_rounding
        return document

    def unit_decimals(self) -> int:
        """Digits behind the point of size and free units."""
        return decimals_of_all((self.package_size, self.free_units))

    def price_decimals(self) -> int:
        """Digits behind the point of the amount of a package."""
        return decimals_of(self.package_amount)

    def table(self, scale: Scale) -> PackageTable:
        """Compile to size and amount."""
        return PackageTable(
            unit_one=scale.unit_one,
            free_up_to=scale.units(EXACT.add(self.free_units, scale.free_front)),
            package_size=scale.units(self.package_size),
            package_amount=scale.amount(self.package_amount or Decimal(0)),
            round_up=self.package_rounding == UP,
            unit_amount=self.package_amount,
        )

    def pricer(self, scale: Scale) -> TablePricer:
        """Compile to a pricer of `usage.units`."""
        return TablePricer(self.table(scale))
