"""Every kind of bad tariff and bad usage has a code of its own, and names its field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from api.cli.json_lines import answers
from api.cli.rate import RateCommand

Json = dict[str, Any]
UNIT: Json = {"model": "unit", "unit_amount": "1"}
TIER: Json = {"up_to": None, "unit_amount": "1"}
WINDOW: Json = {"name": "night", "from": "22:00", "to": "06:00", "factor": "0.5"}


def graduated(*tiers: Json, **fields: Any) -> Json:
    return {"model": "graduated", "tiers": list(tiers), **fields}


def windows(*ranges: Any, zone: Any = "UTC") -> Json:
    return UNIT | {"windows": {"zone": zone, "ranges": list(ranges)}}


BAD_TARIFFS: list[tuple[str, str, Any]] = [
    ("not_an_object", "tariff", "unit"),
    ("missing_model", "tariff.model", {"unit_amount": "1"}),
    ("unknown_model", "tariff.model", {"model": "stairs"}),
    ("unknown_field", "tariff.unit_price", {"model": "unit", "unit_price": "1"}),
    ("float_refused", "tariff.unit_amount", {"model": "unit", "unit_amount": 0.1}),
    ("not_a_number", "tariff.unit_amount", {"model": "unit", "unit_amount": "NaN"}),
    ("number_too_large", "tariff.unit_amount", {"model": "unit", "unit_amount": "1" + "0" * 30}),
    ("too_many_decimal_places", "tariff.unit_amount", {"model": "unit", "unit_amount": "0." + "0" * 39 + "1"}),
    ("negative_price", "tariff.unit_amount", {"model": "unit", "unit_amount": "-1"}),
    ("missing_flat_amount", "tariff.amount", {"model": "flat"}),
    ("unknown_payment_term", "tariff.payment_term", {"model": "flat", "amount": "1", "payment_term": "later"}),
    ("flat_with_units", "tariff", {"model": "flat", "amount": "1", "included_units": "1"}),
    ("no_tiers", "tariff.tiers", {"model": "graduated", "tiers": []}),
    ("not_a_list", "tariff.tiers", {"model": "graduated", "tiers": "1"}),
    ("too_many_tiers", "tariff.tiers", graduated(*[{"up_to": str(i + 1)} for i in range(10_001)])),
    ("last_tier_bounded", "tariff.tiers[0].up_to", graduated({"up_to": "5"})),
    ("tier_after_open_end", "tariff.tiers[0].up_to", graduated(TIER, TIER)),
    ("tiers_unsorted", "tariff.tiers[1].up_to", graduated({"up_to": "5"}, {"up_to": "4"}, TIER)),
    ("tiers_overlap", "tariff.tiers[1].up_to", graduated({"up_to": "5"}, {"up_to": "5.0"}, TIER)),
    ("half_a_package", "tariff.tiers[0].package_size", graduated({"package_size": "5"})),
    (
        "unit_and_package",
        "tariff.tiers[0].unit_amount",
        graduated({"unit_amount": "1", "package_size": "5", "package_amount": "1"}),
    ),
    (
        "blocks_and_packages",
        "tariff.billing_units",
        {**graduated({"package_size": "5", "package_amount": "1"}), "billing_units": "10"},
    ),
    (
        "prorated_packages",
        "tariff.prorated",
        {**graduated({"package_size": "5", "package_amount": "1"}), "prorated": True},
    ),
    ("tier_not_positive", "tariff.tiers[0].up_to", graduated({"up_to": "0"}, TIER)),
    ("unknown_tier_field", "tariff.tiers[0].price", graduated({"up_to": None, "price": "1"})),
    ("missing_package_size", "tariff.package_size", {"model": "package", "package_amount": "1"}),
    ("package_size_not_positive", "tariff.package_size", {"model": "package", "package_size": "0"}),
    ("negative_free_units", "tariff.free_units", {"model": "package", "package_size": "1", "free_units": "-1"}),
    (
        "unknown_package_rounding",
        "tariff.package_rounding",
        {"model": "package", "package_size": "1", "package_rounding": "near"},
    ),
    ("negative_rate", "tariff.rate", {"model": "percentage", "rate": "-1"}),
    (
        "free_events_not_whole",
        "tariff.free_units_per_events",
        {"model": "percentage", "rate": "1", "free_units_per_events": "1.5"},
    ),
    (
        "negative_transaction_bound",
        "tariff.per_transaction_min_amount",
        {"model": "percentage", "rate": "1", "per_transaction_min_amount": "-1"},
    ),
    ("negative_multiplier", "tariff.multiplier", {"model": "dynamic", "multiplier": "-1"}),
    ("empty_matrix", "tariff.rules", {"model": "matrix"}),
    ("rule_without_condition", "tariff.rules[0].when", {"model": "matrix", "rules": [{"unit_amount": "1"}]}),
    ("property_not_text", "tariff.rules[0].when", {"model": "matrix", "rules": [{"when": {"a": 1}}]}),
    ("duplicate_rule", "tariff.rules[1].when", {"model": "matrix", "rules": [{"when": {"a": "1"}}] * 2}),
    ("unknown_rule_model", "tariff.rules[0].model", {"model": "matrix", "rules": [{"when": {"a": "1"}, "model": "x"}]}),
    ("unknown_rule_field", "tariff.rules[0].rate", {"model": "matrix", "rules": [{"when": {"a": "1"}, "rate": "1"}]}),
    ("incomplete_conversion", "tariff.unit_conversion.factor", UNIT | {"unit_conversion": {"operation": "divide"}}),
    (
        "unknown_conversion_operation",
        "tariff.unit_conversion.operation",
        UNIT | {"unit_conversion": {"operation": "add", "factor": "1"}},
    ),
    (
        "conversion_factor_not_positive",
        "tariff.unit_conversion.factor",
        UNIT | {"unit_conversion": {"operation": "divide", "factor": "0"}},
    ),
    (
        "unknown_conversion_rounding",
        "tariff.unit_conversion.rounding",
        UNIT | {"unit_conversion": {"operation": "divide", "factor": "2", "rounding": "even"}},
    ),
    (
        "unknown_conversion_field",
        "tariff.unit_conversion.by",
        UNIT | {"unit_conversion": {"operation": "divide", "factor": "2", "by": "2"}},
    ),
    ("billing_units_not_positive", "tariff.billing_units", UNIT | {"billing_units": "0"}),
    ("blocks_without_units", "tariff.billing_units", {"model": "package", "package_size": "1", "billing_units": "5"}),
    (
        "two_conversions",
        "tariff.billing_units",
        UNIT | {"billing_units": "5", "unit_conversion": {"operation": "divide", "factor": "5"}},
    ),
    ("inexact_billing_units", "billing_units", graduated({"up_to": "10"}, TIER, billing_units="3")),
    ("negative_included_units", "tariff.included_units", UNIT | {"included_units": "-1"}),
    ("negative_usage_discount", "tariff.usage_discount", UNIT | {"usage_discount": "-1"}),
    ("negative_event_minimum", "tariff.event_minimum", UNIT | {"event_minimum": "-1"}),
    ("incomplete_overage", "tariff.overage.factor", UNIT | {"overage": {"commitment": "1"}}),
    ("negative_commitment", "tariff.overage.commitment", UNIT | {"overage": {"commitment": "-1", "factor": "1"}}),
    ("negative_overage_factor", "tariff.overage.factor", UNIT | {"overage": {"commitment": "1", "factor": "-1"}}),
    (
        "unknown_overage_field",
        "tariff.overage.rate",
        UNIT | {"overage": {"commitment": "1", "factor": "1", "rate": "1"}},
    ),
    ("percentage_discount_out_of_range", "tariff.percentage_discount", UNIT | {"percentage_discount": "101"}),
    ("negative_maximum_spend", "tariff.maximum_spend", UNIT | {"maximum_spend": "-1"}),
    ("negative_minimum_spend", "tariff.minimum_spend", UNIT | {"minimum_spend": "-1"}),
    ("minimum_above_maximum", "tariff.minimum_spend", UNIT | {"minimum_spend": "2", "maximum_spend": "1"}),
    ("not_a_boolean", "tariff.zero_usage_flat_fee", UNIT | {"zero_usage_flat_fee": "true"}),
    ("unknown_volume_split", "tariff.volume_split", {"model": "volume", "tiers": [TIER], "volume_split": "first"}),
    ("split_without_volume", "tariff.volume_split", UNIT | {"volume_split": "last_only"}),
    ("prorated_without_tiers", "tariff.prorated", UNIT | {"prorated": True}),
    (
        "windows_without_units",
        "tariff.windows",
        {"model": "matrix", "default": {"unit_amount": "1"}, "windows": {"zone": "UTC", "ranges": [WINDOW]}},
    ),
    ("invalid_key", "tariff.tax_category", UNIT | {"tax_category": "Books & more"}),
    ("windows_without_zone", "tariff.windows.zone", windows(WINDOW, zone=None)),
    ("unknown_zone", "tariff.windows.zone", windows(WINDOW, zone="Mars/Olympus")),
    ("no_windows", "tariff.windows.ranges", windows()),
    ("incomplete_window", "tariff.windows.ranges[0].factor", windows(WINDOW | {"factor": None})),
    ("not_a_time_of_day", "tariff.windows.ranges[0].from", windows(WINDOW | {"from": "25:00"})),
    ("unknown_day", "tariff.windows.ranges[0].days", windows(WINDOW | {"days": ["monday"]})),
    ("negative_window_factor", "tariff.windows.ranges[0].factor", windows(WINDOW | {"factor": "-1"})),
    ("duplicate_window", "tariff.windows.ranges", windows(WINDOW, WINDOW)),
]
PERCENTAGE: Json = {"model": "percentage", "rate": "1", "fixed_amount": "1"}
MATRIX: Json = {"model": "matrix", "rules": [{"when": {"a": "1"}, "unit_amount": "1"}]}
BAD_USAGES: list[tuple[str, str, Json, Any]] = [
    ("unknown_usage_field", "usage.quantity", UNIT, {"quantity": "1"}),
    ("units_required", "usage.units", UNIT, {}),
    ("negative_units", "usage.units", UNIT, {"units": "-1"}),
    ("prior_billed_without_prior_units", "usage.prior_billed", UNIT, {"units": "1", "prior_billed": "1"}),
    ("two_priors", "usage.prior_units", UNIT, {"units": "1", "prior_units": "1", "prior": {"units": "1"}}),
    ("prior_required", "usage.prior.events", PERCENTAGE, {"events": ["1"], "prior_units": "1"}),
    ("event_count_not_whole", "usage.event_count", PERCENTAGE, {"units": "1", "event_count": "1.5"}),
    ("event_count_required", "usage.event_count", PERCENTAGE, {"units": "1"}),
    ("event_count_mismatch", "usage.event_count", PERCENTAGE, {"events": ["1"], "event_count": "2"}),
    ("units_mismatch", "usage.units", PERCENTAGE, {"events": ["1"], "units": "2"}),
    ("empty_event", "usage.events[0]", PERCENTAGE, {"events": [{}]}),
    ("event_with_two_values", "usage.events[0]", PERCENTAGE, {"events": [{"value": "1", "units": "1"}]}),
    ("unknown_event_field", "usage.events[0].val", PERCENTAGE, {"events": [{"value": "1", "val": "1"}]}),
    (
        "events_required",
        "usage.events",
        PERCENTAGE | {"free_units_per_events": "2"},
        {"units": "1", "event_count": "3"},
    ),
    (
        "events_required_for_bounds",
        "usage.events",
        PERCENTAGE | {"per_transaction_min_amount": "1"},
        {"units": "1", "event_count": "3"},
    ),
    ("running_total_falls", "usage.running_total", PERCENTAGE, {"units": "3", "running_total": ["2", "1"]}),
    ("event_count_required_for_minimum", "usage.event_count", UNIT | {"event_minimum": "1"}, {"units": "1"}),
    (
        "allowance_on_event_amounts",
        "tariff",
        {"model": "dynamic", "included_units": "1"},
        {"events": [{"amount": "1"}]},
    ),
    ("buckets_required", "usage.buckets", {"model": "bucketed_unit", "unit_amount": "1"}, {"units": "1"}),
    ("groups_required", "usage.groups", MATRIX, {"units": "1"}),
    ("groups_mismatch", "usage.units", MATRIX, {"units": "2", "groups": [{"properties": {"a": "1"}, "units": "1"}]}),
    ("no_matching_price", "usage.groups", MATRIX, {"groups": [{"properties": {"a": "2"}, "units": "1"}]}),
    ("group_without_properties", "usage.groups[0].properties", MATRIX, {"groups": [{"units": "1"}]}),
    ("group_without_units", "usage.groups[0].units", MATRIX, {"groups": [{"properties": {"a": "1"}}]}),
    (
        "group_properties_not_text",
        "usage.groups[0].properties",
        MATRIX,
        {"groups": [{"properties": {"a": 1}, "units": "1"}]},
    ),
    (
        "unknown_group_field",
        "usage.groups[0].unit",
        MATRIX,
        {"groups": [{"properties": {"a": "1"}, "units": "1", "unit": "h"}]},
    ),
    ("negative_days", "usage.service_days", {"model": "flat", "amount": "1"}, {"service_days": "-1"}),
    ("window_units_required", "usage.window_units", windows(WINDOW), {"units": "1"}),
    ("unknown_window", "usage.window_units", windows(WINDOW), {"units": "1", "window_units": {"noon": "1"}}),
    ("event_time_required", "usage.events", windows(WINDOW), {"events": ["1"]}),
    (
        "window_units_exceed_units",
        "usage.window_units",
        windows(WINDOW),
        {"units": "1", "window_units": {"night": "2"}},
    ),
    ("full_units_required", "usage.full_units", {"model": "volume", "tiers": [TIER], "prorated": True}, {"units": "1"}),
    ("prorated_events_required", "usage.events", graduated(TIER, prorated=True), {"units": "1"}),
]


def refusal(request: Any) -> Json:
    (answer,) = answers([json.dumps(request).encode()], RateCommand().answer)
    assert answer["id"] == "a"
    return dict(answer["error"])


def request_of(tariff: Any, usage: Any) -> Json:
    return {"id": "a", "currency": "USD", "tariff": tariff, "usage": usage}


@pytest.mark.parametrize(("code", "field", "tariff"), BAD_TARIFFS, ids=[row[0] for row in BAD_TARIFFS])
def test_bad_tariff(code: str, field: str, tariff: Any) -> None:
    error = refusal(request_of(tariff, {"units": "1"}))
    assert (error["code"], error["field"]) == (code, field)
    assert field.rpartition(".")[2] in error["message"]


@pytest.mark.parametrize(("code", "field", "tariff", "usage"), BAD_USAGES, ids=[row[0] for row in BAD_USAGES])
def test_bad_usage(code: str, field: str, tariff: Json, usage: Json) -> None:
    error = refusal(request_of(tariff, usage))
    assert (error["code"], error["field"]) == (code, field)


def test_each_kind_has_a_code_of_its_own() -> None:
    codes = [row[0] for row in BAD_TARIFFS] + [row[0] for row in BAD_USAGES]
    assert len(set(codes)) == len(codes) >= 40


@pytest.mark.parametrize(
    ("code", "field", "change"),
    [
        ("unknown_currency", "currency", {"currency": "usd"}),
        ("unknown_currency", "currency", {"currency": 1}),
        ("missing_field", "tariff", {"tariff": None}),
        ("missing_field", "usage", {"usage": None}),
        ("not_a_boolean", "round", {"round": "yes"}),
        ("unknown_field", "rounding", {"rounding": True}),
    ],
)
def test_bad_request(code: str, field: str, change: Json) -> None:
    error = refusal(request_of(UNIT, {"units": "1"}) | change)
    assert (error["code"], error["field"]) == (code, field)


def test_a_line_that_is_no_json_is_refused_alone() -> None:
    good = json.dumps(request_of(UNIT, {"units": "2"})).encode()
    first, second, third = answers([b"{oops", good, b'"text"'], RateCommand().answer)
    assert (first["error"]["code"], second["amount"], third["error"]["code"]) == ("invalid_json", "2", "not_an_object")
