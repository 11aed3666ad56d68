"""Whatever the optimizer proposes and whatever the state, no rail is broken."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pricing_engine.demand.guardrails import (
    PriceLadder,
    Rail,
    RailContext,
    RailedPrice,
    Rails,
    project,
    project_segments,
)

D = Decimal
amounts = st.decimals(min_value=0, max_value=10**9, places=6)
near = st.decimals(min_value=1, max_value=100, places=4)
prices = amounts | near | st.decimals(min_value=0, max_value=1, places=12)
shares = st.decimals(min_value=0, max_value=3, places=4)


@st.composite
def ladders(draw: st.DrawFn) -> PriceLadder:
    step = draw(st.decimals(min_value=D("0.000001"), max_value=100, places=6))
    return PriceLadder(step, (step * draw(st.decimals(min_value=0, max_value=D("0.99"), places=2))).normalize())


@st.composite
def rails(draw: st.DrawFn) -> Rails:
    floor, ceiling = draw(st.none() | prices), draw(st.none() | prices)
    if floor is not None and ceiling is not None and floor > ceiling:
        floor, ceiling = ceiling, floor
    ratio = draw(st.none() | shares)
    return Rails(
        floor_margin=draw(shares),
        floor=floor,
        ceiling=ceiling,
        largest_step=draw(st.none() | shares),
        largest_step_30_days=draw(st.none() | shares),
        segment_ratio=None if ratio is None else 1 + ratio,
        ladder=draw(ladders()),
        minimum_quotes=draw(st.sampled_from([0, 0, 0, 100])),
        jitter=draw(st.decimals(min_value=0, max_value=D("0.9"), places=3)),
    )


@st.composite
def contexts(draw: st.DrawFn) -> RailContext:
    month = sorted(draw(st.lists(near, min_size=2, max_size=2)))
    has_history = draw(st.booleans())
    return RailContext(
        list_price=draw(prices),
        unit_cost=draw(near | st.just(D(0))),
        last_price=draw(st.none() | near),
        lowest_30_days=month[0] if has_history else None,
        highest_30_days=month[1] if has_history else None,
        quotes=draw(st.sampled_from([0, 99, 100, 5000])),
    )


def broken_rails(price: Decimal, rules: Rails, context: RailContext) -> list[Rail]:
    """Recompute every rail by multiplication alone, independently of the code under test."""
    broken = []
    if price < context.unit_cost * (1 + rules.floor_margin) or (rules.floor is not None and price < rules.floor):
        broken.append(Rail.FLOOR)
    if rules.ceiling is not None and price > rules.ceiling:
        broken.append(Rail.CEILING)
    for rail, share, low, high in (
        (Rail.STEP, rules.largest_step, context.last_price, context.last_price),
        (Rail.STEP_30_DAYS, rules.largest_step_30_days, context.lowest_30_days, context.highest_30_days),
    ):
        if share is None or low is None or high is None:
            continue
        if price > low * (1 + share) or price * (1 + share) < high:
            broken.append(rail)
    if (price - rules.ladder.ending) % rules.ladder.step != 0:
        broken.append(Rail.LADDER)
    return broken


def check(candidate: Decimal, rules: Rails, context: RailContext, railed: RailedPrice) -> None:
    if railed.is_list_price:
        assert railed.price == railed.lowest == railed.highest == context.list_price
        assert len(railed.hits) == 1
    else:
        assert context.quotes >= rules.minimum_quotes
        for price in (railed.lowest, railed.price, railed.highest):
            assert broken_rails(price, rules, context) == []
        assert railed.lowest <= railed.price <= railed.highest
    chain = [candidate, *(hit.after for hit in railed.hits)]
    assert chain[-1] == railed.price
    assert [hit.before for hit in railed.hits] == chain[:-1]


def check_ratio(settled: dict[str, RailedPrice], ratio: Decimal | None) -> None:
    if ratio is None:
        return
    for one in settled.values():
        for other in settled.values():
            if one.is_list_price and other.is_list_price:
                continue
            assert one.highest <= ratio * other.lowest or one is other


@given(candidate=prices, rules=rails(), context=contexts())
def test_no_rail_is_broken(candidate: Decimal, rules: Rails, context: RailContext) -> None:
    """Money does not run on averages: every state, not most of them."""
    check(candidate, rules, context, project(candidate, rules, context))


@given(candidate=prices, rules=rails(), context=contexts())
def test_a_legal_price_is_a_fixed_point(candidate: Decimal, rules: Rails, context: RailContext) -> None:
    """Projecting twice must not walk the price."""
    railed = project(candidate, rules, context)
    if not railed.is_list_price:
        again = project(railed.price, rules, context)
        assert (again.price, again.hits) == (railed.price, ())


@given(candidate=prices, rules=rails(), context=contexts())
def test_a_conflict_is_real(candidate: Decimal, rules: Rails, context: RailContext) -> None:
    """The model is silenced only where no rung satisfies all rails."""
    railed = project(candidate, rules, context)
    if railed.hits and railed.hits[0].rail is Rail.CONFLICT:
        lowest_allowed = max(
            [context.unit_cost * (1 + rules.floor_margin), rules.floor or D(0)]
            + [
                high / (1 + share)
                for share, high in (
                    (rules.largest_step, context.last_price),
                    (rules.largest_step_30_days, context.highest_30_days),
                )
                if share is not None and high is not None
            ]
        )
        for steps in range(3):
            assert broken_rails(rules.ladder.rung(lowest_allowed, steps), rules, context) != []


@given(data=st.data(), rules=rails(), n=st.integers(1, 4))
def test_segments_keep_the_ratio_and_every_other_rail(data: st.DataObject, rules: Rails, n: int) -> None:
    """The ratio holds between any two segments, jitter included, unless both are priced by a person."""
    names = [f"segment-{i}" for i in range(n)]
    candidates = {name: data.draw(prices | near) for name in names}
    states = {name: data.draw(contexts()) for name in names}
    settled = project_segments(candidates, rules, states)
    assert settled.keys() == candidates.keys()
    for name in names:
        check(candidates[name], rules, states[name], settled[name])
    check_ratio(settled, rules.segment_ratio)


@pytest.mark.torture
@settings(max_examples=100_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(candidate=prices, rules=rails(), context=contexts())
def test_no_rail_is_broken_in_100_000_states(candidate: Decimal, rules: Rails, context: RailContext) -> None:
    """The same law, at the length that is promised."""
    check(candidate, rules, context, project(candidate, rules, context))


@pytest.mark.torture
@settings(max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(first=contexts(), second=contexts(), rules=rails(), candidates=st.tuples(prices, prices))
def test_two_segments_keep_the_ratio_in_20_000_states(
    first: RailContext, second: RailContext, rules: Rails, candidates: tuple[Decimal, Decimal]
) -> None:
    """The joint law, at length."""
    settled = project_segments(dict(zip(("a", "b"), candidates, strict=True)), rules, {"a": first, "b": second})
    check(candidates[0], rules, first, settled["a"])
    check(candidates[1], rules, second, settled["b"])
    check_ratio(settled, rules.segment_ratio)
