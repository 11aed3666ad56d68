"""An invoice made by hand, of one line."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

from billing.invoices import Invoice, InvoiceLine, InvoiceState, rounded
from billing.rated_usage import Kind
from models.values.period import Period
from tests.billing_story import at


def made_invoice(net_minor: int, tax_percent: Decimal) -> Invoice:
    """Return a finalised invoice over one line of that net."""
    month = Period(at("2026-01-01"), at("2026-02-01"))
    net = Decimal(net_minor) / 100
    line = InvoiceLine(
        line=1, subscription=None, feature="plan", kind=Kind.RECURRING, description="Plan", service=month,
        quantity=Decimal(1), unit_price=net, list_amount=net, exact=net, net_minor=0, tax_code="vat",
        tax_percent=tax_percent, tax_minor=0, cost=Decimal(0), in_advance=False, book_hash=None, corrects=None,
        sources=(("c", 0),),
    )  # fmt: skip
    blank = Invoice(
        id="in_1", number="INV-2026-000001", legal_entity="main", customer="acme", currency="EUR",
        state=InvoiceState.DRAFT, period="2026-01", issued_on=date(2026, 2, 1), due_on=date(2026, 2, 15),
        service=month, exact=Decimal(0), carried_in=Decimal(0), carried_out=Decimal(0), net_minor=0, tax_minor=0,
        total_minor=0, settled_minor=0, finalise_from=at("2026-02-01"), lines=(line,),
    )  # fmt: skip
    return replace(rounded(blank, Decimal(0)), state=InvoiceState.FINALISED)
