"""Coupons that customers hold, what is used of them, and what they took of periods that are corrected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from sqlalchemy import func, insert, or_, select

from billing.coupon_discounts import HeldCoupon, TakenBefore, Turn, takes_back, turn_of
from billing.metering.sets import members
from billing.rated_usage import Kind, RatedUsage
from billing.repositories.charges import ChargeRepository
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.invoice import ChargeRow, CouponGrantRow, CouponRow, CouponUseRow
from models.values.errors import InvalidValueError
from models.values.quantity import EXACT
from pricing_engine.coupons import Coupon, coupon_document, parse_coupon
from pricing_engine.coupons import CouponUse as CouponState

_COUPON = table_of(CouponRow)
_GRANT = table_of(CouponGrantRow)
_USE = table_of(CouponUseRow)
_CHARGE = table_of(ChargeRow)
_ZERO = Decimal(0)


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
    turns = {turn_of(row) for row in rows if takes_back(row)}
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
