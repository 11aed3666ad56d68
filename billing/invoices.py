"""Invoices as values: lines made of rated usage, rounded and taxed once. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from billing.customers import Customer, LegalEntity
from billing.invoice_rounding import TaxedGroup, round_lines, tax_lines
from billing.rated_usage import COMMITMENT, Kind, RatedUsage
from billing.tax import LineToTax, TaxAmount, TaxAmounts, TaxRates
from models.values.errors import InvalidValueError, NotFoundError
from models.values.money import currency
from models.values.period import Period
from models.values.quantity import EXACT, MAX_FRACTION_DIGITS
from pricing_engine.aggregation import round_units

PAYMENT_DAYS = 14
"""Days from the date of an invoice until it is due."""
_UNIT_PRICE_DIGITS = 12
_ID_CHARS = 26


class InvoiceState(StrEnum):
    """Where an invoice stands."""

    DRAFT = "draft"
    FINALISED = "finalised"
    PAID = "paid"
    VOID = "void"
    UNCOLLECTIBLE = "uncollectible"


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One line. `exact` in major units; `net_minor` and `tax_minor` in minor units.

    `unit_price` is what a unit came to on this line, shown to twelve places where it does not come out even.
    """

    line: int
    subscription: str | None
    feature: str
    kind: Kind
    description: str
    service: Period
    quantity: Decimal
    unit_price: Decimal | None
    list_amount: Decimal
    exact: Decimal
    net_minor: int
    tax_code: str
    tax_percent: Decimal
    tax_minor: int
    cost: Decimal
    in_advance: bool
    book_hash: str | None
    corrects: str | None
    sources: tuple[tuple[str, int], ...]

    @property
    def has_tax_amount(self) -> bool:
        """Whether its tax is an amount, not a percent of its net."""
        return self.tax_minor != 0 and not self.tax_percent


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice: net + tax = total in minor units; exact + carried_in = net + carried_out in major units, exact."""

    id: str
    number: str | None
    legal_entity: str
    customer: str
    currency: str
    state: InvoiceState
    period: str
    issued_on: date
    due_on: date
    service: Period
    exact: Decimal
    carried_in: Decimal
    carried_out: Decimal
    net_minor: int
    tax_minor: int
    total_minor: int
    settled_minor: int
    finalise_from: datetime
    lines: tuple[InvoiceLine, ...]

    @property
    def open_minor(self) -> int:
        """What is still to be paid, in minor units; of a void invoice nothing."""
        return 0 if self.state is InvoiceState.VOID else self.total_minor - self.settled_minor

    def tax_groups(self) -> tuple[TaxedGroup, ...]:
        """Sum the lines by tax code and percent, in order of first use."""
        groups: dict[tuple[str, Decimal], tuple[int, int]] = {}
        for line in self.lines:
            net, tax = groups.get((line.tax_code, line.tax_percent), (0, 0))
            groups[line.tax_code, line.tax_percent] = net + line.net_minor, tax + line.tax_minor
        return tuple(TaxedGroup(code, percent, net, tax) for (code, percent), (net, tax) in groups.items())


@dataclass(frozen=True, slots=True)
class Issue:
    """Under what an invoice is made: its period, dates, and the earliest time it may be finalised."""

    period: str
    cause: str
    issued_on: date
    due_on: date
    finalise_from: datetime


def invoice_id(tenant: str, customer: str, asset: str, cause: str) -> str:
    """Return the id of the one invoice of a customer, currency and cause: the same whenever it is made."""
    facts = "\x00".join((tenant, customer, asset, cause))
    return f"in_{hashlib.sha256(facts.encode()).hexdigest()[:_ID_CHARS]}"


def draft_invoice(
    tenant: str,
    customer: Customer,
    seller: LegalEntity,
    asset: str,
    rows: Sequence[tuple[str, int, RatedUsage]],
    names: Mapping[tuple[str | None, str], str],
    carried_in: Decimal,
    issue: Issue,
    rates: TaxRates,
) -> Invoice:
    """Make a draft of rated usage, in its order, one line a row.

    `names`: of features, by price-book hash and key. Raises what the tax rates raise, and what `with_tax_amounts` does.
    """
    lines = []
    for number, (charge, position, row) in enumerate(rows, start=1):
        rate = rates.rate(row.tax_category, customer, seller, issue.issued_on)
        lines.append(
            InvoiceLine(
                line=number,
                subscription=row.subscription,
                feature=row.feature,
                kind=row.kind,
                description=describe(row, names),
                service=row.service,
                quantity=row.quantity,
                unit_price=unit_price(row.amount, row.quantity),
                list_amount=row.list_amount,
                exact=row.amount,
                net_minor=0,
                tax_code=rate.code,
                tax_percent=rate.percent,
                tax_minor=0,
                cost=row.cost,
                in_advance=row.in_advance,
                book_hash=row.book_hash,
                corrects=row.corrects,
                sources=((charge, position),),
            )
        )
    service = Period(min(line.service.start for line in lines), max(line.service.end for line in lines))
    blank = Invoice(
        id=invoice_id(tenant, customer.key, asset, issue.cause),
        number=None,
        legal_entity=seller.key,
        customer=customer.key,
        currency=asset,
        state=InvoiceState.DRAFT,
        period=issue.period,
        issued_on=issue.issued_on,
        due_on=issue.due_on,
        service=service,
        exact=Decimal(0),
        carried_in=carried_in,
        carried_out=Decimal(0),
        net_minor=0,
        tax_minor=0,
        total_minor=0,
        settled_minor=0,
        finalise_from=issue.finalise_from,
        lines=tuple(lines),
    )
    draft = rounded(blank, carried_in)
    if not isinstance(rates, TaxAmounts):
        return draft
    to_tax = [
        LineToTax(line.line, line.feature, row.tax_category, line.net_minor)
        for line, (_, _, row) in zip(draft.lines, rows, strict=True)
    ]
    return with_tax_amounts(draft, rates.amounts(to_tax, asset, customer, seller, issue.issued_on))


def with_tax_amounts(draft: Invoice, amounts: Sequence[TaxAmount]) -> Invoice:
    """Return the draft with taxes that are amounts: on their lines, or of the whole invoice as lines of their own.

    Raises NotFoundError for a line that is not there, InvalidValueError for one that is taxed already and for an amount
    below zero on what is not below zero.
    """
    lines = {line.line: line for line in draft.lines}
    for tax in amounts:
        if tax.line is None:
            number = len(lines) + 1
            line = _tax_line(draft, number, tax.code)
        else:
            number = tax.line
            if number not in lines:
                raise NotFoundError("has no such line", field="tax.line", value=number, code="unknown_invoice_line")
            line = lines[number]
        if line.tax_minor or line.tax_percent:
            raise InvalidValueError(
                f"bears {line.tax_code} already", field="tax.line", value=number, code="taxed_already"
            )
        if tax.amount_minor < 0 <= (draft.net_minor if tax.line is None else line.net_minor):
            raise InvalidValueError(
                "must be >= 0 on what is not below zero", field="tax.amount_minor", value=tax.amount_minor
            )
        if tax.amount_minor:
            lines[number] = replace(line, tax_code=tax.code, tax_minor=tax.amount_minor)
    return rounded(replace(draft, lines=tuple(lines.values())), draft.carried_in)


def _tax_line(draft: Invoice, number: int, code: str) -> InvoiceLine:
    return InvoiceLine(
        line=number,
        subscription=None,
        feature=code,
        kind=Kind.TAX,
        description=f"Tax: {code}",
        service=draft.service,
        quantity=Decimal(0),
        unit_price=None,
        list_amount=Decimal(0),
        exact=Decimal(0),
        net_minor=0,
        tax_code=code,
        tax_percent=Decimal(0),
        tax_minor=0,
        cost=Decimal(0),
        in_advance=False,
        book_hash=None,
        corrects=None,
        sources=(),
    )


def rounded(invoice: Invoice, carried_in: Decimal) -> Invoice:
    """Return the draft with its amounts rounded and taxed, taking in what earlier invoices left.

    A tax that is an amount stays what it is.
    """
    money = currency(invoice.currency)
    nets = round_lines([line.exact for line in invoice.lines], carried_in, money)
    taxes, _ = tax_lines(nets.lines, [(line.tax_code, line.tax_percent) for line in invoice.lines])
    lines = tuple(
        replace(line, net_minor=net, tax_minor=line.tax_minor if line.has_tax_amount else tax)
        for line, net, tax in zip(invoice.lines, nets.lines, taxes, strict=True)
    )
    tax = sum(line.tax_minor for line in lines)
    return replace(
        invoice,
        exact=nets.exact,
        carried_in=carried_in,
        carried_out=nets.carried_out,
        net_minor=nets.net_minor,
        tax_minor=tax,
        total_minor=nets.net_minor + tax,
        lines=lines,
    )


def unit_price(amount: Decimal, quantity: Decimal) -> Decimal | None:
    """Return amount / quantity: exact where it comes out even, else to twelve places; None without a quantity."""
    if not quantity:
        return None
    exact = Fraction(amount) / Fraction(quantity)
    if 10**MAX_FRACTION_DIGITS % exact.denominator == 0:
        scaled = exact.numerator * (10**MAX_FRACTION_DIGITS // exact.denominator)
        return Decimal(scaled).scaleb(-MAX_FRACTION_DIGITS, EXACT).normalize(EXACT)
    return round_units(exact, _UNIT_PRICE_DIGITS).normalize(EXACT)


def describe(row: RatedUsage, names: Mapping[tuple[str | None, str], str]) -> str:
    """Return what a line is called."""
    if row.kind is Kind.ADDITION:
        return str(row.detail.get("description", row.feature))
    name = "Minimum spend" if row.feature == COMMITMENT else names.get((row.book_hash, row.feature), row.feature)
    if row.kind is Kind.COUPON:
        return f"Coupon {row.detail.get('coupon', '')}: {name}"
    if row.corrects is not None:
        return f"Correction: {name}"
    return name
