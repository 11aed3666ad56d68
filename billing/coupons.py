"""Coupons that customers hold: what they take off a charge becomes rated rows of their own, feature by feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from sqlalchemy import func, insert, or_, select

from billing.charges import CouponUse
from billing.invoice_rounding import round_lines
from billing.metering.sets import members
from billing.rated_usage import Kind, RatedUsage
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.invoice import ChargeRow, CouponGrantRow, CouponRow, CouponUseRow
from models.values.errors import InvalidValueError
from models.values.money import currency, from_minor
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
    uow: UnitOfWork, customers: Sequence[str], at: datetime, *, before_period: str | None = None
) -> dict[str, list[HeldCoupon]]:
    """Return by customer the coupons held at an instant, in the order they were given, with what is used of them.

    `before_period`: counting only what charges of earlier months used.
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
    uses = (
        select(_USE.c.customer, _USE.c.code, func.count().label("uses"), func.sum(_USE.c.amount_minor).label("minor"))
        .where(_USE.c.tenant == uow.tenant, members(uow, _USE.c.customer, [row.customer for row in rows]))
        .group_by(_USE.c.customer, _USE.c.code)
    )
    if before_period is not None:
        made = (_CHARGE.c.tenant == _USE.c.tenant) & (_CHARGE.c.id == _USE.c.charge)
        uses = uses.join(_CHARGE, made).where(_CHARGE.c.period < before_period)
    used = {(row.customer, row.code): (row.uses, int(row.minor)) for row in uow.connection.execute(uses)}
    held: dict[str, list[HeldCoupon]] = {}
    for row in rows:
        use = CouponState(parse_coupon(row.document), *used.get((row.customer, row.code), (0, 0)))
        held.setdefault(row.customer, []).append(HeldCoupon(use, row.currency))
    return held


def apply_held_coupons(
    rows: Sequence[RatedUsage], held: Sequence[HeldCoupon], asset: str
) -> tuple[list[RatedUsage], tuple[CouponUse, ...]]:
    """Return the rows with what coupons take off them, and the uses. Pure.

    A coupon works on whole minor units: the lines as this charge alone would round them.
    """
    fitting = [each.state for each in held if each.currency in {None, asset}]
    if not fitting:
        return list(rows), ()
    money = currency(asset)
    minor = round_lines([row.amount for row in rows], _ZERO, money).lines
    lines = [InvoiceLine(row.feature, amount) for row, amount in zip(rows, minor, strict=True)]
    result = apply_coupons(lines, fitting, money)
    taken: dict[str, int] = {}
    discounts = []
    for discount in result.discounts:
        taken[discount.coupon] = taken.get(discount.coupon, 0) + discount.amount_minor
        amount = from_minor(-discount.amount_minor, money)
        discounts.append(
            replace(
                rows[discount.line],
                kind=Kind.COUPON,
                quantity=_ZERO,
                list_amount=amount,
                amount=amount,
                cost=_ZERO,
                corrects=None,
                detail={"coupon": discount.coupon},
            )
        )
    uses = tuple(CouponUse(code, amount_minor) for code, amount_minor in taken.items())
    return [*rows, *discounts], uses
