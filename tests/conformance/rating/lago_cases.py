"""Cases of Lago and Flexprice: exact charge amounts, aggregations, coupons, currency rounding."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from typing import Any

from models.values.money import RoundingMode, currency, from_minor, round_to_minor
from models.values.period import parse_instant, parse_zone
from models.values.quantity import plain
from pricing_engine.coupons import Coupon, CouponUse, InvoiceLine, apply_coupons
from pricing_engine.proration import count_days
from tests.conformance.rating.doors import (
    Json,
    aggregate_request,
    equal,
    equal_rounded,
    number,
    prorate_request,
    rate_request,
)

_MODELS = {"standard": "unit", "bucketed_standard": "bucketed_unit", "prorated_graduated": "graduated"}
_NOT_TARIFF = {
    "group_by", "tax_rate", "currency_exponent", "amount_rounding_in_spec", "recurring", "proration",
    "period_start", "period_end", "period_days", "carried_units",
}  # fmt: skip
_NOW = datetime(2024, 6, 30, 12, tzinfo=UTC)
_CENTS = Decimal(100)


def check(case: Json) -> None:
    """Raise AssertionError where our result is not the peer's."""
    model = case["model"]
    special = _SPECIAL.get(model)
    if special is None and model.startswith("aggregation_"):
        special = _aggregation
    (special or _charge)(case)


def _tariff(case: Json) -> Json:
    properties = case["properties"]
    tariff = {name: value for name, value in properties.items() if name not in _NOT_TARIFF}
    if "prorated" in tariff:
        tariff["prorated"] = tariff["prorated"] == "true"
    if case["model"] == "prorated_graduated":
        tariff["prorated"] = True
    if case["id"].startswith("flexprice-"):
        tariff["zero_usage_flat_fee"] = False
    if number(case["usage"].get("units") or 0) < 0 and not tariff.get("prorated"):
        tariff["allow_negative"] = False
    return {"model": _MODELS.get(case["model"], case["model"])} | tariff


def _usage(case: Json) -> Json:
    usage = {name: value for name, value in case["usage"].items() if name not in {"group", "groups"}}
    cents = usage.pop("event_priced_total_cents", None)
    if cents is not None:
        usage.pop("event_count", None)
        usage["events"] = [{"units": usage.pop("units"), "amount": plain(Decimal(cents) / _CENTS)}]
    elif case["model"] == "dynamic":
        usage["events"] = [
            {"units": event["units"], "amount": plain(Decimal(event["priced_cents"]) / _CENTS)}
            for event in usage["events"]
        ]
    elif case["model"] == "prorated_graduated":
        usage = {"events": _level_changes(case)}
    return usage


def _level_changes(case: Json) -> list[Json]:
    """Events of a level with the part of the period from their own day on; what came before counts in full."""
    properties, events = case["properties"], case["usage"]["events"]
    if "period_start" not in properties:
        return list(events)
    start, last = date.fromisoformat(properties["period_start"]), date.fromisoformat(properties["period_end"])
    period = {"from": start.isoformat(), "to": (last + timedelta(days=1)).isoformat()}
    changes = []
    carried = properties.get("carried_units")
    if carried:
        changes.append({"full": carried, "prorated": carried})
    for event in events:
        used = {"from": max(event["date"], period["from"]), "to": period["to"]}
        part = prorate_request({"amount": event["value"], "currency": "USD", "period": period, "used": used})
        changes.append({"full": event["value"], "prorated": part["exact"]})
    return changes


def _charge(case: Json) -> None:
    expected, tariff, usage = case["expected"], _tariff(case), _usage(case)
    answer = rate_request(tariff, usage)
    amount = Decimal(answer["amount"])
    if "amount" in expected:
        if "amount_rounding_in_spec" in case["properties"]:
            equal_rounded(amount, expected["amount"], "amount")
        else:
            equal(amount, expected["amount"], "amount")
    if "amount_cents" in expected:
        _check_cents(case, tariff, usage)
    if "unit_amount" in expected:
        units = number(case["usage"].get("full_units", case["usage"].get("units", 0)))
        equal_rounded(amount / units if units > 0 else Decimal(0), expected["unit_amount"], "unit amount")
    _check_lines(case, answer["lines"])
    for group, cents in expected.get("groups", {}).items():
        part = rate_request(tariff, {"units": case["usage"]["groups"][group]}, rounded=True)
        equal(number(part["amount"]) * _CENTS, cents, f"group {group}")


def _check_lines(case: Json, lines: list[Json]) -> None:
    expected = case["expected"]
    if "units" in expected:
        equal(sum((number(line["quantity"]) for line in lines), Decimal(0)), expected["units"], "billed units")
    if "tiers" in expected:
        _check_tiers(lines, expected["tiers"])
    if "tier_index" in expected:
        assert _tier_numbers(lines)[-1] - 1 == int(expected["tier_index"])
    if "last_tier_unit_amount" in expected:
        equal(lines[-2]["unit_amount"], expected["last_tier_unit_amount"], "last tier")
    if "details" in expected:
        _check_details(case, lines, expected["details"])


