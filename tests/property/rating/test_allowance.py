"""What a tariff includes is free, and the next unit is not: the allowance against rating itself."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from models.values.money import currency
from models.values.quantity import EXACT, plain
from pricing_engine.rating import Usage, rate
from pricing_engine.tariffs.allowance import allowance
from pricing_engine.tariffs.tariff import parse_tariff

USD = currency("USD")
WHOLE = st.integers(1, 50).map(str)
DECIMAL = st.decimals("0.25", "40", places=2).map(plain)
FREE_OR_NOT = st.sampled_from(["0", "0.01", "3", None])


@st.composite
def tariffs(draw: st.DrawFn) -> dict[str, Any]:
    """A tariff that prices units: one of four shapes, with free fronts of every kind."""
    model = draw(st.sampled_from(["unit", "graduated", "volume", "package"]))
    document: dict[str, Any] = {"model": model, "may_fall": model == "volume"}
    if model == "unit":
        document["unit_amount"] = draw(st.sampled_from(["0.02", "7"]))
    elif model == "package":
        document |= {"package_size": draw(WHOLE), "package_amount": "5", "free_units": draw(DECIMAL)}
    else:
        edges = sorted(draw(st.sets(st.integers(1, 60), min_size=1, max_size=3)))
        tiers = [{"up_to": str(edge), "unit_amount": draw(FREE_OR_NOT), "flat_amount": None} for edge in edges]
        document["tiers"] = [*tiers, {"up_to": None, "unit_amount": "2", "flat_amount": None}]
    if draw(st.booleans()):
        document["included_units"] = draw(DECIMAL)
    if draw(st.booleans()):
        document["usage_discount"] = draw(DECIMAL)
    how = draw(st.sampled_from(["as metered", "converted", "in blocks"]))
    if how == "converted":
        document["unit_conversion"] = {
            "operation": draw(st.sampled_from(["multiply", "divide"])),
            "factor": draw(st.sampled_from(["0.5", "3", "1000"])),
            "rounding": draw(st.sampled_from(["none", "ceiling", "floor", "half_up"])),
        }
    elif how == "in blocks" and model != "package":
        document["billing_units"] = draw(st.sampled_from(["10", "1000"]))
    return document


@given(tariffs())
def test_the_allowance_costs_nothing_and_more_than_it_costs_something(document: dict[str, Any]) -> None:
    tariff = parse_tariff(document)
    included = allowance(tariff)
    free = included or Decimal(0)
    nothing = rate(tariff, Usage(units=Decimal(0)), USD).amount
    assert rate(tariff, Usage(units=free), USD).amount == nothing
    if "unit_conversion" not in document and "billing_units" not in document:
        more = EXACT.add(free, Decimal("0.01"))
        assert rate(tariff, Usage(units=more), USD).amount > nothing
    assert included is None or included > 0


def test_what_has_no_number_of_free_units_has_no_allowance() -> None:
    for document in (
        {"model": "flat", "amount": "5"},
        {"model": "unit"},
        {"model": "unit", "unit_amount": "0", "included_units": "5"},
        {"model": "percentage", "rate": "2"},
        {"model": "graduated", "tiers": [{"up_to": None, "unit_amount": "0", "flat_amount": None}]},
    ):
        assert allowance(parse_tariff(document)) is None, document
    assert allowance(parse_tariff({"model": "unit", "unit_amount": "1", "included_units": "100"})) == 100
