"""Cases of OpenMeter and Autumn: detailed lines, splits of a period, delta runs, late events, discounts."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from models.values.money import currency, from_minor, round_to_minor
from models.values.quantity import plain
from pricing_engine.coupons import Coupon, CouponUse, InvoiceLine, apply_coupons
from tests.conformance.rating.doors import Json, equal, number, rate_request

_ZERO = Decimal(0)
_RENAMED = {"unit_config": "unit_conversion", "included_usage": "included_units"}
_FINAL = {None, "single", "last_split"}
_ONLY_QUANTITY = "1"
"""A price for cases that state none: they assert quantities only."""


def check(case: Json) -> None:
    """Raise AssertionError where our result is not the peer's."""
    for applies, compare in _CHECKS:
        if applies(case):
            compare(case)
            return
    _rated(case)


def _tariff(case: Json) -> Json:
    tariff = {_RENAMED.get(name, name): value for name, value in case["properties"].items()}
    conversion = tariff.get("unit_conversion")
    if conversion:
        tariff["unit_conversion"] = conversion | {"rounding": conversion["rounding"].replace("halfup", "half_up")}
    if case["model"] == "graduated" and "engine" not in case:
        tariff["zero_usage_flat_fee"] = False
    if case["model"] == "volume" and "engine" not in case:
        tariff["volume_split"] = "last_only"
    return {"model": case["model"]} | tariff


def _rate(case: Json, tariff: Json, usage: Json) -> Json:
    code = case["currency"]
    return rate_request(tariff, usage, code or "USD", rounded=code is not None)


def _rated(case: Json) -> None:
    """One run or one split: the difference to what was rated before it."""
    usage, tariff = case["usage"], _tariff(case)
    before = usage.get("prior_cumulative")
    if before is None:
        follows = tariff["model"] == "flat" and usage.get("position") in {"mid_split", "last_split"}
        prior = usage["pre_usage"] if number(usage["pre_usage"]) or follows else None
    else:
        prior = before[-1] if before else None
    final = usage.get("final", usage.get("position") in _FINAL)
    request = {
        "units": usage["units"],
        "prior_units": prior,
        "prior_billed": usage.get("previously_billed"),
        "final": final,
        "service_days": usage.get("service_days"),
        "full_days": usage.get("full_days"),
    }
    answer = _rate(case, tariff, request)
    _compare(case, answer["amount"], [_line(line) for line in answer["lines"]])


def _line(line: Json) -> Json:
    amount, discount, charges, credit = (
        number(line.get(name, 0)) for name in ("amount", "discount", "charges", "credits")
    )
    return {
        "component": line["component"],
        "quantity": number(line["quantity"]),
        "unit_amount": number(line["unit_amount"]),
        "amount": amount,
        "discount": discount,
        "charges": charges,
        "credits": credit,
        "total": amount - discount + charges - credit,
        "discounts": line.get("discounts", []),
    }


def _compare(case: Json, total: Any, lines: list[Json]) -> None:
    expected = case["expected"]
    equal(total, expected["total"], "total")
    for name, sum_of in expected.get("totals", {}).items():
        equal(sum((line[name] for line in lines), _ZERO), sum_of, f"sum of {name}")
    if "lines" in expected:
        _compare_lines(lines, expected["lines"])


_COMPARED = ("quantity", "unit_amount", "amount", "discount", "charges", "total")


def _compare_lines(ours: list[Json], theirs: list[Json]) -> None:
    def row(line: Json) -> tuple[Any, ...]:
        component = line.get("component") if "component" in theirs[0] else None
        if component and any(other.get("component") in {"tier-unit", "tier-flat"} for other in theirs):
            component = re.sub(r"tier-\d+-", "tier-", component)
        discounts = sorted((part["kind"], number(part["amount"])) for part in line.get("discounts", []))
        shown = discounts if any("discounts" in other for other in theirs) else []
        period = (line.get("period"), line.get("corrects_period"))
        credit = number(line.get("credits", 0))
        return (component, period, shown, credit, *(number(line[name]) for name in _COMPARED))

    if not theirs:
        assert ours == []
        return
    assert sorted(map(row, ours), key=repr) == sorted(map(row, theirs), key=repr)


def _late(case: Json) -> None:
    """Corrections stay on the period they belong to: each period's part now, less its part as billed before."""
    usage = case["usage"]
    *earlier, now = usage["snapshots"]
    lines: list[Json] = []
    for period in range(len(now)):
        booked = {
            (line["component"], line["unit_amount"]): line
            for line in (_part(case, earlier[-1], period, final=False) if earlier and period < len(earlier[-1]) else [])
        }
        final = usage["final"] and period == len(now) - 1
        correction = period + 1 if period < len(now) - 1 else None
        for line in _part(case, now, period, final=final):
            before = booked.pop((line["component"], line["unit_amount"]), None)
            lines.append(_placed(line, before, period + 1, correction))
        lines += [_placed(_negated(before), None, period + 1, correction) for before in booked.values()]
    lines = [line for line in lines if any(line[name] for name in ("quantity", "amount", "discount", "charges"))]
    expected = case["expected"]["lines"]
    if expected and "component" in expected[0]:
        raise AssertionError("late cases name periods, not components")
    _compare(case, sum((line["total"] for line in lines), _ZERO), lines)


