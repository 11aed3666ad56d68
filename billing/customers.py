"""Customers and the legal entities that bill them. Everything else refers to a customer by key alone."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from models.values.errors import InvalidValueError
from models.values.ids import check_external_id, check_key
from models.values.money import currency

_COUNTRY_CHARS = 2


@dataclass(frozen=True, slots=True)
class LegalEntity:
    """Who issues invoices. `number_prefix` begins its invoice numbers; its series has no gaps."""

    key: str
    name: str
    country: str
    address: str = ""
    tax_id: str = ""
    number_prefix: str = "INV"

    def __post_init__(self) -> None:
        """Refuse a malformed key, country or prefix."""
        check_key(self.key, "legal_entity.key")
        _check_country(self.country, "legal_entity.country")
        if not self.number_prefix or not self.number_prefix.isascii():
            raise InvalidValueError("must be ASCII text", field="legal_entity.number_prefix", value=self.number_prefix)


@dataclass(frozen=True, slots=True)
class Customer:
    """A customer. Name, address, email and tax id are personal data and are kept in one table only."""

    key: str
    legal_entity: str
    legal_name: str
    country: str
    currency: str
    email: str = ""
    address: str = ""
    language: str = "en"
    zone: str = "UTC"
    segment: str = "default"
    channel: str = "direct"
    tax_id: str = ""
    tax_exempt: bool = False

    def __post_init__(self) -> None:
        """Refuse an unknown currency, zone or country."""
        check_external_id(self.key, "customer.key")
        check_key(self.segment, "customer.segment")
        check_key(self.channel, "customer.channel")
        _check_country(self.country, "customer.country")
        currency(self.currency)
        if not self.legal_name:
            raise InvalidValueError("must not be empty", field="customer.legal_name")
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise InvalidValueError("must be an IANA time zone", field="customer.zone", value=self.zone) from error


def _check_country(country: str, field: str) -> None:
    if len(country) != _COUNTRY_CHARS or not (country.isascii() and country.isupper()):
        raise InvalidValueError("must be an ISO 3166 code of two capitals", field=field, value=country)
