"""What credit notes took off what was billed, so that notes and corrections give the same money back once. Pure.

Both count by feature and billing period, since a change cuts a period anew without changing what it comes to. A note
takes off what is to be paid, after coupons; corrections compare amounts before them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from billing.rated_usage import Group, Kind, RatedUsage, group_of
from models.values.money import Currency, currency, from_minor, round_fraction
from models.values.quantity import EXACT
from pricing_engine.pricing import SHARE_DIGITS

Source = tuple[str, int]
"""A rated usage, by charge and position."""
_ZERO = Decimal(0)


class Credited(NamedTuple):
    """What notes took off a line, net, in minor units."""

    minor: int
    currency: str


def credited_before_coupons(
    rows: Iterable[tuple[str, int, RatedUsage]], credited: Mapping[Source, Credited]
) -> dict[Source, Decimal]:
    """Return what of each amount is credited: as much of it as notes took of what was to be paid for it.

    What they left is a part of a minor unit counts as credited: it is carried, and on no invoice.
    """
    if not credited:
        return {}
    risen: dict[tuple[str, Group], Decimal] = {}
    taken: dict[tuple[str, Group], Decimal] = {}
    by_source: dict[Source, RatedUsage] = {}
    for charge, position, row in rows:
        sums = taken if row.kind is Kind.COUPON else risen
        place = charge, group_of(row)
        if (row.amount < 0) is (row.kind is Kind.COUPON):
            sums[place] = EXACT.add(sums.get(place, _ZERO), row.amount)
        by_source[charge, position] = row
    found = {}
    for (charge, position), gone in credited.items():
        row = by_source.get((charge, position))
        if row is not None and row.kind is not Kind.COUPON and row.amount > 0:
            place = charge, group_of(row)
            to_pay = 1 + Fraction(taken.get(place, _ZERO)) / Fraction(risen[place])
            found[charge, position] = _part(row.amount, to_pay, gone.minor, currency(gone.currency))
    return found


def _part(amount: Decimal, to_pay: Fraction, credited_minor: int, money: Currency) -> Decimal:
    """Return what of an amount is credited, of which the part `to_pay` was left by coupons."""
    credited = Fraction(from_minor(credited_minor, money))
    if Fraction(amount) * to_pay - credited < Fraction(from_minor(1, money)):
        return amount
    scaled = round_fraction(credited / to_pay * 10**SHARE_DIGITS)
    return Decimal(scaled).scaleb(-SHARE_DIGITS, EXACT)
