"""Rated usage: exact amounts of a billing period, and what a run bills of them: due less billed. Pure.

Whatever a run bills is due less billed, key by key. So a late event, a change in the middle of a period that was
billed in advance, a pause and a cancellation are one thing: a difference, with the charge it corrects. A run over a
period that is billed already finds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any, NamedTuple

from models.values.period import Period
from models.values.quantity import EXACT, plain
from pricing_engine.aggregation import round_units
from pricing_engine.pricing import SHARE_DIGITS

COMMITMENT = "commitment"
"""The feature under which a minimum spend is billed."""
_ZERO = Decimal(0)


class Kind(StrEnum):
    """Why an amount is due. `tax` is of lines of an invoice only: a tax of the whole, beside no net."""

    USAGE = "usage"
    RECURRING = "recurring"
    COMMITMENT = "commitment"
    COUPON = "coupon"
    ADDITION = "addition"
    TAX = "tax"


class Scope(StrEnum):
    """What of a billing period can be billed: all of it, its usage so far, or only what is billed in advance."""

    FINAL = "final"
    INTERIM = "interim"
    ADVANCE = "advance"


class Key(NamedTuple):
    """What an amount is for: by it a later run finds what was billed."""

    feature: str
    kind: Kind
    segment_start: datetime


@dataclass(frozen=True, slots=True)
class RatedUsage:
    """One exact amount in major units. See `models.tables.invoice.RatedUsageRow` for the dates.

    `prorated_units`: the part of `quantity` that is billed, as a partner earns of it.
    """

    subscription: str | None
    feature: str
    kind: Kind
    in_advance: bool
    cycle: Period
    segment_start: datetime
    service: Period
    quantity: Decimal
    prorated_units: Decimal
    list_amount: Decimal
    amount: Decimal
    cost: Decimal
    tax_category: str
    book_hash: str | None
    corrects: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """What the amount is for."""
        return Key(self.feature, self.kind, self.segment_start)

    @property
    def is_nothing(self) -> bool:
        """Whether it says nothing at all."""
        return not (self.quantity or self.list_amount or self.amount or self.cost)


@dataclass(frozen=True, slots=True)
class Billed:
    """What earlier charges billed under one key: sums, the end of the stretch last billed, the last charge.

    `credited`: what of the sum credit notes gave back, coupons aside.
    """

    row: RatedUsage
    charge: str
    credited: Decimal = _ZERO


Group = tuple[str | None, str, Period]
"""A feature in a billing period, by subscription and key: however the period is cut, it is billed once."""


def group_of(row: RatedUsage) -> Group:
    """Return the feature and billing period that a row is of."""
    return row.subscription, row.feature, row.cycle


def with_more(earlier: Billed | None, row: RatedUsage, charge: str, credited: Decimal = _ZERO) -> Billed:
    """Add a row to what its key was billed so far; the first row says from where, the last one until when."""
    if earlier is None:
        return Billed(row, charge, credited)
    was = earlier.row
    shrank = row.service.end == was.service.end and row.service.start > was.service.start
    end = row.service.start if shrank else max(row.service.end, was.service.end)
    total = replace(
        row,
        service=Period(was.service.start, end),
        quantity=EXACT.add(was.quantity, row.quantity),
        prorated_units=EXACT.add(was.prorated_units, row.prorated_units),
        list_amount=EXACT.add(was.list_amount, row.list_amount),
        amount=EXACT.add(was.amount, row.amount),
        cost=EXACT.add(was.cost, row.cost),
    )
    return Billed(total, charge, EXACT.add(earlier.credited, credited))


def differences(
    due: Iterable[RatedUsage], billed: Mapping[Key, Billed], in_question: Mapping[Key, Billed]
) -> list[RatedUsage]:
    """Return due less billed, by time. `in_question`: what of `billed` is taken back where it is not due any more.

    What credit notes gave back of a feature in a billing period is not taken back once more.
    """
    found: list[RatedUsage] = []
    seen: set[Key] = set()
    for row in due:
        seen.add(row.key)
        earlier = billed.get(row.key)
        found.append(row if earlier is None else _less(row, earlier))
    for key, earlier in in_question.items():
        if key not in seen:
            row = earlier.row
            nothing = replace(
                row,
                quantity=_ZERO,
                prorated_units=_ZERO,
                list_amount=_ZERO,
                amount=_ZERO,
                cost=_ZERO,
                service=Period(row.service.start, row.service.start),
                detail={"reason": "no longer due"},
            )
            found.append(_less(nothing, earlier))
    for group in {group_of(each.row) for each in billed.values() if each.credited}:
        found = _within(found, group, [each for each in billed.values() if group_of(each.row) == group])
    return sorted((row for row in found if not row.is_nothing), key=lambda row: row.segment_start)


def _within(rows: Iterable[RatedUsage], group: Group, billed: Iterable[Billed]) -> list[RatedUsage]:
    """Return the rows, those of a group taking back in all no more than is billed of it and not credited."""
    left, excess = _ZERO, _ZERO
    for each in billed:
        left = EXACT.add(left, EXACT.subtract(each.row.amount, each.credited))
    for row in rows:
        excess = EXACT.subtract(excess, row.amount) if group_of(row) == group else excess
    excess = EXACT.subtract(excess, max(left, _ZERO))
    found = []
    for row in sorted(rows, key=lambda each: each.segment_start):  # What was first is spared first.
        spared = min(excess, EXACT.minus(row.amount)) if group_of(row) == group else _ZERO
        if spared > 0:
            excess = EXACT.subtract(excess, spared)
            amount = EXACT.add(row.amount, spared)
            units = Fraction(row.prorated_units) * Fraction(amount) / Fraction(row.amount)
            found.append(
                replace(
                    row,
                    prorated_units=round_units(units, SHARE_DIGITS),
                    amount=amount,
                    detail={**row.detail, "credited_before": plain(spared)},
                )
            )
        else:
            found.append(row)
    return found


def _less(row: RatedUsage, earlier: Billed) -> RatedUsage:
    """Return the difference to what was billed, dated to the stretch that changed, in the billing period of that.

    Its cycle may be another by now, but coupons and notes took what they took off the period that was billed.
    """
    was, now = earlier.row.service, row.service
    service = now if was.end == now.end else Period(min(was.end, now.end), max(was.end, now.end))
    return replace(
        row,
        cycle=earlier.row.cycle,
        service=service,
        quantity=EXACT.subtract(row.quantity, earlier.row.quantity),
        prorated_units=EXACT.subtract(row.prorated_units, earlier.row.prorated_units),
        list_amount=EXACT.subtract(row.list_amount, earlier.row.list_amount),
        amount=EXACT.subtract(row.amount, earlier.row.amount),
        cost=EXACT.subtract(row.cost, earlier.row.cost),
        corrects=earlier.charge,
        detail={**row.detail, "due": plain(row.amount), "billed": plain(earlier.row.amount)},
    )