def _check_cents(case: Json, tariff: Json, usage: Json) -> None:
    expected = case["expected"]
    cents = round_to_minor(Decimal(rate_request(tariff, usage)["amount"]), currency("USD"))
    equal(cents, expected["amount_cents"], "cents")
    if "total_with_tax_cents" in expected:
        tax = Decimal(cents) * number(case["properties"]["tax_rate"]) / 100
        equal(cents + tax.quantize(Decimal(1), rounding="ROUND_HALF_UP"), expected["total_with_tax_cents"], "with tax")


def _tier_numbers(lines: list[Json]) -> list[int]:
    return [int(found[1]) for line in lines if (found := re.match(r"tier-(\d+)-", line["component"]))]


def _check_tiers(lines: list[Json], expected: list[Json]) -> None:
    by_component = {line["component"]: line for line in lines}
    nothing = {"quantity": "0", "amount": "0"}
    for i, tier in enumerate(expected, start=1):
        unit = by_component.get(f"tier-{i}-unit", nothing)
        flat = by_component.get(f"tier-{i}-flat", nothing)
        equal(unit["quantity"], tier["units"], f"tier {i} units")
        equal(unit["amount"], tier["per_unit_total"], f"tier {i} per unit")
        equal(flat["amount"], tier["flat"], f"tier {i} flat")
        equal(number(unit["amount"]) + number(flat["amount"]), tier["total"], f"tier {i} total")
    assert max(_tier_numbers(lines), default=1) == len(expected)


def _check_details(case: Json, lines: list[Json], details: Json) -> None:
    by_component = {line["component"]: line for line in lines}
    nothing = {"quantity": "0", "amount": "0"}
    percentage, fixed = by_component.get("percentage", nothing), by_component.get("fixed", nothing)
    equal(percentage["quantity"], details["paid_units"], "paid units")
    equal(number(case["usage"]["units"]) - number(percentage["quantity"]), details["free_units"], "free units")
    equal(percentage["amount"], details["percentage_amount"], "percentage")
    equal(fixed["quantity"], details["paid_events"], "paid events")
    free_events = int(case["usage"]["event_count"]) - int(fixed["quantity"])
    equal(free_events, details["free_events"], "free events")
    equal(fixed["amount"], details["fixed_fee_total"], "fixed amounts")


def _one_tier(case: Json) -> None:
    """What one tier contributes: a tariff that prices nothing below and above it."""
    tier, amount_name = case["properties"]["tier"], "rate" if "rate" in case["properties"]["tier"] else "unit_amount"
    start = number(tier["from"])
    if case["properties"]["bounds"] == "integer" and start > 0:
        start -= 1
    priced = {"up_to": tier["up_to"], amount_name: tier[amount_name], "flat_amount": tier["flat_amount"]}
    tiers = [priced]
    if start > 0:
        tiers.insert(0, {"up_to": plain(start)})
    if tier["up_to"] is not None:
        tiers.append({"up_to": None})
    answer = rate_request(
        {"model": case["model"].removesuffix("_tier"), "tiers": tiers, "zero_usage_flat_fee": False}, case["usage"]
    )
    name = f"tier-{len(tiers) - (tier['up_to'] is not None)}"
    lines = {line["component"]: line for line in answer["lines"]}
    expected = case["expected"]
    unit = lines.get(f"{name}-unit", {"quantity": "0", "amount": "0"})
    equal(unit["quantity"], expected["tier_units"], "units of the tier")
    equal(unit["amount"], expected["per_unit_total"], "per unit")
    equal(answer["amount"], expected["amount"], "amount")


def _in_advance_difference(case: Json) -> None:
    usage, expected = case["usage"], case["expected"]
    before, now = number(usage["amount_without_event"]), number(usage["amount_with_event"])
    answer = rate_request({"model": "dynamic"}, {"units": plain(now - before), "prior_units": plain(before)})
    equal(answer["amount"], expected["amount"], "amount")
    equal(number(answer["amount"]) * _CENTS, expected["precise_amount_cents"], "cents")


def _currency_rounding(case: Json) -> None:
    properties, amount = case["properties"], Decimal(case["usage"]["amount"])
    of = currency(properties["currency"].upper())
    assert of.exponent == int(properties["precision"])
    rounded = from_minor(round_to_minor(amount, of, RoundingMode(properties["rounding"])), of)
    equal(rounded, case["expected"]["amount"], "rounded")


def _unit_rounding(case: Json) -> None:
    properties = case["properties"]
    rounding = {"function": properties["rounding_function"], "precision": properties["rounding_precision"]}
    answer = aggregate_request(
        {
            "aggregation": "sum",
            "rounding": {name: value for name, value in rounding.items() if value is not None},
            "events": [{"value": case["usage"]["units"]}],
        }
    )
    equal(answer["units"], case["expected"]["units"], "units")


