"""Tax: a port (line, buyer, date) -> rate, one for amounts beside it, and a built-in dated table of rates.

The table knows standard and reduced rates of value-added and goods-and-services taxes. It is a starting point, not
advice: a company with duties elsewhere, US sales tax among them, plugs its own `TaxRates` in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Protocol, runtime_checkable

from billing.customers import Customer, LegalEntity
from models.values.errors import InvalidValueError, NotFoundError
from models.values.ids import check_key

STANDARD, REDUCED, ZERO, EXEMPT = "standard", "reduced", "zero", "exempt"
_EU = frozenset(
    {
        "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU",
        "IE", "IT", "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
    }
)  # fmt: skip
_BEGINNING = date(1, 1, 1)


@dataclass(frozen=True, slots=True)
class TaxRate:
    """A tax as it stands on a line: `code` names the ledger's tax account, `percent` of the net."""

    code: str
    percent: Decimal


NO_TAX = TaxRate("none", Decimal(0))


@dataclass(frozen=True, slots=True)
class LineToTax:
    """A line of a draft as amounts are asked for: its number, and its net in minor units, rounded."""

    line: int
    feature: str
    category: str
    net_minor: int


@dataclass(frozen=True, slots=True)
class TaxAmount:
    """A tax that is an amount, in minor units of the invoice: of the line of that number, or of the whole invoice.

    `code` names the ledger's tax account. Raises InvalidValueError for another form of code, or no whole minor units.
    """

    code: str
    amount_minor: int
    line: int | None = None

    def __post_init__(self) -> None:
        check_key(self.code, "tax.code")
        if type(self.amount_minor) is not int:
            raise InvalidValueError("must be whole minor units", field="tax.amount_minor", value=self.amount_minor)


class TaxRates(Protocol):
    """Answers which tax a line bears. What answers amounts too is `TaxAmounts`."""

    def rate(self, category: str, customer: Customer, seller: LegalEntity, on: date) -> TaxRate:
        """Return the rate for a line of `category` invoiced on a date. Raises NotFoundError for what it cannot know."""
        ...


@runtime_checkable
class TaxAmounts(Protocol):
    """Answers which taxes of an invoice are amounts; looked for in what answers the rates."""

    def amounts(
        self, lines: Sequence[LineToTax], currency: str, customer: Customer, seller: LegalEntity, on: date
    ) -> Sequence[TaxAmount]:
        """Return the amounts of an invoice of that date with those lines; asked once, when it is drafted."""
        ...


def _since(*steps: tuple[str, str]) -> tuple[tuple[date, Decimal], ...]:
    return tuple((date.fromisoformat(day) if day else _BEGINNING, Decimal(percent)) for day, percent in steps)


