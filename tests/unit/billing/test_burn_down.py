"""Which grants pay, in which order, what they cost, and what lives on of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing.burn_down import Grant, GrantKind, Taking, plan_burn, rolled_over, take
from billing.credit_series import grant_series
from models.values.period import Interval

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
GRANT = Grant("g", "main", "acme", "USD", GrantKind.PAID, 10, NOW, sequence=1, units=10)


def paid_by(*grants: Grant, units: int = 1, at: datetime = NOW) -> list[str]:
    return [taking.grant.id for taking in plan_burn(grants, units, "chat", at)]


def test_each_rule_of_the_order_decides_where_those_before_it_are_equal() -> None:
    """Wallet's priority, own priority, earlier expiry, promotional before paid, age: each against all that follow."""
    later = [
        replace(GRANT, id="oldest"),
        replace(GRANT, id="gift", kind=GrantKind.PROMOTIONAL, sequence=2),
        replace(GRANT, id="ends", expires_at=NOW + 2 * DAY, sequence=3),
        replace(GRANT, id="ends first", expires_at=NOW + DAY, sequence=4),
        replace(GRANT, id="urgent", priority=-1, sequence=5),
        replace(GRANT, id="first wallet", wallet_priority=-1, sequence=6),
    ]
    assert paid_by(replace(GRANT, id="newest", sequence=7), *later, units=70) == [
        "first wallet", "urgent", "ends first", "ends", "gift", "oldest", "newest"
    ]  # fmt: skip


def test_the_order_is_openmeters() -> None:
    """Its grants of `TestPrioritizeGrants`: priority, then expiry, the one without last, then age."""
    hour = timedelta(hours=1)
    grants = [
        replace(GRANT, id="no expiration", priority=1, sequence=1),
        replace(GRANT, id="lower priority", priority=2, sequence=2, expires_at=NOW + hour),
        replace(GRANT, id="later expiration", priority=1, sequence=3, expires_at=NOW + 2 * hour),
        replace(GRANT, id="created first", priority=1, sequence=4, expires_at=NOW + hour),
        replace(GRANT, id="created next", priority=1, sequence=5, expires_at=NOW + hour),
    ]
    assert paid_by(*grants, units=50) == [
        "created first", "created next", "later expiration", "no expiration", "lower priority"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "used", "left"),
    [
        ({}, None, 50, (50,)),
        ({}, {}, 200, (0, 0)),
        ({"priority": 1}, {"priority": 2}, 120, (0, 80)),
        ({"priority": 2}, {"priority": 1}, 120, (80, 0)),
        ({"expires_at": NOW + 30 * DAY}, {"expires_at": NOW + 36500 * DAY}, 120, (0, 80)),
        ({"starts_at": NOW + 10 * DAY}, None, 50, (100,)),
        ({"expires_at": NOW}, None, 50, (100,)),
        ({}, None, 120, (0,)),
    ],
)
def test_what_is_left_of_grants_is_what_openmeter_leaves(
    first: dict[str, Any], second: dict[str, Any] | None, used: int, left: tuple[int, ...]
) -> None:
    """Its cases of `TestEngine`: grants of 100 each; beyond them usage is overage."""
    whole = replace(GRANT, remaining=100, units=100)
    grants = [
        replace(whole, id=str(i), sequence=i, **facts) for i, facts in enumerate((first, second)) if facts is not None
    ]
    taken = {taking.grant.id: taking.units for taking in plan_burn(reversed(grants), used, "chat", NOW)}
    assert tuple(grant.remaining - taken.get(grant.id, 0) for grant in grants) == left


def test_a_grant_pays_from_its_start_up_to_its_expiry_for_its_features_and_not_what_is_held() -> None:
    ending = replace(GRANT, expires_at=NOW + DAY)
    moment = timedelta(microseconds=1)
    assert [bool(paid_by(ending, at=at)) for at in (NOW - moment, NOW, NOW + DAY - moment, NOW + DAY)] == [
        False, True, True, False
    ]  # fmt: skip
    assert paid_by(replace(GRANT, features=frozenset({"seats"}))) == []
    assert paid_by(replace(GRANT, features=frozenset({"chat"}))) == ["g"]
    held = replace(GRANT, held=7)
    assert plan_burn([held], 10, "chat", NOW) == [Taking(held, 3, 0)]


def test_the_takings_of_a_grant_cost_what_it_cost() -> None:
    grant, costs = replace(GRANT, remaining=3, units=3, cost_units=100, cost_remaining=100), []
    for _ in range(3):
        taking = take(grant, 1)
        costs.append(taking.cost_units)
        grant = replace(grant, remaining=grant.remaining - 1, cost_remaining=grant.cost_remaining - taking.cost_units)
    assert costs == [33, 34, 33]


def test_what_rolls_over_lives_on_once_and_no_more_than_was_said() -> None:
    ending = replace(
        GRANT, expires_at=NOW, cost_units=100, cost_remaining=100, rollover_units=4, rollover_days=3, held=1
    )
    first = rolled_over(ending, already=[])
    assert first is not None
    assert (first.units, first.remaining, first.cost_units, first.cost_remaining, first.held) == (4, 4, 40, 40, 0)
    assert (first.starts_at, first.expires_at) == (NOW, NOW + 3 * DAY)
    assert rolled_over(first, already=[]) is None
    second = rolled_over(ending, already=[1, 2])
    assert second is not None
    assert (second.units, second.id) == (1, f"{ending.id}:rollover:2")
    assert rolled_over(ending, already=[4]) is None


def test_a_grant_that_repeats_is_whole_again_at_each_turn() -> None:
    """OpenMeter's `Burns down recurring grant`, within what is granted: of 100 a day 80 are used, then 20."""
    daily = replace(GRANT, remaining=100, units=100, expires_at=NOW + DAY)
    series = list(grant_series(daily, Interval.DAY, 3))
    assert [each.id for each in series] == ["g", "g:2", "g:3"]
    hour = timedelta(hours=1)
    for grant, used, at in ((series[0], 80, NOW + hour), (series[1], 20, NOW + DAY + hour)):
        assert plan_burn(series, used, "chat", at) == [Taking(grant, used, 0)]
    assert paid_by(*series, at=NOW + 3 * DAY) == []


def test_a_series_from_the_31st_keeps_to_the_ends_of_months_and_to_its_time_of_day() -> None:
    starts, ends = datetime(2026, 1, 31, 9, 30, tzinfo=UTC), datetime(2026, 3, 3, tzinfo=UTC)
    monthly = list(grant_series(replace(GRANT, starts_at=starts, expires_at=ends), Interval.MONTH, 4))
    assert [each.starts_at.isoformat()[5:16] for each in monthly] == [
        "01-31T09:30", "02-28T09:30", "03-31T09:30", "04-30T09:30"
    ]  # fmt: skip
    assert [each.expires_at and each.expires_at.day for each in monthly] == [3, 3, 3, 3]
    for_ever = list(grant_series(replace(GRANT, starts_at=starts), Interval.YEAR, 2))
    assert [each.expires_at for each in for_ever] == [None, None]
