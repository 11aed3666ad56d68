"""Random tariffs in wire form, with every modifier, for comparing implementations."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from models.values.quantity import plain
from pricing_engine.tariffs.tariff import Tariff, parse_tariff


def decimals(low: int, high: int, places: int) -> st.SearchStrategy[Decimal]:
    """Decimals of up to `places` digits behind the point."""
    return st.integers(0, places).flatmap(
        lambda digits: st.integers(low * 10**digits, high * 10**digits).map(lambda n: Decimal(n).scaleb(-digits))
    )


prices = decimals(0, 50, 9).map(plain)
amounts = decimals(0, 5_000, 4).map(plain)
sizes = (decimals(0, 500, 3).filter(bool)).map(plain)


@st.composite
def tiers(draw: st.DrawFn, amount_name: str = "unit_amount") -> list[dict[str, Any]]:
    """Up to 20 tiers, past the number at which the frame changes its method."""
    edges = sorted(draw(st.sets(decimals(0, 2_000, 3).filter(bool), max_size=draw(st.sampled_from([3, 5, 20])))))
    sold = [st.fixed_dictionaries({amount_name: st.none() | prices})]
    if amount_name == "unit_amount":
        sold.append(st.fixed_dictionaries({"package_size": sizes, "package_amount": amounts}))
    return [
        {"up_to": edge, "flat_amount": draw(st.none() | amounts), **draw(st.one_of(sold))}
        for edge in [*map(plain, edges), None]
    ]


@st.composite
def shapes(draw: st.DrawFn) -> dict[str, Any]:
    """Shapes that the number of units prices."""
    model = draw(st.sampled_from(["unit", "flat", "graduated", "volume", "graduated_percentage", "package"]))
    match model:
        case "unit":
            return {"model": model, "unit_amount": draw(prices)}
        case "flat":
            return {"model": model, "amount": draw(decimals(-500, 500, 4).map(plain))}
        case "package":
            return {
                "model": model,
                "package_size": draw(sizes),
                "package_amount": draw(st.none() | amounts),
                "free_units": draw(st.none() | sizes),
                "package_rounding": draw(st.sampled_from(["up", "down"])),
            }
        case _:
            return {"model": model, "tiers": draw(tiers("rate" if model == "graduated_percentage" else "unit_amount"))}


@st.composite
def modifiers(draw: st.DrawFn, shape: dict[str, Any]) -> dict[str, Any]:
    """Any modifiers that the shape may carry; often none."""

    def maybe(strategy: st.SearchStrategy[Any]) -> Any:
        return draw(strategy) if draw(st.integers(0, 2)) == 0 else None

    low, high = sorted((draw(amounts), draw(amounts)), key=Decimal)
    document: dict[str, Any] = {
        "percentage_discount": maybe(decimals(0, 100, 3).map(plain)),
        "minimum_spend": maybe(st.just(low)),
        "maximum_spend": maybe(st.just(high)),
        "event_minimum": maybe(prices),
        "overage": maybe(st.fixed_dictionaries({"commitment": amounts, "factor": decimals(0, 5, 3).map(plain)})),
        "zero_usage_flat_fee": draw(st.booleans()),
        "allow_negative": draw(st.sampled_from([None, True, False])),
    }
    if shape["model"] != "flat":
        document |= {
            "included_units": maybe(sizes),
            "usage_discount": maybe(sizes),
            "unit_conversion": maybe(conversions()),
        }
    return document


def conversions() -> st.SearchStrategy[dict[str, Any]]:
    """Multiplications and divisions, such without finite decimal form included."""
    return st.fixed_dictionaries(
        {
            "operation": st.sampled_from(["multiply", "divide"]),
            "factor": st.sampled_from(["1000", "3600", "0.7", "3", "1.25"]) | sizes,
            "rounding": st.sampled_from(["none", "ceiling", "floor", "half_up"]),
        }
    )


@st.composite
def tariffs(draw: st.DrawFn) -> Tariff:
    """A tariff that the number of units prices."""
    shape = draw(shapes())
    return parse_tariff(shape | draw(modifiers(shape)))
