"""Flat: one amount a period, whatever the usage. In arrears it falls due with the last split, in advance at once."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from models.values.errors import InvalidValueError
from models.values.quantity import MAX_FRACTION_DIGITS, plain
from pricing_engine.tariffs.reading import Fields
from pricing_engine.tariffs.scaling import decimals_of
from pricing_engine.tariffs.table import Piece, Scale, SegmentTable
from pricing_engine.tariffs.table_pricer import AlwaysPricer

IN_ADVANCE = "in_advance"
IN_ARREARS = "in_arrears"


@dataclass(frozen=True, slots=True)
class Flat:
    """`amount` may be negative: a rebate. `proration` says whether a part of a period costs a part of it."""

    amount: Decimal
    proration: bool = False
    payment_term: str = IN_ARREARS

    model = "flat"

    @staticmethod
    def read(fields: Fields) -> Flat:
        """Read `amount`, `proration`, `payment_term`."""
        amount = fields.decimal("amount")
        if amount is None:
            raise InvalidValueError("is required", field=fields.path("amount"), code="missing_flat_amount")
        term = fields.choice("payment_term", (IN_ADVANCE, IN_ARREARS), "unknown_payment_term")
        return Flat(amount, fields.flag("proration") or False, term or IN_ARREARS)

    def document(self) -> dict[str, Any]:
        """Write the fields of this shape."""
        document: dict[str, Any] = {"amount": plain(self.amount)}
        if self.proration:
            document["proration"] = True
        if self.payment_term != IN_ARREARS:
            document["payment_term"] = self.payment_term
        return document

    def unit_decimals(self) -> int:
        """No quantity is part of this price."""
        return 0

    def price_decimals(self) -> int:
        """Digits behind the point of the amount; a part of it keeps 24."""
        return MAX_FRACTION_DIGITS if self.proration else decimals_of(self.amount)

    def table(self, scale: Scale) -> SegmentTable:
        """Compile to one level piece."""
        amount = scale.amount(self.amount)
        piece = Piece("flat", None, "flat", self.amount, amount)
        return SegmentTable(scale.unit_one, 0, amount, (), (0,), (0,), (amount,), True, (piece,))  # noqa: FBT003

    def pricer(self, scale: Scale) -> AlwaysPricer:
        """Compile to a pricer of `usage.units`."""
        return AlwaysPricer(self.table(scale), self.proration)