def _coupon(case: Json) -> None:
    properties = case["properties"]
    of = currency(properties["currency"].upper())
    percent, off = properties.get("percentage_off"), properties.get("amount_off")
    coupon = Coupon("c", None if percent is None else Decimal(percent), None if off is None else Decimal(off))
    line = InvoiceLine("f", round_to_minor(Decimal(case["usage"]["amount"]), of))
    result = apply_coupons([line], [CouponUse(coupon)], of)
    discount = sum(part.amount_minor for part in result.discounts)
    equal(from_minor(discount, of), case["expected"]["discount"], "discount")
    if "amount" in case["expected"]:
        equal(from_minor(result.left_minor[0], of), case["expected"]["amount"], "left")


def _days(case: Json) -> None:
    zone = parse_zone(case["properties"]["timezone"])
    start, end = (parse_instant(case["usage"][name], name) for name in ("start", "end"))
    equal(count_days(start, end, zone), case["expected"]["days"], "days")


def _part_of_a_period(case: Json) -> None:
    answer = prorate_request({"currency": "USD", "used": case["usage"]} | case["properties"])
    equal(number(answer["amount"]) * _CENTS, case["expected"]["amount_cents"], "cents")


def _event_time(event: Json) -> datetime:
    if "timestamp" in event:
        return parse_instant(event["timestamp"], "timestamp")
    when = event.get("when", "in period")
    if found := re.match(r"(\d+) days? ago", when):
        return _NOW - timedelta(days=int(found[1]))
    return _NOW - timedelta(days=400 if when == "before the period" else 0)


def _aggregation(case: Json) -> None:
    properties, expected = case["properties"], case["expected"]
    events = case["usage"]["events"]
    in_advance = "pay_in_advance" in case["model"]
    request: Json = {
        "aggregation": case["model"].removeprefix("aggregation_").removeprefix("pay_in_advance_"),
        "period": _period(properties),
        "group_by": properties.get("group_by", []),
        "filter": properties.get("filter"),
        "events": [_aggregated(event, properties) for event in events],
    }
    if in_advance:
        before = {event["id"] for event in events if event["when"] == "before the period"}
        request |= {"in_advance": True, "recurring": True, "billed_units": properties.get("period_max")}
        request["initial_value"] = properties.get("previous_current")
        request["initial_active"] = sorted(before)
        request["events"] = [
            row for row, event in zip(request["events"], events, strict=True) if event["when"] != "before the period"
        ]
    elif request["aggregation"] == "weighted_sum":
        request["initial_value"] = properties["initial_value"]
        request["recurring"] = properties.get("recurring") == "true"
    _check_aggregate(aggregate_request(request), events, expected, properties.get("rounding_in_spec"))


def _period(properties: Json) -> Json:
    if "from" in properties:  # The peer's last millisecond is our exclusive end.
        end = parse_instant(properties["to"], "to") + timedelta(milliseconds=1)
        return {"from": properties["from"], "to": end.isoformat()}
    end = _NOW + timedelta(seconds=1)
    if found := re.match(r"(\d+) days? ago", properties.get("to", "")):
        end = _NOW - timedelta(days=int(found[1]))
    return {"from": (_NOW - timedelta(days=30)).isoformat(), "to": end.isoformat()}


def _aggregated(event: Json, properties: Json) -> Json:
    row = {"time": _event_time(event).isoformat()}
    if "value" in event and "field" not in properties:
        row["value"] = event["value"]
    if "id" in event:
        row["value"] = event["id"]
    known = {"when", "timestamp", "value", "id", "in_period", "priced_cents"}
    return row | {name: value for name, value in event.items() if name not in known}


def _check_aggregate(answer: Json, events: list[Json], expected: Json, rounded_to: str | None) -> None:
    if "units" in expected:
        ours = number(answer["units"])
        equal(round(ours, int(rounded_to)) if rounded_to else ours, expected["units"], "units")
    for name in ("event_count", "billable_units", "carry_forward"):
        if name in expected:
            equal(answer[name], expected[name], name)
    skipped = {skip["event"] for skip in answer.get("skipped", [])}
    counted = [event for i, event in enumerate(events) if i not in skipped]
    if "priced_total_cents" in expected:
        priced = [{"amount": plain(Decimal(event["priced_cents"]) / _CENTS)} for event in counted]
        amount = rate_request({"model": "dynamic"}, {"events": priced})["amount"]
        equal(number(amount) * _CENTS, expected["priced_total_cents"], "priced total")
    if "running_total" in expected:
        assert list(accumulate(number(event["value"]) for event in counted)) == list(
            map(number, expected["running_total"])
        )
    if "groups" in expected:
        ours = {next(iter(group["group"].values())): number(group["units"]) for group in answer["groups"]}
        assert ours == {name: number(units) for name, units in expected["groups"].items()}


_SPECIAL: dict[str, Callable[[Json], Any]] = {
    "graduated_tier": _one_tier,
    "graduated_percentage_tier": _one_tier,
    "pay_in_advance_delta": _in_advance_difference,
    "currency_rounding": _currency_rounding,
    "unit_rounding": _unit_rounding,
    "coupon_percentage": _coupon,
    "coupon_fixed": _coupon,
    "calendar_days_between": _days,
    "part_of_a_period": _part_of_a_period,
}
