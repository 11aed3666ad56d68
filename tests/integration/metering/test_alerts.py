"""Alerts are raised with the event that reaches the threshold, once a turn."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest

from billing.database import Database
from billing.metering.alerts import Alert, raised_alerts, set_alert
from billing.metering.cloud_event import event_of
from billing.metering.ingest import ingest
from billing.metering.outcome import ACCEPTED
from billing.unit_of_work import UnitOfWork
from models.values.errors import ConflictError, InvalidValueError
from models.values.period import Interval, parse_instant
from tests.ledger_facts import add_customers
from tests.metering_facts import INPUT, NOW, TENANT, USERS, Directory, cancellation, llm, send
from tests.two_writers import while_open

MONTHLY = Alert("tokens-100", "acme", INPUT, Decimal(100))


@pytest.fixture
def alerted(database: Database) -> Database:
    add_customers(database, "acme", "bolt")
    with database.writing(TENANT) as uow:
        assert set_alert(uow, MONTHLY, NOW) == []
    return database


def raised(database: Database, customer: str = "acme") -> list[tuple[str, Decimal]]:
    with database.reading(TENANT) as uow:
        return [(each.alert, each.units) for each in raised_alerts(uow, customer)]


def test_an_alert_is_raised_when_the_threshold_is_reached_and_not_again(alerted: Database) -> None:
    send(alerted, [llm("1", 99)])
    assert raised(alerted) == []
    send(alerted, [llm("2", 1), llm("3", 500, customer="bolt")])
    assert raised(alerted) == [("tokens-100", Decimal(100))]
    send(alerted, [llm("4", 1000)])
    assert raised(alerted) == [("tokens-100", Decimal(100))]
    assert raised(alerted, "bolt") == []


def test_every_turn_begins_anew(alerted: Database) -> None:
    send(alerted, [llm("1", 100)])
    april = parse_instant("2026-04-02T00:00:00Z", "now")
    send(alerted, [llm("2", 100, time="2026-03-31T23:00:00Z")], now=april)
    assert len(raised(alerted)) == 1
    send(alerted, [llm("3", 100, time="2026-03-31T12:00:00Z", source="x")], now=april)
    assert len(raised(alerted)) == 1


def test_the_turn_is_one_of_the_alerts_own_zone_and_length(alerted: Database) -> None:
    daily = Alert("daily", "acme", INPUT, Decimal(10), Interval.DAY, "Asia/Seoul")
    with alerted.writing(TENANT) as uow:
        set_alert(uow, daily, NOW)
    send(alerted, [llm("1", 50, time="2026-03-30T14:59:59Z")])  # The day before, in Seoul.
    assert raised(alerted) == []
    send(alerted, [llm("2", 20, time="2026-03-31T01:00:00Z")])
    assert raised(alerted) == [("daily", Decimal(20))]
    with alerted.reading(TENANT) as uow:
        (found,) = raised_alerts(uow, "acme")
    assert found.period.start == parse_instant("2026-03-30T15:00:00Z", "start")


def test_an_alert_set_late_is_raised_at_once(alerted: Database) -> None:
    send(alerted, [llm("1", 60)])
    low = Alert("low", "acme", INPUT, Decimal(50))
    with alerted.writing(TENANT) as uow:
        assert [each.alert for each in set_alert(uow, low, NOW)] == ["low"]
        assert set_alert(uow, low, NOW) == []


def test_what_was_raised_stays_even_if_the_usage_is_cancelled(alerted: Database) -> None:
    send(alerted, [llm("1", 100)])
    send(alerted, [cancellation("2", ("gateway", "1"))])
    assert raised(alerted) == [("tokens-100", Decimal(100))]


def test_alerts_work_on_values_that_are_only_counted(alerted: Database) -> None:
    with alerted.writing(TENANT) as uow:
        set_alert(uow, Alert("seats", "acme", USERS, Decimal(2)), NOW)
    for number, user in enumerate(["ann", "ann", "bob"]):
        assert raised(alerted) == []
        send(
            alerted,
            [
                event_of(
                    source="s",
                    event_id=str(number),
                    event_type="login",
                    customer="acme",
                    time="2026-03-30T00:00:00Z",
                    data={"user": user},
                    now=NOW + timedelta(hours=number),
                )
            ],
        )
    assert raised(alerted) == [("seats", Decimal(2))]


def test_a_key_belongs_to_one_alert_and_a_threshold_is_above_zero(alerted: Database) -> None:
    for other in (Alert("tokens-100", "acme", INPUT, Decimal(101)), Alert("tokens-100", "bolt", INPUT, Decimal(100))):
        with pytest.raises(ConflictError), alerted.writing(TENANT) as uow:
            set_alert(uow, other, NOW)
    with pytest.raises(InvalidValueError):
        Alert("none", "acme", INPUT, Decimal(0))


@pytest.fixture
def counting(alerted: Database) -> Database:
    """The counters have begun, which needs a writer to be alone."""
    send(alerted, [llm("0", 0)])
    return alerted


def of_hour(hour: int, tokens: int) -> Callable[[UnitOfWork], object]:
    """Store one event; those of different hours share no total."""
    sent = llm(str(hour), tokens, time=f"2026-03-04T{hour:02}:00:00Z")
    return lambda uow: ingest(uow, [sent], Directory(), NOW)


def test_what_two_writers_both_reach_is_raised_once(counting: Database) -> None:
    assert while_open(counting, of_hour(1, 100), of_hour(2, 200)) == [[ACCEPTED], [ACCEPTED]]
    assert raised(counting) == [("tokens-100", Decimal(100))]


def test_what_two_writers_reach_together_is_raised_by_the_second(counting: Database) -> None:
    while_open(counting, of_hour(1, 60), of_hour(2, 60))
    assert raised(counting) == [("tokens-100", Decimal(120))]


def test_an_alert_set_while_its_threshold_is_reached_is_raised(counting: Database) -> None:
    low = Alert("low", "acme", INPUT, Decimal(50))
    while_open(counting, of_hour(1, 60), lambda uow: set_alert(uow, low, NOW))
    assert raised(counting) == [("low", Decimal(60))]
    lower = Alert("lower", "acme", INPUT, Decimal(70))
    while_open(counting, lambda uow: set_alert(uow, lower, NOW), of_hour(2, 10))
    assert sorted(raised(counting)) == [("low", Decimal(60)), ("lower", Decimal(70))]


def test_an_alert_that_two_set_at_once_is_set_once(counting: Database) -> None:
    low = Alert("low", "acme", INPUT, Decimal(50))
    assert while_open(counting, lambda uow: set_alert(uow, low, NOW), lambda uow: set_alert(uow, low, NOW)) == [[], []]
