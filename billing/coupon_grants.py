"""Coupons given to customers, once each, and what charges used of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import func, select, update

from billing.coupons import define_coupon, grant_coupon
from billing.repositories import journals
from billing.repositories.customers import CustomerRepository
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.invoice import ChargeRow, CouponGrantRow, CouponRow, CouponUseRow
from models.values.errors import ConflictError, InvalidValueError, NotFoundError
from pricing_engine.coupons import Coupon, coupon_document, parse_coupon

_COUPON = table_of(CouponRow)
_GRANT = table_of(CouponGrantRow)
_USE = table_of(CouponUseRow)
_CHARGE = table_of(ChargeRow)


@dataclass(frozen=True, slots=True)
class GivenCoupon:
    """A coupon as a customer was given it. `currency`: of a fixed amount.

    `periods_used`: months in which it took something. `used_minor`: what it took, in minor units by currency.
    """

    coupon: Coupon
    currency: str | None
    starts_at: datetime
    ends_at: datetime | None
    periods_used: int
    used_minor: Mapping[str, int]


def give_coupon(
    uow: UnitOfWork,
    customer: str,
    coupon: Coupon,
    asset: str | None,
    at: datetime,
    *,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
) -> GivenCoupon:
    """Give a coupon to a customer and return it as it stands; the same again changes nothing.

    `asset`: the currency of a fixed amount. Without `starts_at` it begins now. Raises NotFoundError (customer),
    InvalidValueError (currency, times), ConflictError where the key stands for another coupon, or the customer holds
    it from or until another time.
    """
    CustomerRepository(uow).get(customer)
    if (asset is None) != (coupon.amount_off is None):
        raise InvalidValueError("goes with a fixed amount, and only with it", field="currency", value=asset)
    journals.lock(uow)
    query = select(_COUPON.c.document, _COUPON.c.currency).where(
        _COUPON.c.tenant == uow.tenant, _COUPON.c.code == coupon.key
    )
    known = uow.connection.execute(query).one_or_none()
    if known is None:
        define_coupon(uow, coupon, asset, at)
    elif (known.document, known.currency) != (coupon_document(coupon), asset):
        raise ConflictError("stands for another coupon", field="key", value=coupon.key, code="coupon_conflict")
    held = _find(uow, customer, coupon.key)
    begins = starts_at or (at if held is None else held.starts_at)
    if ends_at is not None and ends_at <= begins:
        raise InvalidValueError("must be later than the start", field="ends_at", value=ends_at)
    if held is None:
        grant_coupon(uow, customer, coupon.key, begins, at, ends_at=ends_at)
        return GivenCoupon(coupon, asset, begins, ends_at, 0, {})
    if (held.starts_at, held.ends_at) != (begins, ends_at):
        raise ConflictError(
            "is held from or until another time", field="key", value=coupon.key, code="coupon_grant_conflict"
        )
    return held


def end_coupon(
    uow: UnitOfWork, customer: str, key: str, at: datetime, *, ends_at: datetime | None = None
) -> GivenCoupon:
    """End a customer's coupon, now unless `ends_at` says when; what it took stands, and one that has ended stays so.

    Raises NotFoundError (customer, coupon), InvalidValueError for an end that is past.
    """
    CustomerRepository(uow).get(customer)
    journals.lock(uow)
    held = _find(uow, customer, key)
    if held is None:
        raise NotFoundError("was not given to the customer", field="coupon", value=key, code="unknown_coupon")
    if ends_at is not None and ends_at < at:
        raise InvalidValueError("must not be past", field="ends_at", value=ends_at)
    if held.ends_at is not None and held.ends_at <= at:
        return held
    ended = replace(held, ends_at=ends_at or at)
    grant = (_GRANT.c.tenant == uow.tenant) & (_GRANT.c.customer == customer) & (_GRANT.c.code == key)
    uow.connection.execute(update(_GRANT).where(grant).values(ends_at=ended.ends_at))
    return ended


def given_coupons(uow: UnitOfWork, customer: str) -> list[GivenCoupon]:
    """Return every coupon a customer was given, those that ended or are used up too, in the order they begin."""
    grants = (
        select(_GRANT.c.code, _GRANT.c.starts_at, _GRANT.c.ends_at, _COUPON.c.document, _COUPON.c.currency)
        .join(_COUPON, (_COUPON.c.tenant == _GRANT.c.tenant) & (_COUPON.c.code == _GRANT.c.code))
        .where(_GRANT.c.tenant == uow.tenant, _GRANT.c.customer == customer)
        .order_by(_GRANT.c.starts_at, _GRANT.c.code)
    )
    uses = (
        select(_USE.c.code, _CHARGE.c.period, _CHARGE.c.currency, func.sum(_USE.c.amount_minor).label("minor"))
        .join(_CHARGE, (_CHARGE.c.tenant == _USE.c.tenant) & (_CHARGE.c.id == _USE.c.charge))
        .where(_USE.c.tenant == uow.tenant, _USE.c.customer == customer)
        .group_by(_USE.c.code, _CHARGE.c.period, _CHARGE.c.currency)
    )
    periods: dict[str, set[str]] = {}
    used: dict[str, Counter[str]] = {}
    for use in uow.connection.execute(uses):
        periods.setdefault(use.code, set()).add(use.period)
        used.setdefault(use.code, Counter())[use.currency] += int(use.minor)
    return [
        GivenCoupon(
            parse_coupon(row.document),
            row.currency,
            row.starts_at,
            row.ends_at,
            len(periods.get(row.code, ())),
            used.get(row.code, {}),
        )
        for row in uow.connection.execute(grants)
    ]


def _find(uow: UnitOfWork, customer: str, key: str) -> GivenCoupon | None:
    return next((each for each in given_coupons(uow, customer) if each.coupon.key == key), None)
