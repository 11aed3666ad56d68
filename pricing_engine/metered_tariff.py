"""What a tariff asks of what it prices: what a catalog sells can be quoted, and billed whatever is used."""

from __future__ import annotations

from models.values.errors import InvalidValueError
from pricing_engine.aggregation import AggregationKind
from pricing_engine.tariffs.bucketed import Bucketed
from pricing_engine.tariffs.dynamic import Dynamic
from pricing_engine.tariffs.matrix import Matrix
from pricing_engine.tariffs.percentage import Percentage
from pricing_engine.tariffs.tariff import Tariff

_ADDED = {AggregationKind.SUM, AggregationKind.COUNT}


def check_metered(tariff: Tariff, aggregation: str, group_by: tuple[str, ...], field: str) -> None:
    """Raise InvalidValueError where `tariff` cannot price every usage that a meter of that kind measures."""
    shape = tariff.shape
    if tariff.prorated and aggregation != AggregationKind.WEIGHTED_SUM:
        raise InvalidValueError(
            "prices a level and its changes: its meter has to be a weighted_sum",
            field=f"{field}.prorated",
            value=aggregation,
            code="prorated_without_level",
        )
    if isinstance(shape, Bucketed) and aggregation == AggregationKind.WEIGHTED_SUM:
        raise InvalidValueError(
            "a level goes on from hour to hour: no hour can be priced alone",
            field=f"{field}.model",
            value=aggregation,
            code="buckets_of_a_level",
        )
    by_event = tariff.windows is not None or (isinstance(shape, Percentage) and shape.prices_events)
    if by_event and aggregation not in _ADDED:
        raise InvalidValueError(
            "prices event by event: its meter has to be a sum or a count",
            field=field,
            value=aggregation,
            code="events_do_not_add_up",
        )
    if isinstance(shape, Matrix):
        _check_matrix(shape, group_by, field)


def check_unmetered(tariff: Tariff, field: str) -> None:
    """Raise InvalidValueError where a number of units, all that a switch or a quantity has, is not enough to price."""
    shape = tariff.shape
    asks = isinstance(shape, Percentage | Dynamic | Bucketed) or (isinstance(shape, Matrix) and shape.default is None)
    if asks or tariff.windows is not None or tariff.event_minimum is not None:
        raise InvalidValueError(
            "prices usage, of which a switch or a quantity has none: the feature has to be metered",
            field=field,
            value=tariff.model,
            code="tariff_needs_usage",
        )


def _check_matrix(matrix: Matrix, group_by: tuple[str, ...], field: str) -> None:
    if matrix.default is None:
        raise InvalidValueError(
            "needs a price for what no rule matches: usage is not known beforehand",
            field=f"{field}.default",
            code="matrix_without_default",
        )
    for i, rule in enumerate(matrix.rules):
        unknown = [name for name, _ in rule.when if name not in group_by]
        if unknown:
            raise InvalidValueError(
                "is no property that the meter keeps apart by `group_by`: the rule would never match",
                field=f"{field}.rules[{i}].when.{unknown[0]}",
                value=unknown[0],
                code="rule_never_matches",
            )