def _part(case: Json, snapshot: list[str], period: int, *, final: bool) -> list[Json]:
    """What one period adds to the ones before it, as one run saw them."""
    before = number(snapshot[period - 1]) if period else None
    units = number(snapshot[period]) - (before or _ZERO)
    request = {"units": plain(units), "prior_units": None if before is None else plain(before), "final": final}
    return [_line(line) for line in _rate(case, _tariff(case), request)["lines"]]


def _negated(line: Json) -> Json:
    return line | {name: -line[name] for name in ("quantity", "amount", "discount", "charges", "total")}


def _placed(line: Json, before: Json | None, period: int, corrects: int | None) -> Json:
    changed = dict(line)
    for name in ("quantity", "amount", "discount", "charges", "total") if before else ():
        changed[name] = line[name] - before[name]
    return changed | {"period": period, "corrects_period": corrects}


def _cumulative(case: Json) -> None:
    units = number(case["usage"]["units"]) + number(case["usage"]["pre_usage"])
    answer = _rate(case, _tariff(case), {"units": plain(units)})
    equal(answer["amount"], case["expected"]["cumulative_total"], "cumulative total")


def _tier_index(case: Json) -> None:
    lines = _rate(case, _tariff(case), {"units": case["usage"]["units"]})["lines"]
    assert int(lines[-1]["component"].split("-")[1]) - 1 == case["expected"]["tier_index"]


def _packages(case: Json) -> None:
    tariff = _tariff(case) | {"package_amount": _ONLY_QUANTITY}
    lines = _rate(case, tariff, {"units": case["usage"]["units"]})["lines"]
    equal(lines[0]["quantity"] if lines else "0", case["expected"]["packages"], "packages")


def _billable_units(case: Json) -> None:
    """Quantities only: what a unit price of 1 bills, of this split and of the usage before it."""
    tariff, expected = _tariff(case) | {"unit_amount": _ONLY_QUANTITY}, case["expected"]
    units, prior = case["usage"]["units"], case["usage"]["pre_usage"]
    billable = number(rate_request(tariff, {"units": units, "prior_units": prior})["amount"])
    before = number(rate_request(tariff, {"units": prior})["amount"])
    equal(billable, expected["billable_units"], "billable units")
    equal(before, expected.get("billable_pre_usage", before), "billable units before")
    if "discount_units" in expected:
        equal(number(units) - billable, expected["discount_units"], "discounted units")
        equal(number(prior) - before, expected["discount_pre_usage"], "discounted units before")


def _rounding(case: Json) -> None:
    precision = case["properties"].get("precision")
    code = case["currency"] if case["currency"] != "CREDITS" else f"XCREDITS.{precision}"
    of = currency(code)
    rounded = round_to_minor(Decimal(case["properties"]["amount"]), of)
    expected = case["expected"]
    if "minor_units" in expected:
        equal(rounded, expected["minor_units"], "minor units")
    else:
        assert of.exponent == int(precision)
        equal(from_minor(rounded, of), expected["total"], "rounded")
        flat = rate_request({"model": "flat", "amount": case["properties"]["amount"]}, {}, code, rounded=True)
        equal(flat["amount"], expected["total"], "rated flat")


def _coupons(case: Json) -> None:
    """Discounts on charge lines: a fixed amount first, the percentage on what it leaves."""
    properties, of = case["properties"], currency(case["currency"])
    amounts = properties.get("amounts") or [properties["amount"]]
    coupons = []
    if "amount_discount" in properties:
        coupons.append(Coupon("amount", amount_off=Decimal(properties["amount_discount"])))
    if "percentage_discount" in properties:
        coupons.append(Coupon("percentage", percent_off=Decimal(properties["percentage_discount"])))
    lines = [InvoiceLine("f", round_to_minor(Decimal(amount), of)) for amount in amounts]
    result = apply_coupons(lines, [CouponUse(coupon) for coupon in coupons], of)
    ours = []
    for i, (amount, left) in enumerate(zip(amounts, result.left_minor, strict=True)):
        parts = [part for part in result.discounts if part.line == i]
        ours.append(
            {
                "quantity": 1,
                "unit_amount": amount,
                "amount": amount,
                "discount": from_minor(sum(part.amount_minor for part in parts), of),
                "charges": 0,
                "total": from_minor(left, of),
                "discounts": [{"kind": p.coupon, "amount": from_minor(p.amount_minor, of)} for p in parts],
            }
        )
    _compare_lines(ours, case["expected"]["lines"])
    equal(from_minor(sum(result.left_minor), of), case["expected"]["total"], "total")


_CHECKS: tuple[tuple[Callable[[Json], bool], Callable[[Json], None]], ...] = (
    (lambda case: "snapshots" in case["usage"], _late),
    (lambda case: "cumulative_total" in case["expected"], _cumulative),
    (lambda case: "tier_index" in case["expected"], _tier_index),
    (lambda case: "packages" in case["expected"], _packages),
    (lambda case: "billable_units" in case["expected"], _billable_units),
    (lambda case: "precision" in case["properties"] or "minor_units" in case["expected"], _rounding),
    (lambda case: "-off-" in case["id"], _coupons),
)
