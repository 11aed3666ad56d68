"""Coupons that customers hold: what they take off a charge becomes rated rows of their own, feature by feature.

Where a billing period is corrected, a coupon counts what of it rises in all; where what it covers falls, what it took
comes back in the same proportion. So no correction credits more than was billed after coupons, and one that only cuts
a period anew changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from sqlalchemy import func, insert, or_, select

from billing.charges import CouponUse
from billing.invoice_rounding import round_lines
from billing.metering.sets import members
from billing.rated_usage import Kind, RatedUsage
from billing.repositories.charges import ChargeRepository
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.invoice import ChargeRow, CouponGrantRow, CouponRow, CouponUseRow
from models.values.errors import InvalidValueError
from models.values.money import Currency, currency, from_minor, round_to_minor
from models.values.period import Period
from models.values.quantity import EXACT
from pricing_engine.coupons import Coupon, InvoiceLine, apply_coupons, coupon_document, parse_coupon
from pricing_engine.coupons import CouponUse as CouponState

_COUPON = table_of(CouponRow)
_GRANT = table_of(CouponGrantRow)
_USE = table_of(CouponUseRow)
_CHARGE = table_of(ChargeRow)
_ZERO = Decimal(0)


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


def define_coupon(uow: UnitOfWork, coupon: Coupon, asset: str | None, at: datetime) -> None:
    """Store a coupon. Raises InvalidValueError for a fixed amount without currency."""
    if coupon.amount_off is not None and asset is None:
        raise InvalidValueError("a fixed amount has a currency", field="coupon.currency", value=coupon.key)
    uow.connection.execute(
        insert(_COUPON).values(
            tenant=uow.tenant, code=coupon.key, currency=asset, document=coupon_document(coupon), recorded_at=at
        )
    )


def grant_coupon(
    uow: UnitOfWork, customer: str, code: str, starts_at: datetime, at: datetime, *, ends_at: datetime | None = None
) -> None:
    """Give a coupon to a customer, once."""
    uow.connection.execute(
        insert(_GRANT).values(
            tenant=uow.tenant, customer=customer, code=code, starts_at=starts_at, ends_at=ends_at, recorded_at=at
        )
    )


def held_coupons(
    uow: UnitOfWork, customers: Sequence[str], at: datetime, *, again: bool = False
) -> dict[str, list[HeldCoupon]]:
    """Return by customer the coupons held at an instant, in the order they were given, with what is used of them.

    What other charges of the month of that instant used, at a threshold or before it was reopened, is use of the same
    period. `again`: as though there were none of them, nor later ones.
    """
    query = (
        select(_GRANT.c.customer, _COUPON.c.document, _COUPON.c.code, _COUPON.c.currency)
        .join(_GRANT, (_GRANT.c.tenant == _COUPON.c.tenant) & (_GRANT.c.code == _COUPON.c.code))
        .where(
            _GRANT.c.tenant == uow.tenant,
            members(uow, _GRANT.c.customer, customers),
            _GRANT.c.starts_at <= at,
            or_(_GRANT.c.ends_at.is_(None), _GRANT.c.ends_at > at),
        )
        .order_by(_GRANT.c.customer, _GRANT.c.starts_at, _COUPON.c.code)
    )
    rows = uow.connection.execute(query).all()
    if not rows:
        return {}
    made = (_CHARGE.c.tenant == _USE.c.tenant) & (_CHARGE.c.id == _USE.c.charge)
    uses = (
        select(_USE.c.customer, _USE.c.code, _CHARGE.c.period, func.sum(_USE.c.amount_minor).label("minor"))
        .join(_CHARGE, made)
        .where(_USE.c.tenant == uow.tenant, members(uow, _USE.c.customer, [row.customer for row in rows]))
        .group_by(_USE.c.customer, _USE.c.code, _CHARGE.c.period)
    )
    now = f"{at:%Y-%m}"
    used: dict[tuple[str, str], dict[str, int]] = {}
    for use in uow.connection.execute(uses.where(_CHARGE.c.period < now) if again else uses):
        used.setdefault((use.customer, use.code), {})[use.period] = int(use.minor)
    held: dict[str, list[HeldCoupon]] = {}
    for row in rows:
        of_periods = used.get((row.customer, row.code), {})
        now_used = of_periods.pop(now, 0)
        state = CouponState(parse_coupon(row.document), len(of_periods), sum(of_periods.values()) + now_used, now_used)
        held.setdefault(row.customer, []).append(HeldCoupon(state, row.currency))
    return held


def taken_before(
    uow: UnitOfWork, rows: Sequence[RatedUsage], *, before_period: str | None = None
) -> dict[Turn, TakenBefore]:
    """Return by billing period what coupons took of those that some rows correct downwards.

    `before_period`: counting only charges of earlier months.
    """
    turns = {turn_of(row) for row in rows if _falls(row)}
    if not turns:
        return {}
    subscriptions = {subscription for subscription, _ in turns if subscription is not None}
    billed = ChargeRepository(uow).billed_by_turn(
        subscriptions, min(cycle.start for _, cycle in turns), before_period=before_period
    )
    codes = {row.detail["coupon"] for turn in turns for row in billed.get(turn, ()) if row.kind is Kind.COUPON}
    query = select(_COUPON.c.code, _COUPON.c.document).where(
        _COUPON.c.tenant == uow.tenant, members(uow, _COUPON.c.code, codes)
    )
    coupons = {row.code: parse_coupon(row.document) for row in uow.connection.execute(query)} if codes else {}
    return {turn: _taken(billed.get(turn, ()), coupons) for turn in turns}


def _taken(rows: Sequence[RatedUsage], coupons: Mapping[str, Coupon]) -> TakenBefore:
    found = TakenBefore({}, {})
    for row in rows:
        if row.kind is Kind.COUPON:
            coupon = coupons[row.detail["coupon"]]
            of_coupon = found.taken.setdefault(coupon, {})
            of_coupon[row.feature] = EXACT.subtract(of_coupon.get(row.feature, _ZERO), row.amount)
        else:
            found.billed[row.feature] = EXACT.add(found.billed.get(row.feature, _ZERO), row.amount)
    return found


def apply_held_coupons(
    rows: Sequence[RatedUsage],
    held: Sequence[HeldCoupon],
    asset: str,
    before: Mapping[Turn, TakenBefore] | None = None,
) -> tuple[list[RatedUsage], tuple[CouponUse, ...]]:
    """Return the rows with what coupons take off them and give back of `before`, and the uses. Pure.

    A coupon works on whole minor units: the lines as this charge alone would round them. Of a line that was rounded up
    it takes no more than the exact amount.
    """
    money = currency(asset)
    fitting = [each.state for each in held if each.currency in {None, asset}]
    left = list(round_lines([row.amount for row in rows], _ZERO, money).lines) if fitting else []
    exact = [row.amount for row in rows]
    discounts, uses = [], []
    for use in sorted(fitting, key=lambda each: each.coupon.priority):
        lines = [InvoiceLine(row.feature, minor) for row, minor in zip(rows, _risen(rows, left, use), strict=True)]
        found = apply_coupons(lines, [use], money).discounts
        for discount in found:
            left[discount.line] -= discount.amount_minor
            taken = min(from_minor(discount.amount_minor, money), exact[discount.line])
            exact[discount.line] = EXACT.subtract(exact[discount.line], taken)
            discounts.append(replace(_coupon_row(rows[discount.line], use.coupon, EXACT.minus(taken)), corrects=None))
        if found:
            uses.append(CouponUse(use.coupon.key, sum(discount.amount_minor for discount in found)))
    return [*rows, *discounts, *_given_back(rows, before or {}, money)], tuple(uses)


def _risen(rows: Sequence[RatedUsage], left: Sequence[int], use: CouponState) -> list[int]:
    """Return the lines, each that rises less what else of its billing period falls that the coupon covers."""
    falls: Counter[Turn] = Counter()
    for row, minor in zip(rows, left, strict=True):
        if _falls(row) and use.coupon.covers(row.feature):
            falls[turn_of(row)] -= minor
    risen = []
    for row, minor in zip(rows, left, strict=True):
        less = min(falls[turn_of(row)], minor) if minor > 0 and use.coupon.covers(row.feature) else 0
        falls[turn_of(row)] -= less
        risen.append(minor - less)
    return risen


def _given_back(
    rows: Sequence[RatedUsage], before: Mapping[Turn, TakenBefore], money: Currency
) -> Iterator[RatedUsage]:
    """Yield what coupons give back of features that fall: the part by which each falls, less what rises beside it."""
    for turn, (billed, taken) in sorted(before.items(), key=_in_order):
        for coupon, took in taken.items():
            covered = [row for row in rows if turn_of(row) == turn and coupon.covers(row.feature)]
            falls: dict[str, Fraction] = {}
            for row in covered:
                falls[row.feature] = falls.get(row.feature, Fraction(0)) - Fraction(row.amount)
            fallen = sum((fall for fall in falls.values() if fall > 0), Fraction(0))
            lasting = max(sum(falls.values(), Fraction(0)), 0) / fallen if fallen else Fraction(0)
            for feature, fall in falls.items():
                gross = billed.get(feature, _ZERO)
                if fall > 0 and gross > 0:
                    part = Fraction(took.get(feature, _ZERO)) * min(fall * lasting / Fraction(gross), 1)
                    if minor := round_to_minor(part, money):
                        first = next(row for row in covered if row.feature == feature and _falls(row))
                        yield _coupon_row(first, coupon, from_minor(minor, money))


def _in_order(before: tuple[Turn, TakenBefore]) -> tuple[str, datetime, datetime]:
    (subscription, cycle), _ = before
    return subscription or "", cycle.start, cycle.end


def _falls(row: RatedUsage) -> bool:
    """Whether a row takes back: a correction, or a change that is prorated behind one that is not."""
    return row.amount < 0


def _coupon_row(row: RatedUsage, coupon: Coupon, amount: Decimal) -> RatedUsage:
    return replace(
        row,
        kind=Kind.COUPON,
        quantity=_ZERO,
        list_amount=amount,
        amount=amount,
        cost=_ZERO,
        detail={"coupon": coupon.key},
    )
