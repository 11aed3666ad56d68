"""Coupons as they are given and shown: amounts and percentages are decimal strings."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

import msgspec

from api.amounts import minor_of
from billing import audit
from billing.audit import Actor
from billing.coupon_grants import GivenCoupon, end_coupon, give_coupon, given_coupons
from billing.repositories import journals
from billing.unit_of_work import UnitOfWork
from models.values.money import currency, from_minor
from models.values.period import parse_instant
from models.values.quantity import plain
from pricing_engine.coupons import MAX_COVERED, parse_coupon

_Priority = Annotated[int, msgspec.Meta(ge=0, le=1000)]
_Periods = Annotated[int, msgspec.Meta(ge=1, le=1200)]
_Features = Annotated[list[str], msgspec.Meta(max_length=MAX_COVERED)]
_GRANT_FIELDS = {"currency", "starts_at", "ends_at"}


class CouponBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A coupon to give: `percent_off`, or `amount_off` in `currency`. Times are RFC 3339; it begins now if not said.

    `periods`: how many, for that duration. `features`: what it covers, all if absent. Lower `priority` comes first.
    `carries_rest`: what an invoice leaves of a fixed amount stays for the next one.
    """

    key: str
    percent_off: str | None = None
    amount_off: str | None = None
    currency: str | None = None
    duration: Literal["once", "periods", "forever"] = "once"
    periods: _Periods | None = None
    features: _Features | None = None
    priority: _Priority = 0
    carries_rest: bool = False
    starts_at: str | None = None
    ends_at: str | None = None


class EndBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """When a coupon ends, RFC 3339; now if not said."""

    ends_at: str | None = None


class CouponView(TypedDict):
    """A coupon that a customer was given.

    `periods_used`: months in which it took something off. `used`: what it took in all, by currency.
    """

    key: str
    percent_off: str | None
    amount_off: str | None
    currency: str | None
    duration: str
    periods: int | None
    features: list[str] | None
    priority: int
    carries_rest: bool
    starts_at: str
    ends_at: str | None
    periods_used: int
    used: dict[str, str]


class CouponList(TypedDict):
    """A customer's coupons, in the order in which they begin."""

    items: list[CouponView]


def give_to(uow: UnitOfWork, customer: str, body: CouponBody, by: Actor) -> dict[str, Any]:
    """Give a coupon to a customer, once, and show it. Raises what `parse_coupon` and `give_coupon` raise."""
    coupon = parse_coupon({name: getattr(body, name) for name in {*body.__struct_fields__} - _GRANT_FIELDS}, "")
    if body.amount_off is not None and body.currency is not None:
        minor_of(body.amount_off, "amount_off", currency(body.currency))
    starts_at = None if body.starts_at is None else parse_instant(body.starts_at, "starts_at")
    ends_at = None if body.ends_at is None else parse_instant(body.ends_at, "ends_at")
    journals.lock(uow)
    before = _shown(uow, customer, coupon.key)
    given = give_coupon(uow, customer, coupon, body.currency, by.at, starts_at=starts_at, ends_at=ends_at)
    after = coupon_view(given)
    audit.record_change(uow, by, "coupon.give", ("customer", customer), before=before, after=after)
    return after


def end_for(uow: UnitOfWork, customer: str, key: str, body: EndBody, by: Actor) -> dict[str, Any]:
    """End a customer's coupon and show it. Raises what `end_coupon` raises."""
    ends_at = None if body.ends_at is None else parse_instant(body.ends_at, "ends_at")
    journals.lock(uow)
    before = _shown(uow, customer, key)
    after = coupon_view(end_coupon(uow, customer, key, by.at, ends_at=ends_at))
    audit.record_change(uow, by, "coupon.end", ("customer", customer), before=before, after=after)
    return after


def _shown(uow: UnitOfWork, customer: str, key: str) -> dict[str, Any] | None:
    return next((coupon_view(each) for each in given_coupons(uow, customer) if each.coupon.key == key), None)


def coupon_view(given: GivenCoupon) -> dict[str, Any]:
    """Show a coupon with what is used of it."""
    coupon = given.coupon
    return {
        "key": coupon.key,
        "percent_off": None if coupon.percent_off is None else plain(coupon.percent_off),
        "amount_off": None if coupon.amount_off is None else plain(coupon.amount_off),
        "currency": given.currency,
        "duration": coupon.duration.value,
        "periods": coupon.periods,
        "features": None if coupon.features is None else sorted(coupon.features),
        "priority": coupon.priority,
        "carries_rest": coupon.carries_rest,
        "starts_at": given.starts_at.isoformat(),
        "ends_at": None if given.ends_at is None else given.ends_at.isoformat(),
        "periods_used": given.periods_used,
        "used": {asset: plain(from_minor(minor, currency(asset))) for asset, minor in sorted(given.used_minor.items())},
    }