_RATES: Mapping[tuple[str, str], tuple[tuple[date, Decimal], ...]] = {
    ("AT", STANDARD): _since(("", "20")),
    ("AU", STANDARD): _since(("", "10")),
    ("BE", STANDARD): _since(("", "21")),
    ("BG", STANDARD): _since(("", "20")),
    ("CA", STANDARD): _since(("", "5")),
    ("CH", STANDARD): _since(("", "7.7"), ("2024-01-01", "8.1")),
    ("CH", REDUCED): _since(("", "2.5"), ("2024-01-01", "2.6")),
    ("CY", STANDARD): _since(("", "19")),
    ("CZ", STANDARD): _since(("", "21")),
    ("DE", STANDARD): _since(("", "19"), ("2020-07-01", "16"), ("2021-01-01", "19")),
    ("DE", REDUCED): _since(("", "7"), ("2020-07-01", "5"), ("2021-01-01", "7")),
    ("DK", STANDARD): _since(("", "25")),
    ("EE", STANDARD): _since(("", "20"), ("2024-01-01", "22"), ("2025-07-01", "24")),
    ("ES", STANDARD): _since(("", "21")),
    ("ES", REDUCED): _since(("", "10")),
    ("FI", STANDARD): _since(("", "24"), ("2024-09-01", "25.5")),
    ("FR", STANDARD): _since(("", "20")),
    ("FR", REDUCED): _since(("", "5.5")),
    ("GB", STANDARD): _since(("", "20")),
    ("GB", REDUCED): _since(("", "5")),
    ("GR", STANDARD): _since(("", "24")),
    ("HR", STANDARD): _since(("", "25")),
    ("HU", STANDARD): _since(("", "27")),
    ("IE", STANDARD): _since(("", "23"), ("2020-09-01", "21"), ("2021-03-01", "23")),
    ("IN", STANDARD): _since(("", "18")),
    ("IT", STANDARD): _since(("", "22")),
    ("IT", REDUCED): _since(("", "10")),
    ("JP", STANDARD): _since(("", "8"), ("2019-10-01", "10")),
    ("JP", REDUCED): _since(("", "8")),
    ("KR", STANDARD): _since(("", "10")),
    ("LT", STANDARD): _since(("", "21")),
    ("LU", STANDARD): _since(("", "17"), ("2023-01-01", "16"), ("2024-01-01", "17")),
    ("LV", STANDARD): _since(("", "21")),
    ("MT", STANDARD): _since(("", "18")),
    ("NL", STANDARD): _since(("", "21")),
    ("NL", REDUCED): _since(("", "6"), ("2019-01-01", "9")),
    ("NO", STANDARD): _since(("", "25")),
    ("NZ", STANDARD): _since(("", "15")),
    ("PL", STANDARD): _since(("", "23")),
    ("PT", STANDARD): _since(("", "23")),
    ("RO", STANDARD): _since(("", "19"), ("2025-08-01", "21")),
    ("SE", STANDARD): _since(("", "25")),
    ("SG", STANDARD): _since(("", "7"), ("2023-01-01", "8"), ("2024-01-01", "9")),
    ("SI", STANDARD): _since(("", "22")),
    ("SK", STANDARD): _since(("", "20"), ("2025-01-01", "23")),
    ("US", STANDARD): _since(("", "0")),  # No federal sales tax; states' taxes need a provider.
}
"""Percent by country and category, each from its first day on."""


class BuiltInRates:
    """The built-in table, with the place of supply for services between businesses.

    Domestic: the seller's rate. Inside the EU: none where the buyer has a tax id (the buyer accounts for it), else
    the buyer's rate. Elsewhere abroad: none, an export.
    """

    def rate(self, category: str, customer: Customer, seller: LegalEntity, on: date) -> TaxRate:
        """Return the rate. Raises NotFoundError for a country or category the table does not know."""
        if customer.tax_exempt or category == EXEMPT:
            return TaxRate("exempt", Decimal(0))
        country = seller.country
        if customer.country != seller.country:
            if not {customer.country, seller.country} <= _EU:
                return TaxRate("export", Decimal(0))
            if customer.tax_id:
                return TaxRate("reverse_charge", Decimal(0))
            country = customer.country
        if category == ZERO:
            return TaxRate(f"{country.lower()}.{ZERO}", Decimal(0))
        steps = _RATES.get((country, category))
        if steps is None:
            raise NotFoundError(
                "no tax rate on record; plug in a source of rates that knows it",
                field="tax",
                value=f"{country} {category}",
                code="unknown_tax_rate",
            )
        percent = next(percent for since, percent in reversed(steps) if since <= on)
        return TaxRate(f"{country.lower()}.{category}", percent) if percent else NO_TAX


class FixedRate:
    """One percent for every line: for tests, and for sellers in one country only."""

    def __init__(self, code: str, percent: Decimal) -> None:
        self._rate = TaxRate(code, percent)

    def rate(self, category: str, customer: Customer, seller: LegalEntity, on: date) -> TaxRate:
        """Return the rate."""
        return self._rate
