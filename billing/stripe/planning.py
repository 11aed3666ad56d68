"""From a finalised invoice to the lines that are sent: folded to what Stripe takes, amounts as they travel. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple

from billing.billing_provider import RemoteLine, RemoteTax
from billing.collection import InvoiceToCollect, LineTax, LineToCollect
from billing.stripe.currencies import stripe_currency
from models.values.period import Period
from models.values.quantity import plain

MAX_LINES = 240
"""Stripe takes 250 lines an invoice; ten are left for what is carried over."""

LINES_PER_CALL = 50

_OTHER = "other"
_SHOWN_DESCRIPTION = 500
_SHOWN_DETAIL = 480


class CarriedOver(NamedTuple):
    """An earlier invoice whose amount this one collects, in minor units."""

    invoice_id: str
    number: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class CollectionPlan:
    """What to send. collect + carried out = total + carried in - settled. No lines where nothing is collected.

    `folded`: (our line id, remote line's reference) for every line of the invoice.
    """

    carried_in_minor: int
    collect_minor: int
    carried_out_minor: int
    lines: tuple[RemoteLine, ...]
    folded: tuple[tuple[str, str], ...]


def plan_collection(invoice: InvoiceToCollect, carried: Sequence[CarriedOver]) -> CollectionPlan:
    """Decide what is collected now and what waits, and form the lines."""
    carried_in = sum(earlier.amount_minor for earlier in carried)
    owed = invoice.total_minor + carried_in - invoice.settled_minor
    collect = stripe_currency(invoice.currency).collectable(owed)
    lines, folded = fold(invoice.lines)
    if collect:
        lines += _balancing_lines(invoice, carried, owed - collect)
    return CollectionPlan(
        carried_in,
        collect,
        owed - collect,
        _as_they_travel(lines, invoice.currency) if collect else (),
        tuple(folded.items()),
    )


def fold(lines: Sequence[LineToCollect]) -> tuple[list[LineToCollect], dict[str, str]]:
    """Return at most MAX_LINES lines with the same sums, and into which of them each line went.

    Beyond MAX_LINES lines are summed by feature; beyond as many features the smallest become one line.
    """
    if len(lines) <= MAX_LINES:
        return list(lines), {line.line_id: line.line_id for line in lines}
    by_feature: dict[str, list[LineToCollect]] = {}
    for line in lines:
        by_feature.setdefault(line.feature, []).append(line)
    if len(by_feature) > MAX_LINES:
        largest = sorted(by_feature, key=lambda key: (-abs(sum(line.amount_minor for line in by_feature[key])), key))
        rest = [line for key in largest[MAX_LINES - 1 :] for line in by_feature.pop(key)]
        by_feature[_OTHER] = [*by_feature.pop(_OTHER, []), *rest]
    folded = {line.line_id: _ref(key) for key, group in by_feature.items() for line in group}
    return [_folded(key, group) for key, group in by_feature.items()], folded


def _ref(feature: str) -> str:
    return f"feature:{feature}"


def _folded(feature: str, group: Sequence[LineToCollect]) -> LineToCollect:
    taxes: dict[tuple[str, Decimal], int] = {}
    for line in group:
        for tax in line.taxes:
            taxes[tax.name, tax.percent] = taxes.get((tax.name, tax.percent), 0) + tax.amount_minor
    return LineToCollect(
        line_id=_ref(feature),
        feature=feature,
        description=f"{feature} ({len(group)} lines)",
        amount_minor=sum(line.amount_minor for line in group),
        period=_hull(group),
        quantity=f"{len(group)} lines",
        taxes=tuple(LineTax(name, percent, amount) for (name, percent), amount in taxes.items()),
    )


def _hull(group: Sequence[LineToCollect]) -> Period:
    return Period(min(line.period.start for line in group), max(line.period.end for line in group))


def _balancing_lines(
    invoice: InvoiceToCollect, carried: Sequence[CarriedOver], carried_out: int
) -> list[LineToCollect]:
    """Return the lines by which what is collected differs from what the invoice is for."""
    numbers = ", ".join(earlier.number for earlier in carried)
    parts = (
        ("carried_in", f"Carried over from {numbers}", sum(earlier.amount_minor for earlier in carried)),
        ("settled", "Already settled", -invoice.settled_minor),
        ("carried_out", "Carried over to your next invoice", -carried_out),
    )
    span = _hull(invoice.lines)
    return [LineToCollect(f"ala:{name}", name, text, amount, span) for name, text, amount in parts if amount]


def _as_they_travel(lines: Sequence[LineToCollect], code: str) -> tuple[RemoteLine, ...]:
    amounts = [amount for line in lines for amount in (line.amount_minor, *(tax.amount_minor for tax in line.taxes))]
    wired = iter(stripe_currency(code).to_wire(amounts))
    return tuple(_travelling(line, [next(wired) for _ in range(1 + len(line.taxes))]) for line in lines)


def _travelling(line: LineToCollect, amounts: Sequence[int]) -> RemoteLine:
    taxes = tuple(
        RemoteTax(tax.name, plain(tax.percent), amount) for tax, amount in zip(line.taxes, amounts[1:], strict=True)
    )
    detail = {"ala_feature": line.feature, "ala_quantity": line.quantity}
    remote = RemoteLine(
        ref=line.line_id,
        description=(line.description or line.feature)[:_SHOWN_DESCRIPTION],
        amount=amounts[0],
        period=(int(line.period.start.timestamp()), int(line.period.end.timestamp())),
        detail=tuple((name, text[:_SHOWN_DETAIL]) for name, text in detail.items() if text),
    )
    return replace(remote, taxes=taxes)
