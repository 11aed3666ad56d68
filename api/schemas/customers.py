"""Customers as they are sent and shown, and what one owes so far."""

from __future__ import annotations

from dataclasses import asdict
from typing import TypedDict, cast

import msgspec

from api.schemas.invoices import InvoiceView
from billing.customers import Customer
from billing.receivables import CustomerBalance
from models.values.money import currency, from_minor
from models.values.quantity import plain


class CustomerBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A customer without its key, which is in the address.

    `segment`: one that the price book declares has prices of its own, any other those of `default`.
    """

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


class CustomerView(TypedDict):
    """A customer."""

    key: str
    legal_entity: str
    legal_name: str
    country: str
    currency: str
    email: str
    address: str
    language: str
    zone: str
    segment: str
    channel: str
    tax_id: str
    tax_exempt: bool


class CustomerPage(TypedDict):
    """A page of customers, by key."""

    items: list[CustomerView]
    next_cursor: str | None


class BalanceView(TypedDict):
    """What is open of a customer's invoices in one currency, and what stands to their credit."""

    currency: str
    open: str
    credit: str


class BalancesView(TypedDict):
    """A customer's balances, by currency."""

    items: list[BalanceView]


class LiveCostView(TypedDict):
    """The next invoices as they would be now; `until` is the first day that they leave out."""

    as_of: str
    until: str
    invoices: list[InvoiceView]


def balance_document(balance: CustomerBalance) -> BalanceView:
    """Show a balance."""
    money = currency(balance.currency)
    return {
        "currency": balance.currency,
        "open": plain(from_minor(balance.open_minor, money)),
        "credit": plain(from_minor(balance.credit_minor, money)),
    }


def customer_document(customer: Customer) -> CustomerView:
    """Show a customer."""
    return cast("CustomerView", asdict(customer))
