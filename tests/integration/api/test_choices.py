"""A value that is none of those there are is refused with the ones there are, whichever door it came by."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import pytest

from api.choices import member_of, rule_of
from api.cli.main import build_parser, main
from models.values.period import Interval
from tests.integration.api.door import Door

INTERVALS = "day, week, month, quarter, half_year, year"
ACME = "/v1/customers/acme-default"


class _Line(msgspec.Struct):
    kind: Literal["paid", "promotional"] | None = None
    every: Annotated[Interval, msgspec.Meta(description="how often")] = Interval.MONTH


class _Body(msgspec.Struct):
    lines: list[_Line] = []
    by_name: dict[str, _Line] = {}
    amount: Annotated[int, msgspec.Meta(le=3)] = 0


@pytest.mark.parametrize(
    ("body", "member", "rule"),
    [
        ({"lines": [{}, {"kind": "gift"}]}, "lines[1].kind", "must be one of paid, promotional, got 'gift'"),
        ({"lines": [{"every": "it's"}]}, "lines[0].every", f'must be one of {INTERVALS}, got "it\'s"'),
        ({"by_name": {"a": {"every": ""}}}, "by_name[...].every", f"must be one of {INTERVALS}, got ''"),
        ({"amount": 4}, "amount", "Expected `int` <= 3 - at `$.amount`"),
    ],
)
def test_the_choice_is_found_wherever_it_stands(body: dict[str, object], member: str, rule: str) -> None:
    for kind in (_Body, _Body | None):
        with pytest.raises(msgspec.ValidationError) as refused:
            msgspec.convert(body, kind)
        assert (member_of(str(refused.value)), rule_of(str(refused.value), kind)) == (member, rule)


@pytest.mark.parametrize(
    ("path", "body", "detail"),
    [
        (
            "/v1/quotes/x/accept",
            {"interval": "fortnight"},
            "interval: must be one of day, half_year, month, quarter, week, year, got 'fortnight'",
        ),
        (
            f"{ACME}/wallets/w/grants",
            {"id": "g", "amount": "1", "kind": "gift"},
            "kind: must be one of paid, promotional, got 'gift'",
        ),
        (
            f"{ACME}/coupons",
            {"key": "c", "percent_off": "5", "duration": "always"},
            "duration: must be one of forever, once, periods, got 'always'",
        ),
        (
            "/v1/subscriptions/x/changes",
            {"action": "quantity", "feature": "seats", "quantity": "2", "proration": "half"},
            "proration: must be one of next_period, prorated, whole, got 'half'",
        ),
        (
            f"{ACME}/usage-alerts",
            {"id": "a", "meter": "tokens", "threshold": "1", "interval": "x"},
            f"interval: must be one of {INTERVALS}, got 'x'",
        ),
    ],
)
def test_a_body_is_told_what_there_is(door: Door, path: str, body: dict[str, object], detail: str) -> None:
    answer = door.call("POST", path, body, key="1")
    assert (answer.status_code, answer.json()["detail"]) == (400, detail)
    assert answer.json()["field"] == detail.partition(":")[0]


def test_a_command_is_told_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["coupon", "give", "acme", '{"key": "c", "percent_off": "5", "duration": "always"}']) == 3
    assert "coupon.duration: must be one of forever, once, periods, got 'always'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        build_parser().parse_args(["keys", "create", "x", "--scope", "reed"])
    assert "(choose from 'quote', 'ingest', 'read'," in capsys.readouterr().err
