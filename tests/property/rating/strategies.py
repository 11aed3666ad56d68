"""Random tariffs and usage in wire form: the shapes, the modifiers, numbers of awkward precision."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from models.values.quantity import EXACT, plain

Json = dict[str, Any]


def decimals(top: int, places: int) -> st.SearchStrategy[str]:
    """Decimal strings from 0 to `top` with at most `places` digits behind the point."""
    return st.builds(
        lambda scale, value: plain(Decimal(value % (top * 10**scale + 1)).scaleb(-scale)),
        st.integers(0, places),
        st.integers(0, top * 10**places),
    )


huge = st.builds(lambda digits: plain(Decimal(digits).scaleb(-24, EXACT)), st.integers(0, 10**50 - 1))
"""Numbers of all the digits that are accepted."""
quantities = decimals(2_000, 4) | huge
prices = decimals(50, 5) | huge
optional_prices = st.none() | prices
package_sizes = decimals(100, 2).filter(lambda text: text != "0")


@st.composite
def tiers(draw: st.DrawFn, amount_name: str = "unit_amount", *, packaged: bool = True) -> list[Json]:
    edges = sorted({Decimal(text) for text in draw(st.lists(decimals(1_500, 2), max_size=4))} - {Decimal(0)})
    ends = [plain(edge) for edge in edges] + [None]
    sold = [st.fixed_dictionaries({amount_name: optional_prices})]
    if packaged and amount_name == "unit_amount":
        sold.append(st.fixed_dictionaries({"package_size": package_sizes, "package_amount": prices}))
    return [{"up_to": end, "flat_amount": draw(optional_prices), **draw(st.one_of(sold))} for end in ends]


@st.composite
def table_shapes(draw: st.DrawFn) -> Json:
    """Shapes that one quantity prices."""
    model = draw(st.sampled_from(["unit", "graduated", "volume", "graduated_percentage", "package"]))
    if model == "unit":
        return {"model": model, "unit_amount": draw(prices)}
    if model == "package":
        return {
            "model": model,
            "package_size": draw(package_sizes),
            "package_amount": draw(prices),
            "free_units": draw(quantities),
            "package_rounding": draw(st.sampled_from(["up", "down"])),
        }
    return {"model": model, "tiers": draw(tiers("rate" if model == "graduated_percentage" else "unit_amount"))}


conversions = st.fixed_dictionaries(
    {
        "operation": st.sampled_from(["multiply", "divide"]),
        "factor": st.sampled_from(["0.25", "1.2", "3", "7", "60", "1000", "3600"]),
        "rounding": st.sampled_from(["none", "ceiling", "floor", "half_up"]),
    }
)
overages = st.fixed_dictionaries({"commitment": decimals(5_000, 2), "factor": decimals(3, 2)})


@st.composite
def spend_modifiers(draw: st.DrawFn) -> Json:
    """Modifiers of the amount; the minimum never above the maximum."""
    low, high = sorted((Decimal(draw(decimals(3_000, 3))), Decimal(draw(decimals(9_000, 3)))))
    choices = {
        "percentage_discount": draw(decimals(100, 3)),
        "minimum_spend": plain(low),
        "maximum_spend": plain(high),
        "overage": draw(overages),
    }
    kept = draw(st.sets(st.sampled_from(sorted(choices))))
    return {name: value for name, value in choices.items() if name in kept}


@st.composite
def unit_modifiers(draw: st.DrawFn) -> Json:
    """Modifiers of the quantity."""
    choices = {
        "unit_conversion": draw(conversions),
        "included_units": draw(decimals(300, 2)),
        "usage_discount": draw(decimals(300, 2)),
    }
    kept = draw(st.sets(st.sampled_from(sorted(choices))))
    return {name: value for name, value in choices.items() if name in kept}


@st.composite
def table_tariffs(draw: st.DrawFn) -> Json:
    """Tariffs that one quantity prices, with any modifiers."""
    return {
        **draw(table_shapes()),
        **draw(unit_modifiers()),
        **draw(spend_modifiers()),
        "zero_usage_flat_fee": draw(st.booleans()),
    }
