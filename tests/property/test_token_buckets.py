"""A bucket never lets through more than it holds and what flows in, and never keeps back what it owes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.settings import load_settings
from api.token_buckets import Buckets, Policy, read_policy
from models.values.errors import InvalidValueError

policies = st.builds(Policy, st.just("requests"), st.integers(1, 1000), st.integers(1, 3600))
steps = st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 5)), min_size=1, max_size=60)


@given(policy=policies, steps=steps)
def test_what_passes_never_exceeds_the_quota_and_its_refill(policy: Policy, steps: list[tuple[int, int]]) -> None:
    buckets, now, passed = Buckets(policy), 0.0, 0
    for wait_ms, asked in steps:
        now += wait_ms / 1000
        for _ in range(asked):
            if buckets.look("key", now).tokens >= 1:
                buckets.charge("key", 1, now)
                passed += 1
        assert passed <= policy.quota + now * policy.quota / policy.window_seconds + 1e-6


@given(policy=policies, charged=st.integers(1, 5000))
def test_who_waits_as_told_is_let_through_and_who_comes_earlier_is_not(policy: Policy, charged: int) -> None:
    buckets = Buckets(policy)
    left = buckets.charge("key", charged, 0.0)
    wait = left.seconds_until(1)
    assert buckets.look("key", float(wait)).tokens >= 1 - 1e-6
    assert wait == 0 or buckets.look("key", wait - 1.0).tokens < 1
    assert buckets.look("key", float(left.seconds_until(policy.quota))).tokens == pytest.approx(policy.quota)


def test_names_do_not_share_and_full_buckets_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.token_buckets._MAX_BUCKETS", 3)
    buckets = Buckets(Policy("requests", 2, 10))
    for name in ("a", "b", "c"):
        buckets.charge(name, 1, 0.0)
    buckets.charge("a", 1, 6.0)
    buckets.charge("d", 1, 6.0)
    assert buckets.look("a", 6.0).tokens == pytest.approx(1)
    assert set(buckets._levels) == {"a", "d"}
    assert buckets.look("b", 6.0).tokens == 2


def test_limits_are_read_from_the_environment_and_nonsense_is_refused() -> None:
    assert load_settings({"ALACARTE_REQUEST_LIMIT": "60/10"}).request_limit == Policy("requests", 60, 10)
    assert load_settings({}).event_limit == Policy("events", 3_000_000, 60)
    for text in ("", "60", "60/", "/60", "0/60", "60/0", "-1/60", "1.5/60", "60/10/1", "\u0663/60"):
        with pytest.raises(InvalidValueError, match="ALACARTE_EVENT_LIMIT"):
            load_settings({"ALACARTE_EVENT_LIMIT": text})
        with pytest.raises(InvalidValueError):
            read_policy("events", "limit", text)
