"""What is chosen of a catalog: how much of each feature, as it is asked for and checked."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from models.values.errors import InvalidValueError
from models.values.quantity import MAX_INTEGER_DIGITS, parse_decimal
from pricing_engine.catalog import Catalog, Feature, FeatureKind
from pricing_engine.tariffs.scaling import exact_sum
from pricing_engine.tariffs.usage import Usage, parse_usage

_ZERO, _ONE = Decimal(0), Decimal(1)


class Chosen(msgspec.Struct, frozen=True, gc=False):
    """How much of one feature: its quantity and, where the tariff asks for more, usage in its wire form."""

    quantity: Decimal
    usage: Mapping[str, Any] | None = None


def selection_of(given: Mapping[str, Any], catalog: Catalog) -> dict[str, Chosen]:
    """Parse a selection {feature: quantity}, in catalog order, and check it against the rules.

    A switch may be given as `true` or 1; a metered feature also as usage in wire form, e.g.
    `{"groups": [{"properties": {"model": "m"}, "units": "1000"}]}`, where its tariff needs more than units.
    Raises InvalidValueError, NotFoundError, SelectionRefusedError.
    """
    if not given:
        raise InvalidValueError("needs at least one feature", field="selection", code="empty_selection")
    catalog.check_selection(given)
    return {feature.key: _chosen(feature, given[feature.key]) for feature in catalog.features if feature.key in given}


def _chosen(feature: Feature, given: object) -> Chosen:
    kind = feature.kind
    if kind is FeatureKind.SWITCH:
        if given is True or given == "1" or (isinstance(given, int) and given == 1):
            return Chosen(_ONE)
        raise InvalidValueError(
            "a switch is chosen with 1 or true", field=f"selection.{feature.key}", value=given, code="not_a_switch"
        )
    if type(given) is str and len(given) <= MAX_INTEGER_DIGITS and given.isdecimal() and given.isascii():
        quantity = Decimal(given)  # What is sent most.
    elif kind is FeatureKind.METERED and isinstance(given, Mapping):
        return Chosen(_total_units(parse_usage(given, f"selection.{feature.key}")), dict(given))
    else:
        quantity = parse_decimal(given, f"selection.{feature.key}", minimum=_ZERO)
    if kind is FeatureKind.QUANTITY and quantity < feature.minimum_quantity:
        raise InvalidValueError(
            f"must be at least {feature.minimum_quantity}",
            field=f"selection.{feature.key}",
            value=given,
            code="below_minimum",
        )
    return Chosen(quantity)


def _total_units(usage: Usage) -> Decimal:
    """Return the units that cost is counted on."""
    if usage.units is not None:
        return usage.units
    parts = [group.units for group in usage.groups or ()]
    parts += [*(usage.buckets or ()), *(event.value for event in usage.events or () if event.value is not None)]
    return exact_sum(parts)
