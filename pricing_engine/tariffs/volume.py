"""Volume: the tier that the whole usage reaches prices all of it. Passing an edge may lower the amount."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

from models.values.quantity import EXACT
from pricing_engine.tariffs.reading import Fields
from pricing_engine.tariffs.table import Scale, SegmentTable
from pricing_engine.tariffs.table_pricer import TablePricer
from pricing_engine.tariffs.tier import Tier, amount_decimals, edge_decimals, read_tiers, tiers_document, volume_table

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Volume:
    """The one tier reached gives the unit amount of every unit and the flat amount."""

    tiers: tuple[Tier, ...]

    model = "volume"

    @staticmethod
    def read(fields: Fields) -> Volume:
        """Read `tiers`."""
        return Volume(read_tiers(fields, "unit_amount"))

    def document(self) -> dict[str, Any]:
        """Write the fields of this shape."""
        return {"tiers": tiers_document(self.tiers, "unit_amount")}

    def can_fall(self, included: Decimal) -> bool:
        """Return whether passing the edge of a tier can lower the amount; `included` shifts the edges."""
        for tier, following in pairwise(self.tiers):
            reached = EXACT.add(tier.up_to or _ZERO, included)
            if _just_above(following, reached) < _at(tier, reached):
                return True
        return False

    def unit_decimals(self) -> int:
        """Digits behind the point of the edges."""
        return edge_decimals(self.tiers)

    def price_decimals(self) -> int:
        """Digits behind the point of the amounts."""
        return amount_decimals(self.tiers)

    def table(self, scale: Scale) -> SegmentTable:
        """Compile to one piece a tier, each from zero."""
        return volume_table(self.tiers, scale)

    def pricer(self, scale: Scale) -> TablePricer:
        """Compile to a pricer of `usage.units`."""
        return TablePricer(self.table(scale))


def _at(tier: Tier, units: Decimal) -> Decimal:
    full, rest = _packages(tier, units)
    return _amount(tier, units, full + 1 if rest else full)


def _just_above(tier: Tier, units: Decimal) -> Decimal:
    """Return the least price of more than `units`: a package beyond the full ones has begun."""
    full, _ = _packages(tier, units)
    return _amount(tier, units, full + 1)


def _packages(tier: Tier, units: Decimal) -> tuple[Decimal, Decimal]:
    return (_ZERO, _ZERO) if tier.package_size is None else EXACT.divmod(units, tier.package_size)


def _amount(tier: Tier, units: Decimal, packages: Decimal) -> Decimal:
    metered = EXACT.add(EXACT.multiply(units, tier.unit_amount or _ZERO), tier.flat_amount or _ZERO)
    return EXACT.add(metered, EXACT.multiply(packages, tier.package_amount or _ZERO))
