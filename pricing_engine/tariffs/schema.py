"""JSON Schema (2020-12) of tariff and usage, for editors and for callers in other languages.

It checks form only; what fields mean together (ascending tiers, a minimum below the maximum) is for `parse_tariff`.
"""

from __future__ import annotations

from typing import Any

from pricing_engine.tariffs.conversion import CEILING, DIVIDE, FLOOR, HALF_UP, MULTIPLY, NONE
from pricing_engine.tariffs.flat import IN_ADVANCE, IN_ARREARS
from pricing_engine.tariffs.matrix import INNER_MODELS, MAX_RULES
from pricing_engine.tariffs.package import DOWN, UP
from pricing_engine.tariffs.tariff import DIFFERENCE, LAST_ONLY, MODELS
from pricing_engine.tariffs.tier import MAX_TIERS
from pricing_engine.tariffs.usage import MAX_BUCKETS, MAX_EVENTS, MAX_GROUPS
from pricing_engine.tariffs.windows import DAYS, MAX_WINDOWS

Schema = dict[str, Any]

_NUMBER: Schema = {
    "description": "A decimal string, or an integer; null is absent.",
    "type": ["string", "integer", "null"],
    "pattern": r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,4})?$",
}
_FLAG: Schema = {"type": ["boolean", "null"]}
_TEXT: Schema = {"type": ["string", "null"], "minLength": 1, "maxLength": 120}


def _object(properties: Schema, required: tuple[str, ...] = ()) -> Schema:
    schema: Schema = {"type": ["object", "null"], "properties": properties, "additionalProperties": False}
    return schema | {"required": list(required)} if required else schema


def _choice(*words: str) -> Schema:
    return {"enum": [*words, None]}


def _list(items: Schema, at_most: int) -> Schema:
    return {"type": ["array", "null"], "items": items, "maxItems": at_most}


def _number(description: str) -> Schema:
    return _NUMBER | {"description": description}


_TIER = _object(
    {
        "up_to": _number("Last unit of the tier, inclusive; null in the last tier."),
        "unit_amount": _number("Price of each unit that falls into the tier."),
        "rate": _number("Percent of each unit's value (graduated_percentage)."),
        "flat_amount": _number("Due once the tier is entered."),
        "package_size": _number("Units in a package, where the tier is sold by the package (graduated, volume)."),
        "package_amount": _number("Price of a package; one begun is a whole one."),
    }
)
_PRICE_FIELDS: Schema = {
    "amount": _number("flat: the amount of a period."),
    "proration": _FLAG,
    "payment_term": _choice(IN_ADVANCE, IN_ARREARS),
    "unit_amount": _number("unit: the price of a unit."),
    "tiers": _list(_TIER, MAX_TIERS) | {"minItems": 1},
    "package_size": _number("package: units in a package."),
    "package_amount": _number("package: price of a package."),
    "free_units": _number("package: units before the first package."),
    "package_rounding": _choice(UP, DOWN),
}
_PERCENTAGE_FIELDS: Schema = {
    "rate": _number("percentage: percent, 50 = 50 %."),
    "fixed_amount": _number("percentage: due for each event."),
    "free_units_per_events": _number("percentage: how many events are free."),
    "free_units_per_total_aggregation": _number("percentage: how many units are free."),
    "per_transaction_min_amount": _number("percentage: least amount of an event."),
    "per_transaction_max_amount": _number("percentage: largest amount of an event."),
}
_WINDOW = _object(
    {
        "name": _TEXT,
        "from": {"type": "string"},
        "to": {"type": "string"},
        "days": _list({"enum": list(DAYS)}, len(DAYS)),
        "factor": _number("How much a unit counts in the window."),
    },
    ("name", "from", "to", "factor"),
)
_RULE = _object(
    {
        "when": {"type": "object", "additionalProperties": {"type": "string"}, "minProperties": 1},
        "model": _choice(*INNER_MODELS),
        **_PRICE_FIELDS,
    },
    ("when",),
)

