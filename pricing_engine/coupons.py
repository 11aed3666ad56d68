"""Coupons on the lines of an invoice: integer minor units in, integer minor units out, nothing lost between lines.

Coupons apply one after the other, each to what those before it left: by `priority`, smallest first, then in the
order given. A percentage is taken of the sum of the lines it covers and rounded once; a fixed amount never exceeds
that sum. Either is shared among the lines in proportion to what is left of them, by largest remainder. Lines of
zero or less (credits, refunds) take no part. Tax is computed on what remains; prepaid credit comes last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any

from models.values.errors import InvalidValueError
from models.values.ids import check_key
from models.values.money import Currency, allocate, round_fraction, round_to_minor
from models.values.quantity import EXACT, plain
from pricing_engine.tariffs.reading import Fields

MAX_COVERED = 10_000
_ZERO = Decimal(0)


class Duration(StrEnum):
    """For how many billing periods a coupon lasts."""

    ONCE = "once"
    PERIODS = "periods"
    FOREVER = "forever"


@dataclass(frozen=True, slots=True)
class Coupon:
    """`percent_off` or `amount_off` (major units), never both.

    periods: how many, for Duration.PERIODS. features: what it covers, None: everything. carries_rest: what an
    invoice leaves of a fixed amount stays for the next one; the coupon then ends when it is used up.
    """

    key: str
    percent_off: Decimal | None = None
    amount_off: Decimal | None = None
    duration: Duration = Duration.ONCE
    periods: int | None = None
    features: frozenset[str] | None = None
    priority: int = 0
    carries_rest: bool = False

    def covers(self, feature: str) -> bool:
        """Return whether a feature's lines are discounted."""
        return self.features is None or feature in self.features


@dataclass(frozen=True, slots=True)
class CouponUse:
    """A coupon a customer holds, and how much of it earlier invoices used.

    `periods_used`: before this one; `period_minor_used`: by other invoices of this one, part of `minor_used`.
    """

    coupon: Coupon
    periods_used: int = 0
    minor_used: int = 0
    period_minor_used: int = 0

    def is_live(self, of: Currency) -> bool:
        """Return whether there is something left to use."""
        coupon = self.coupon
        if coupon.carries_rest:
            return self.minor_used < round_to_minor(coupon.amount_off or _ZERO, of)
        if coupon.duration is Duration.FOREVER:
            return True
        return self.periods_used < (1 if coupon.duration is Duration.ONCE else coupon.periods or 0)


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """A line that coupons may reduce: its feature and its amount in minor units."""

    feature: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class CouponDiscount:
    """What one coupon takes off one line, in minor units."""

    coupon: str
    line: int
    amount_minor: int


@dataclass(frozen=True, slots=True)
class CouponResult:
    """Every discount, what is left of each line, and the coupons as the next invoice finds them."""

    discounts: tuple[CouponDiscount, ...]
    left_minor: tuple[int, ...]
    uses: tuple[CouponUse, ...]


def apply_coupons(lines: Sequence[InvoiceLine], uses: Sequence[CouponUse], of: Currency) -> CouponResult:
    """Apply the coupons a customer holds to the lines of one invoice, in integer minor units of `of`."""
    left = [line.amount_minor for line in lines]
    discounts: list[CouponDiscount] = []
    after = list(uses)
    for position in sorted(range(len(uses)), key=lambda i: uses[i].coupon.priority):
        use = uses[position]
        if not use.is_live(of):
            continue
        covered = [i for i, line in enumerate(lines) if left[i] > 0 and use.coupon.covers(line.feature)]
        taken = _amount_off(use, sum(left[i] for i in covered), of)
        if not taken:
            continue  # A coupon that finds nothing to discount keeps its period.
        after[position] = replace(use, periods_used=use.periods_used + 1, minor_used=use.minor_used + taken)
        for i, part in zip(covered, allocate(taken, [left[i] for i in covered]), strict=True):
            if part:
                left[i] -= part
                discounts.append(CouponDiscount(use.coupon.key, i, part))
    return CouponResult(tuple(discounts), tuple(left), tuple(after))


def _amount_off(use: CouponUse, covered_minor: int, of: Currency) -> int:
    coupon = use.coupon
    if coupon.percent_off is not None:
        return round_fraction(covered_minor * Fraction(coupon.percent_off) / 100)
    offered = round_to_minor(coupon.amount_off or _ZERO, of)
    offered -= use.minor_used if coupon.carries_rest else use.period_minor_used
    return min(offered, covered_minor)


def use_credit(due: Sequence[Decimal], credit: Decimal) -> list[Decimal]:
    """Return how much prepaid credit pays of each line: the first lines first, never more than is due.

    Amounts in one unit, whichever. Raises InvalidValueError for a negative credit.
    """
    if credit < 0:
        raise InvalidValueError("must be >= 0", field="credits", value=credit, code="negative_credit")
    paid = []
    for amount in due:
        part = min(max(amount, _ZERO), credit)
        credit = EXACT.subtract(credit, part)
        paid.append(part)
    return paid


def parse_coupon(document: Mapping[str, Any], field: str = "coupon") -> Coupon:
    """Read a coupon from its wire form. Raises InvalidValueError naming field, value and rule."""
    fields = Fields(document, field)
    key = check_key(fields.require("key", "coupon_without_key"), fields.path("key"))
    covered = fields.array("features", MAX_COVERED, "too_many_features")
    names = None if covered is None else frozenset(check_key(name, fields.path("features")) for name in covered)
    duration = fields.choice("duration", tuple(Duration), "unknown_coupon_duration")
    coupon = Coupon(
        key,
        fields.percent("percent_off", "coupon_percent_out_of_range", at_most_hundred=True),
        fields.amount("amount_off", "negative_coupon"),
        Duration.ONCE if duration is None else Duration(duration),
        fields.count("periods", "coupon_periods_not_whole"),
        names,
        fields.count("priority", "coupon_priority_not_whole") or 0,
        fields.flag("carries_rest") or False,
    )
    fields.finish("unknown_coupon_field")
    _check(coupon, fields)
    return coupon


def _check(coupon: Coupon, fields: Fields) -> None:
    if (coupon.percent_off is None) == (coupon.amount_off is None):
        raise InvalidValueError(
            "takes percent_off or amount_off, one of both", field=fields.path("percent_off"), code="coupon_kind_unclear"
        )
    if (coupon.duration is Duration.PERIODS) != bool(coupon.periods):
        raise InvalidValueError(
            "a number of periods belongs to the duration periods, and to no other",
            field=fields.path("periods"),
            value=coupon.periods,
            code="coupon_periods_unclear",
        )
    if coupon.carries_rest and coupon.amount_off is None:
        raise InvalidValueError(
            "only a fixed amount leaves a rest", field=fields.path("carries_rest"), code="rest_of_percentage"
        )


def coupon_document(coupon: Coupon) -> dict[str, Any]:
    """Write a coupon in canonical wire form."""
    document: dict[str, Any] = {"key": coupon.key, "duration": coupon.duration.value}
    if coupon.percent_off is not None:
        document["percent_off"] = plain(coupon.percent_off)
    if coupon.amount_off is not None:
        document["amount_off"] = plain(coupon.amount_off)
    if coupon.periods is not None:
        document["periods"] = str(coupon.periods)
    if coupon.features is not None:
        document["features"] = sorted(coupon.features)
    if coupon.priority:
        document["priority"] = str(coupon.priority)
    if coupon.carries_rest:
        document["carries_rest"] = True
    return document
