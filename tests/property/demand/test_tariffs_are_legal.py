"""Dropping a feature never raises the total, whatever prices and discounts are wished for."""

from __future__ import annotations

from decimal import Decimal
from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pricing_engine.demand.tariff_choice import exact_percents, is_legal, legal_discounts

prices = st.lists(st.decimals(min_value="0.01", max_value=500, places=2), min_size=1, max_size=6)
wishes = st.lists(st.floats(-0.2, 1.2), min_size=6, max_size=6)


def totals(listed: list[Decimal], percents: tuple[Decimal, ...]) -> dict[frozenset[int], Decimal]:
    found = {frozenset[int](): Decimal(0)}
    for size in range(1, len(listed) + 1):
        for chosen in combinations(range(len(listed)), size):
            found[frozenset(chosen)] = sum(listed[k] for k in chosen) * (100 - percents[size - 1]) / 100
    return found


@given(listed=prices, wanted=wishes)
def test_totals_rise_with_every_feature_and_splitting_never_pays(listed: list[Decimal], wanted: list[float]) -> None:
    """Exactly, over all selections: monotone and subadditive."""
    floats = np.array([float(price) for price in listed])
    schedule = legal_discounts(floats, np.array(wanted[: len(listed)]))
    percents = exact_percents(tuple(listed), schedule)
    assert is_legal(tuple(listed), percents)
    total = totals(listed, percents)
    for chosen, price in total.items():
        for k in range(len(listed)):
            assert total[chosen | {k}] >= price
    for one, first in total.items():
        for other, second in total.items():
            if not one & other:
                assert total[one | other] <= first + second


@given(listed=prices, percents=st.lists(st.integers(0, 100), min_size=6, max_size=6))
def test_the_check_finds_every_illegal_schedule(listed: list[Decimal], percents: list[int]) -> None:
    """`is_legal` against the definition: a selection that costs less with one more feature, or a falling discount."""
    schedule = tuple(Decimal(p) for p in percents[: len(listed)])
    total = totals(listed, schedule)
    rises = all(total[chosen | {k}] >= price for chosen, price in total.items() for k in range(len(listed)) if chosen)
    assert is_legal(tuple(listed), schedule) == (rises and list(schedule) == sorted(schedule))
