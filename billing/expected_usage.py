"""From so many units of a feature to the event that its meter would read as that."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from billing.entitlements import read_rights
from billing.unit_of_work import UnitOfWork
from billing.usage_increment import NotMeteredError
from models.values.errors import InvalidValueError
from models.values.quantity import plain
from pricing_engine.aggregation import AggregationKind

_COUNTING = {AggregationKind.COUNT, AggregationKind.UNIQUE_COUNT}


def event_for(
    uow: UnitOfWork, customer: str, feature: str, units: Decimal, properties: Mapping[str, str], at: datetime
) -> tuple[str, dict[str, str]]:
    """Return type and data of an event that counts as `units` of a feature the customer has.

    `properties` are those by which the meter groups or filters; the only value a filter lets pass is filled in.
    Raises NotFoundError (customer, feature), NotMeteredError, InvalidValueError (units of a meter that counts events).
    """
    allowance = read_rights(uow, customer, at).to(feature).allowance
    if allowance is None:
        raise NotMeteredError("is not metered for the customer now", field="feature", value=feature)
    meter = allowance.meter
    data = {name: values[0] for name, values in meter.filters.items() if len(values) == 1} | dict(properties)
    if AggregationKind(meter.aggregation) in _COUNTING:
        if units != 1 or (meter.value_property is not None and meter.value_property not in data):
            raise InvalidValueError("counts events: authorise the event itself", field="units", value=plain(units))
    elif meter.value_property is not None:
        data[meter.value_property] = plain(units)
    return meter.event_type, data
