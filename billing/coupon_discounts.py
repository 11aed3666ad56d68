"""What the coupons of a customer take off a charge, feature by feature, and give back of what it corrects. Pure.

Where a billing period is corrected, a coupon counts what of it rises in all; where what it covers falls, what it took
comes back in the same proportion. So no correction credits more than was billed after coupons, and one that only cuts
a period anew changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from billing.charges import CouponUse
from billing.invoice_rounding import round_lines
from billing.rated_usage import Kind, RatedUsage
from models.values.money import Currency, allocate, currency, from_minor, round_to_minor
from models.values.period import Period
from models.values.quantity import EXACT
from pricing_engine.coupons import Coupon, InvoiceLine, apply_coupons
from pricing_engine.coupons import CouponUse as CouponState

_ZERO = Decimal(0)
_ALL = Decimal(100)


@dataclass(frozen=True, slots=True)
class HeldCoupon:
    """A coupon a customer holds, with what is used of it. `currency`: of a fixed amount; None: any."""

    state: CouponState
    currency: str | None = None


Turn = tuple[str | None, Period]
"""A billing period of a subscription."""


def turn_of(row: RatedUsage) -> Turn:
    """Return the billing period that a row is of."""
    return row.subscription, row.cycle


class TakenBefore(NamedTuple):
    """What was billed of a billing period before, by feature: amounts, and what of them each coupon took, net."""

    billed: dict[str, Decimal]
    taken: dict[Coupon, dict[str, Decimal]]


_NOTHING_BEFORE = TakenBefore({}, {})


def apply_held_coupons(
    rows: Sequence[RatedUsage],
    held: Sequence[HeldCoupon],
    asset: str,
    before: Mapping[Turn, TakenBefore] | None = None,
) -> tuple[list[RatedUsage], tuple[CouponUse, ...]]:
    """Return the rows with what coupons take off them and give back of `before`, and the uses. Pure.

    A coupon works on whole minor units: the lines as this charge alone would round them. Of a line that was rounded up
    it takes no more than the exact amount. One of 100 % takes all of a line, also what lies below the minor unit: that
    would be carried from invoice to invoice, until it came to a cent to pay.
    """
    before = before or {}
    money = currency(asset)
    states = {each.state.coupon: each.state for each in held if each.currency in {None, asset}}
    coupons = [*states, *dict.fromkeys(each for of_turn in before.values() for each in of_turn.taken)]
    left = list(round_lines([row.amount for row in rows], _ZERO, money).lines) if coupons else []
    exact = [row.amount for row in rows]
    discounts: list[RatedUsage] = []
    given_back: list[RatedUsage] = []
    uses = []
    for coupon in sorted(dict.fromkeys(coupons), key=lambda each: each.priority):
        turns = _by_turn(rows, coupon)
        risen, beyond = _risen(rows, left, turns)
        off, back = _moved(rows, risen, coupon, turns, before, money)
        for turn, falls in beyond.items():
            _take_off(risen, turns[turn], falls)
        if coupon in states:
            lines = [InvoiceLine(row.feature, minor) for row, minor in zip(rows, risen, strict=True)]
            found = apply_coupons(lines, [states[coupon]], money).discounts
            off.update({each.line: each.amount_minor for each in found})
            if found:
                uses.append(CouponUse(coupon.key, sum(each.amount_minor for each in found)))
        takes_all = coupon.percent_off == _ALL
        if takes_all and coupon in states and states[coupon].is_live(money):
            off.update(_below_a_minor_unit(turns, left, exact, off))
        for line, minor in sorted(off.items()):
            left[line] -= minor
            taken = exact[line] if takes_all and not left[line] else min(from_minor(minor, money), exact[line])
            exact[line] = EXACT.subtract(exact[line], taken)
            discounts.append(replace(_coupon_row(rows[line], coupon, EXACT.minus(taken)), corrects=None))
        for line, minor in back.items():
            left[line] += minor
            given_back.append(_coupon_row(rows[line], coupon, from_minor(minor, money)))
    return [*rows, *discounts, *given_back], tuple(uses)


def _below_a_minor_unit(
    turns: Mapping[Turn, Sequence[int]], left: Sequence[int], exact: Sequence[Decimal], off: Mapping[int, int]
) -> dict[int, int]:
    """Return the lines that come to something, but to no minor unit, with nothing each."""
    lines = [line for of_turn in turns.values() for line in of_turn]
    return {line: 0 for line in lines if not left[line] and exact[line] > 0 and line not in off}


def _risen(
    rows: Sequence[RatedUsage], left: Sequence[int], turns: Mapping[Turn, Sequence[int]]
) -> tuple[list[int], dict[Turn, int]]:
    """Return the lines, each that rises less its part of what falls of its feature, and what falls beyond that."""
    risen, beyond = list(left), dict.fromkeys(turns, 0)
    for turn, lines in turns.items():
        features: dict[str, list[int]] = {}
        for line in lines:
            features.setdefault(rows[line].feature, []).append(line)
        for of_feature in features.values():
            falls = -sum(min(left[line], 0) for line in of_feature)
            beyond[turn] += falls - _take_off(risen, of_feature, falls)
    return risen, beyond


def _take_off(risen: list[int], lines: Sequence[int], most: int) -> int:
    """Take up to `most` off those of some lines that rise, in proportion; return how much."""
    rising = [line for line in lines if risen[line] > 0]
    rises = [risen[line] for line in rising]
    taken = min(most, sum(rises))
    if taken:
        for line, less in zip(rising, allocate(taken, rises), strict=True):
            risen[line] -= less
    return taken


def _by_turn(rows: Sequence[RatedUsage], coupon: Coupon) -> dict[Turn, list[int]]:
    """Return the places of the rows that a coupon covers by their billing period."""
    found: dict[Turn, list[int]] = {}
    for line, row in enumerate(rows):
        if coupon.covers(row.feature):
            found.setdefault(turn_of(row), []).append(line)
    return found


def _moved(
    rows: Sequence[RatedUsage],
    risen: Sequence[int],
    coupon: Coupon,
    turns: Mapping[Turn, Sequence[int]],
    before: Mapping[Turn, TakenBefore],
    money: Currency,
) -> tuple[Counter[int], dict[int, int]]:
    """Return by line what a coupon takes of what rises in place of what falls, and what it gives back of what falls.

    A feature that falls gives back the part of what the coupon took of it by which it falls. As far as others of its
    billing period rise beside it they take that on, also where the coupon is used up.
    """
    taken_on: Counter[int] = Counter()
    back: dict[int, int] = {}
    for turn, lines in sorted(turns.items(), key=lambda each: _in_order(each[0])):
        billed, taken = before.get(turn, _NOTHING_BEFORE)
        falls: dict[str, Fraction] = {}
        for line in lines:
            falls[rows[line].feature] = falls.get(rows[line].feature, Fraction(0)) - Fraction(rows[line].amount)
        fallen = sum((fall for fall in falls.values() if fall > 0), Fraction(0))
        lasting = max(sum(falls.values(), Fraction(0)), 0) / fallen if fallen else Fraction(0)
        rising = [line for line in lines if risen[line] > 0]
        rises = [risen[line] for line in rising]
        most = sum(rises)
        for feature, fall in falls.items():
            took, gross = taken.get(coupon, {}).get(feature, _ZERO), billed.get(feature, _ZERO)
            if fall <= 0 or gross <= 0:
                continue
            part = Fraction(took) * min(fall / Fraction(gross), 1)
            kept = round_to_minor(part * lasting, money)
            moved = min(round_to_minor(part, money) - kept, most)
            most -= moved
            if moved + kept:
                back[next(line for line in lines if rows[line].feature == feature and takes_back(rows[line]))] = (
                    moved + kept
                )
            if moved:
                taken_on.update(dict(zip(rising, allocate(moved, rises), strict=True)))
    return taken_on, back


def _in_order(turn: Turn) -> tuple[str, datetime, datetime]:
    subscription, cycle = turn
    return subscription or "", cycle.start, cycle.end


def takes_back(row: RatedUsage) -> bool:
    """Whether a row takes back: a correction, or a change that is prorated behind one that is not."""
    return row.amount < 0


def _coupon_row(row: RatedUsage, coupon: Coupon, amount: Decimal) -> RatedUsage:
    return replace(
        row,
        kind=Kind.COUPON,
        quantity=_ZERO,
        prorated_units=_ZERO,
        list_amount=amount,
        amount=amount,
        cost=_ZERO,
        detail={"coupon": coupon.key},
    )
