"""What an invoice shows, as text in the buyer's language: the one view that HTML and PDF are made from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from babel import Locale, UnknownLocaleError
from babel.dates import format_date
from babel.numbers import get_decimal_symbol, get_group_symbol, get_minus_sign_symbol

from billing.exports.labels import labels
from billing.invoices import Invoice, InvoiceState
from billing.rated_usage import Kind
from billing.repositories.credit_notes import CreditNote
from models.values.money import Currency, currency, from_minor
from models.values.period import Period, parse_zone
from models.values.quantity import plain

_MARKS = {InvoiceState.DRAFT: "draft", InvoiceState.VOID: "void"}
_SHOWN_HASH = 16


def invoice_view(invoice: Invoice, party: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that is printed of an invoice, as text."""
    show = _Shower(party, invoice.currency)
    words = show.words
    sums = [(words["net"], show.money(invoice.net_minor), False)]
    sums += [
        (
            f"{words['tax']} {f'{show.number(group.percent)} %' if group.percent else group.code}",
            show.money(group.tax_minor),
            False,
        )
        for group in invoice.tax_groups()
        if group.percent or group.tax_minor
    ]
    sums.append((words["total"], show.money(invoice.total_minor), True))
    if invoice.settled_minor:
        sums.append((words["settled"], show.money(-invoice.settled_minor), False))
        sums.append((words["due"], show.money(invoice.open_minor), True))
    books = sorted({line.book_hash[:_SHOWN_HASH] for line in invoice.lines if line.book_hash})
    return {
        **show.frame("invoice", invoice.number or "", _MARKS.get(invoice.state)),
        "facts": [
            [words["number"], invoice.number or "-"],
            [words["issued_on"], show.day(invoice.issued_on)],
            [words["due_on"], show.day(invoice.due_on)],
            [words["period"], show.period(invoice.service)],
        ],
        "lines": [
            {
                "description": line.description,
                "period": show.period(line.service),
                "quantity": show.number(line.quantity) if line.quantity else "",
                "unit_price": "" if line.unit_price is None else show.number(line.unit_price),
                "amount": show.money(line.net_minor),
            }
            for line in invoice.lines
            if line.kind is not Kind.TAX
        ],
        "sums": [{"label": label, "amount": amount, "strong": strong} for label, amount, strong in sums],
        "carrying": [
            [words["carried_in"], show.number(invoice.carried_in)],
            [words["exact"], show.number(invoice.exact)],
            [words["carried_out"], show.number(invoice.carried_out)],
        ],
        "remark": [],
        "note": f"{words['carrying']} {words['price_book']}: {', '.join(books)}" if books else words["carrying"],
    }


def credit_note_view(note: CreditNote, invoice: Invoice, party: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything that is printed of a credit note, as text."""
    show = _Shower(party, note.currency)
    words = show.words
    by_line = {line.line: line for line in invoice.lines}
    return {
        **show.frame("credit_note", note.number, None),
        "facts": [
            [words["note_number"], note.number],
            [words["issued_on"], show.day(note.issued_on)],
            [words["refers_to"], invoice.number or "-"],
        ],
        "lines": [
            {
                "description": by_line[credited.line].description,
                "period": show.period(by_line[credited.line].service),
                "quantity": "",
                "unit_price": "",
                "amount": show.money(-credited.net_minor),
            }
            for credited in note.lines
            if by_line[credited.line].kind is not Kind.TAX
        ],
        "sums": [
            {"label": words["net"], "amount": show.money(-note.net_minor), "strong": False},
            {"label": words["tax"], "amount": show.money(-note.tax_minor), "strong": False},
            {"label": words["total"], "amount": show.money(-note.total_minor), "strong": True},
        ],
        "carrying": [],
        "remark": [words["reason"], note.reason],
        "note": "",
    }


class _Shower:
    """Writes amounts, numbers and dates the way the buyer reads them; exact, whatever the locale."""

    def __init__(self, party: Mapping[str, Any], asset: str) -> None:
        self._party = party
        self._money: Currency = currency(asset)
        self._zone = parse_zone(party["buyer"]["zone"])
        self._locale = _locale(party["buyer"]["language"])
        self.words = labels(party["buyer"]["language"])

    def frame(self, kind: str, number: str, mark: str | None) -> dict[str, Any]:
        """Return what stands around the lines."""
        buyer, seller = self._party["buyer"], self._party["seller"]
        return {
            "language": str(self._locale.language),
            "title": self.words[kind],
            "number": number,
            "mark": "" if mark is None else self.words[mark],
            "labels": dict(self.words),
            "seller": _address(seller["name"], seller, self.words),
            "buyer": _address(buyer["legal_name"], buyer, self.words),
            "currency": self._money.code,
        }

    def money(self, minor: int) -> str:
        """Write minor units with all their digits."""
        amount = from_minor(minor, self._money)
        return f"{self._written(format(amount, f'.{self._money.exponent}f'))} {self._money.code}"

    def number(self, number: Decimal) -> str:
        """Write an exact number, with all its digits."""
        return self._written(plain(number))

    def _written(self, text: str) -> str:
        """Put the locale's signs into a plain decimal; babel itself would round what is longer than 28 digits."""
        whole, _, fraction = text.removeprefix("-").partition(".")
        grouped = f"{int(whole):,}".replace(",", get_group_symbol(self._locale))
        sign = get_minus_sign_symbol(self._locale) if text.startswith("-") else ""
        return f"{sign}{grouped}{get_decimal_symbol(self._locale)}{fraction}" if fraction else f"{sign}{grouped}"

    def day(self, day: date) -> str:
        """Write a date."""
        return format_date(day, "long", locale=self._locale)

    def period(self, period: Period) -> str:
        """Write the first and the last day, in the buyer's zone."""
        first = period.start.astimezone(self._zone).date()
        last = (
            (period.end - timedelta(microseconds=1)).astimezone(self._zone).date()
            if period.end > period.start
            else first
        )
        shown = [format_date(day, "medium", locale=self._locale) for day in (first, max(first, last))]
        return f"{shown[0]} - {shown[1]}"


def _address(name: str, party: Mapping[str, Any], words: Mapping[str, str]) -> list[str]:
    lines = [name, *str(party["address"]).splitlines(), party["country"]]
    if party["tax_id"]:
        lines.append(f"{words['tax_id']} {party['tax_id']}")
    return [line for line in lines if line]


def _locale(language: str) -> Locale:
    try:
        return Locale.parse(language, sep="-")
    except (UnknownLocaleError, ValueError):
        return Locale("en")
