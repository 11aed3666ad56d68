"""What each rail does, figure by figure."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal

import pytest

from models.values.errors import InvalidValueError
from pricing_engine.demand.guardrails import (
    PriceLadder,
    Rail,
    RailContext,
    RailHit,
    Rails,
    project,
    project_segments,
)

D = Decimal
FREE = Rails(largest_step=None, largest_step_30_days=None, segment_ratio=None, minimum_quotes=0, jitter=D(0))


def test_a_price_inside_every_rail_is_left_alone() -> None:
    railed = project(D("10.00"), FREE, RailContext(list_price=D(9), unit_cost=D(2)))
    assert (railed.price, railed.hits) == (D("10.00"), ())


def test_floor_is_cost_plus_margin_or_the_absolute_floor_whichever_is_higher() -> None:
    context = RailContext(list_price=D(9), unit_cost=D(4))
    margin = Rails(floor_margin=D("0.25"), floor=D(3), **_free())
    assert project(D(1), margin, context).price == D(5)
    absolute = Rails(floor_margin=D("0.25"), floor=D("5.5"), **_free())
    assert project(D(1), absolute, context).price == D("5.5")


def test_the_largest_step_is_symmetrical_on_the_log_scale() -> None:
    rails = Rails(**_free(largest_step=D("0.1")))
    context = RailContext(list_price=D(9), last_price=D(10))
    up, down = project(D(50), rails, context), project(D(1), rails, context)
    assert up.price == D("11.00")
    assert down.price == D("9.10")  # 10 / 1.1 = 9.0909..., the next rung inside the rail.
    assert down.hits[0].rail is Rail.STEP
    assert down.hits[1] == RailHit(Rail.LADDER, D("9.10"), down.hits[0].after, D("9.10"))


def test_thirty_days_bound_against_every_price_of_the_window() -> None:
    rails = Rails(**_free(largest_step_30_days=D("0.5")))
    context = RailContext(list_price=D(9), last_price=D(11), lowest_30_days=D(8), highest_30_days=D(12))
    assert project(D(100), rails, context).price == D("12.00")
    assert project(D(1), rails, context).price == D("8.00")


def test_each_hit_says_what_its_rail_alone_did_and_the_chain_is_unbroken() -> None:
    rails = Rails(ceiling=D(30), **_free(largest_step=D("0.1"), ladder=PriceLadder(D(1), D("0.99"))))
    railed = project(D(50), rails, RailContext(list_price=D(9), last_price=D(10)))
    assert [hit.rail for hit in railed.hits] == [Rail.CEILING, Rail.STEP, Rail.LADDER]
    assert [(hit.before, hit.after) for hit in railed.hits] == [(50, 30), (30, 11), (11, D("10.99"))]
    assert railed.price == D("10.99")


def test_too_little_data_keeps_the_list_price_as_it_is() -> None:
    rails = Rails(ladder=PriceLadder(D(1), D("0.99")), minimum_quotes=200)
    railed = project(D(12), rails, RailContext(list_price=D("9.37"), quotes=199))
    assert railed.price == D("9.37")
    assert railed.is_list_price
    assert railed.hits == (RailHit(Rail.MINIMUM_DATA, D(200), D(12), D("9.37")),)


def test_rails_that_contradict_each_other_keep_the_list_price_and_say_so() -> None:
    rails = Rails(ceiling=D(5), **_free())
    railed = project(D(4), rails, RailContext(list_price=D(7), unit_cost=D(6)))
    assert railed.price == D(7)
    assert [hit.rail for hit in railed.hits] == [Rail.CONFLICT]


def test_a_ladder_without_a_rung_between_the_bounds_is_a_conflict() -> None:
    rails = Rails(floor=D("1.034"), ceiling=D("1.036"), **_free())
    assert project(D("1.035"), rails, RailContext(list_price=D(1))).hits[0].rail is Rail.CONFLICT


def test_segments_meet_inside_the_ratio() -> None:
    rails = Rails(**_free(segment_ratio=D("1.25")))
    context = RailContext(list_price=D(10))
    settled = project_segments({"eu": D(8), "us": D(20)}, rails, {"eu": context, "us": context})
    assert settled["us"].price / settled["eu"].price <= D("1.25")
    assert settled["eu"].price > D(8)
    assert settled["us"].price < D(20)
    assert {hit.rail for railed in settled.values() for hit in railed.hits} >= {Rail.SEGMENT_RATIO}


def test_segments_within_the_ratio_do_not_move_each_other() -> None:
    rails = Rails(**_free(segment_ratio=D("1.25"), ladder=PriceLadder(D(5))))
    context = RailContext(list_price=D(10))
    settled = project_segments({"eu": D(20), "us": D(25)}, rails, {"eu": context, "us": context})
    assert [settled[name].price for name in ("eu", "us")] == [D(20), D(25)]


def test_an_adaptive_segment_makes_room_for_one_that_stays_at_its_list_price() -> None:
    rails = Rails(**(_free(segment_ratio=D("1.5")) | {"minimum_quotes": 10}))
    settled = project_segments(
        {"new": D(99), "old": D(40)},
        rails,
        {"new": RailContext(list_price=D(10)), "old": RailContext(list_price=D(10), quotes=500)},
    )
    assert settled["new"].price == D(10)
    assert settled["old"].price <= D(15)


def test_one_price_for_all_segments_when_the_ratio_is_one() -> None:
    rails = Rails(**_free(segment_ratio=D(1), ladder=PriceLadder(D(1), D("0.99"))))
    context = RailContext(list_price=D(10))
    settled = project_segments({"a": D("7.99"), "b": D("11.99")}, rails, {"a": context, "b": context})
    assert settled["a"].price == settled["b"].price == D("9.99")


def test_jitter_stays_inside_the_rails() -> None:
    rails = Rails(ceiling=D("10.10"), **(_free() | {"jitter": D("0.05")}))
    railed = project(D(10), rails, RailContext(list_price=D(10)))
    assert (railed.lowest, railed.highest) == (D("9.52"), D("10.10"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("floor_margin", D("-0.1")),
        ("largest_step", D("NaN")),
        ("segment_ratio", D("0.9")),
        ("minimum_quotes", -1),
        ("jitter", D(1)),
        ("ceiling", 0.5),
    ],
)
def test_impossible_rails_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InvalidValueError, match=rf"rails\.{field}"):
        Rails(**{field: value})  # type: ignore[arg-type]


def test_a_candidate_that_is_no_exact_number_is_refused() -> None:
    for candidate in (D("NaN"), D("Infinity"), D(-1), 9.5):
        with pytest.raises(InvalidValueError):
            project(candidate, FREE, RailContext(list_price=D(1)))  # type: ignore[arg-type]


def test_rails_load_without_numeric_libraries() -> None:
    """Quoting uses rails on every request; it must not pay for NumPy's import."""
    probe = (
        "import sys, pricing_engine.demand.guardrails; print(sorted({'numpy', 'scipy', 'polars'} & set(sys.modules)))"
    )
    shown = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def _free(**changes: object) -> dict[str, object]:
    base: dict[str, object] = {
        "largest_step": None,
        "largest_step_30_days": None,
        "segment_ratio": None,
        "minimum_quotes": 0,
        "jitter": D(0),
    }
    return base | changes


def test_of_two_rungs_as_near_the_lower_one_counts() -> None:
    ladder = PriceLadder(D("0.1"), D("0.05"))
    assert [ladder.nearest(D(price)) for price in ("0.10", "0.1001", "0.0999")] == [D("0.05"), D("0.15"), D("0.05")]