TARIFF_SCHEMA: Schema = {
    "type": "object",
    "required": ["model"],
    "additionalProperties": False,
    "properties": {
        "model": {"enum": list(MODELS)},
        **_PRICE_FIELDS,
        **_PERCENTAGE_FIELDS,
        "multiplier": _number("dynamic: factor on what events cost."),
        "rules": _list(_RULE, MAX_RULES),
        "default": _object({"model": _choice(*INNER_MODELS), **_PRICE_FIELDS}),
        "windows": _object({"zone": {"type": "string"}, "ranges": _list(_WINDOW, MAX_WINDOWS)}, ("zone", "ranges")),
        "unit_conversion": _object(
            {
                "operation": {"enum": [MULTIPLY, DIVIDE]},
                "factor": _number("By what."),
                "rounding": _choice(NONE, CEILING, FLOOR, HALF_UP),
            },
            ("operation", "factor"),
        ),
        "billing_units": _number("Block size: a unit amount is the price of a block begun."),
        "included_units": _number("A free tier in front."),
        "usage_discount": _number("Billable units taken off before pricing."),
        "event_minimum": _number("Least amount for each event, over all of them together."),
        "overage": _object(
            {
                "commitment": _number("The amount above which the factor applies."),
                "factor": _number("On what exceeds the commitment."),
            },
            ("commitment", "factor"),
        ),
        "percentage_discount": _number("Percent off every line, at most 100."),
        "maximum_spend": _number("Most that a period costs."),
        "minimum_spend": _number("Least that a period costs; falls due with the last split."),
        "zero_usage_flat_fee": _FLAG | {"description": "Whether tier 1's flat amount is due without usage; true."},
        "allow_negative": _FLAG | {"description": "null refuses negative usage, false rates it as 0, true mirrors."},
        "volume_split": _choice(DIFFERENCE, LAST_ONLY),
        "may_fall": _FLAG,
        "prorated": _FLAG,
        "tax_category": _TEXT,
    },
}

_EVENT: Schema = {
    "anyOf": [
        _NUMBER,
        _object(
            {
                "value": _number("Units of the event."),
                "units": _number("The same by another name."),
                "amount": _number("dynamic: the price that the event carries."),
                "full": _number("prorated: change of the level."),
                "prorated": _number("prorated: the part of the change that the rest of the period makes."),
                "time": {"type": ["string", "null"], "format": "date-time"},
            }
        ),
    ]
}
_MEASURED: Schema = {
    "units": _number("Units of the meter in this split."),
    "full_units": _number("prorated: the level that picks the tier."),
    "event_count": _number("How many events made the units."),
    "events": _list(_EVENT, MAX_EVENTS),
    "running_total": _list(_NUMBER, MAX_EVENTS),
    "buckets": _list(_NUMBER, MAX_BUCKETS),
    "groups": _list(
        _object(
            {
                "properties": {"type": "object", "additionalProperties": {"type": "string"}},
                "units": _number("Units of the group."),
            },
            ("properties", "units"),
        ),
        MAX_GROUPS,
    ),
    "window_units": {"type": ["object", "null"], "additionalProperties": _NUMBER},
    "service_days": _number("flat with proration: days in service."),
    "full_days": _number("flat with proration: days of the full period."),
}
USAGE_SCHEMA: Schema = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        **_MEASURED,
        "prior_units": _number("Units of earlier splits; present, even 0, means that one was rated."),
        "prior_billed": _number("What earlier splits billed; derived from prior_units where absent."),
        "prior": _object(_MEASURED),
        "final": _FLAG | {"description": "False leaves out what falls due with the last split; true."},
    },
}
_ASIDES: Schema = {
    "credits": _list(_NUMBER, 1_000) | {"description": "Prepaid amounts, used after everything else."},
    "ignore_credits": _FLAG,
    "ignore_minimum_spend": _FLAG,
}
REQUEST_SCHEMA: Schema = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "One line of `alacarte rate`",
    "type": "object",
    "required": ["currency", "tariff", "usage"],
    "additionalProperties": False,
    "properties": {
        "id": {"description": "Returned as sent."},
        "currency": {"type": "string", "description": "ISO 4217 code, or a custom credit such as XTOKENS.3."},
        "tariff": TARIFF_SCHEMA | {"properties": TARIFF_SCHEMA["properties"] | _ASIDES},
        "usage": USAGE_SCHEMA,
        "round": _FLAG | {"description": "Round each line and discount half away from zero; false."},
    },
}
