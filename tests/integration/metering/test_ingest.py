"""Every event counts once; each gets its answer; what is unknown waits and is picked up."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DatabaseError

from billing.database import Database
from billing.metering.cloud_event import event_of
from billing.metering.history import EVENT, effective_events
from billing.metering.live_usage import usage_of
from billing.metering.outcome import Status, UnmatchedReason
from billing.metering.parsing import InvalidEvent
from billing.metering.registry import pick_up
from billing.metering.worklists import close_through, open_unmatched, reopen_from, settle_late, unsettled_late
from models.tables.base import table_of
from models.tables.usage import UsageConflictRow
from models.values.errors import RuleBrokenError
from models.values.ids import bucket_of
from models.values.period import Period, parse_instant
from tests.metering_facts import (
    INPUT,
    NOW,
    OUTPUT,
    PEAK,
    REQUESTS,
    TENANT,
    USERS,
    Directory,
    cancellation,
    llm,
    send,
    statuses,
    totals,
)

MARCH = Period(parse_instant("2026-03-01", "start"), parse_instant("2026-04-01", "end"))


def stored_count(database: Database) -> int:
    with database.reading(TENANT) as uow:
        return uow.connection.execute(select(func.count()).select_from(EVENT)).scalar_one()


def units(database: Database, meter: object = INPUT, customer: str = "acme") -> Decimal:
    totals(database)
    with database.reading(TENANT) as uow:
        return usage_of(uow, customer, meter, MARCH).units  # type: ignore[arg-type]


def test_an_identical_resend_is_a_duplicate_and_another_body_a_conflict_with_both_hashes(database: Database) -> None:
    first, other = llm("1", 10), llm("1", 11)
    moved = llm("1", 10, customer="bolt")
    later = llm("1", 10, time="2026-03-04T05:06:08Z")
    assert statuses(send(database, [first])) == ["accepted"]
    outcomes = send(database, [first, other, moved, later])
    assert statuses(outcomes) == ["duplicate", "conflict", "conflict", "conflict"]
    assert outcomes[1].kept_hash == first.body_hash.hex()
    assert outcomes[1].sent_hash == other.body_hash.hex()
    assert outcomes[1].code == "event_conflict"
    assert stored_count(database) == 1
    assert units(database) == 10


def test_one_event_twice_in_a_batch_counts_once(database: Database) -> None:
    event = llm("1", 10)
    assert statuses(send(database, [event, event])) == ["accepted", "duplicate"]
    assert units(database) == 10


def test_conflicts_are_kept_once_each(database: Database) -> None:
    send(database, [llm("1", 10)])
    send(database, [llm("1", 11), llm("1", 12)])
    send(database, [llm("1", 11)])
    table = table_of(UsageConflictRow)
    with database.reading(TENANT) as uow:
        rows = uow.connection.execute(select(table.c.refused_hash, table.c.kept_hash)).all()
    assert {bytes(refused) for refused, _ in rows} == {llm("1", 11).body_hash, llm("1", 12).body_hash}
    assert {bytes(kept) for _, kept in rows} == {llm("1", 10).body_hash}


def test_a_batch_answers_each_item_and_fails_for_none(database: Database) -> None:
    send(database, [llm("old", 1)])
    refused = InvalidEvent("missing_field", "id", "id: is required")
    outcomes = send(
        database,
        [
            llm("new", 2),
            llm("old", 1),
            llm("old", 3),
            llm("new", 2),
            llm("new", 4),
            refused,
            llm("bad", "x"),
            llm("who", customer="nobody"),
        ],
    )
    assert statuses(outcomes) == [
        "accepted",
        "duplicate",
        "conflict",
        "duplicate",
        "conflict",
        "invalid",
        "invalid",
        "unmatched",
    ]
    assert (outcomes[6].code, outcomes[6].field) == ("not_a_number", "data.input_tokens")
    assert outcomes[7].reasons == ((UnmatchedReason.UNKNOWN_CUSTOMER, "nobody"),)
    assert stored_count(database) == 3


def test_sources_and_tenants_have_ids_of_their_own(database: Database) -> None:
    assert statuses(send(database, [llm("1"), llm("1", source="other")])) == ["accepted", "accepted"]
    assert statuses(send(database, [llm("1", 99)], tenant="second")) == ["accepted"]
    assert units(database) == 20
    assert totals(database, "second") != totals(database)


def test_an_event_is_stored_as_it_was_sent(database: Database) -> None:
    event = llm("1", "12.50", note="größer ✓", time="2026-03-04T07:06:07.123456789+02:00")
    send(database, [event], now=NOW + timedelta(seconds=1))
    with database.reading(TENANT) as uow:
        row = uow.connection.execute(select(EVENT)).one()
        assert row.data == {"input_tokens": "12.50", "model": "small", "note": "größer ✓", "output_tokens": 1}
        assert row.occurred_at == parse_instant("2026-03-04T05:06:07.123456Z", "time")
        assert row.recorded_at == NOW + timedelta(seconds=1)
        assert row.bucket == bucket_of(TENANT, "acme")
        assert bytes(row.body_hash) == event.body_hash
    assert units(database) == Decimal("12.5")


def test_an_unknown_customer_waits_and_is_picked_up(database: Database) -> None:
    directory = Directory(customers=["acme"])
    send(database, [llm("1", 7, customer="bolt")], directory)
    with database.writing(TENANT) as uow:
        assert pick_up(uow, directory, NOW) == 0
        assert [(each.event_id, each.reason, each.subject) for each in open_unmatched(uow)] == [
            ("1", UnmatchedReason.UNKNOWN_CUSTOMER, "bolt")
        ]
        directory.customers.add("bolt")
        assert pick_up(uow, directory, NOW) == 1
        assert open_unmatched(uow) == []
    assert units(database, customer="bolt") == 7


def test_the_next_event_of_a_customer_picks_up_those_that_waited(database: Database) -> None:
    directory = Directory(customers=[])
    send(database, [llm("1", 7)], directory)
    directory.customers.add("acme")
    assert statuses(send(database, [llm("2", 1)], directory)) == ["accepted"]
    with database.reading(TENANT) as uow:
        assert open_unmatched(uow) == []


def test_an_unknown_type_waits_and_is_counted_once_a_meter_reads_it(database: Database) -> None:
    nothing = Directory(meters=[])
    outcomes = send(database, [llm("1", 7), llm("2", "many"), llm("3", 5)], nothing)
    assert [outcome.reasons for outcome in outcomes] == [((UnmatchedReason.UNKNOWN_EVENT_TYPE, "llm"),)] * 3
    with database.writing(TENANT) as uow:
        assert pick_up(uow, Directory(), NOW) == 3
        left = open_unmatched(uow)
        assert [(each.event_id, each.reason, each.subject) for each in left] == [
            ("2", UnmatchedReason.INVALID_VALUE, "input")
        ]
    assert units(database) == 12


def test_an_event_of_no_use_to_any_meter_is_listed(database: Database) -> None:
    outcomes = send(database, [llm("1", None, output_tokens=None)], Directory(meters=[INPUT, OUTPUT]))
    assert statuses(outcomes) == ["unmatched"]
    assert {reason for reason, _ in outcomes[0].reasons} == {UnmatchedReason.MISSING_VALUE}


def test_a_late_event_names_the_run_that_had_billed_its_time(database: Database) -> None:
    send(database, [llm("1")])
    april = parse_instant("2026-04-01", "end")
    with database.writing(TENANT) as uow:
        close_through(uow, ["acme"], april, "run-1", NOW)
    outcomes = send(database, [llm("2", 5), llm("3", customer="bolt")], now=NOW)
    assert [outcome.late_for for outcome in outcomes] == ["run-1", ""]
    with database.writing(TENANT) as uow:
        late = unsettled_late(uow, customers=["acme"], period=MARCH)
        assert [(each.event_id, each.run) for each in late] == [("2", "run-1")]
        settle_late(uow, late, "run-2")
        assert unsettled_late(uow) == []


def test_what_happened_at_the_end_of_what_is_closed_is_not_late(database: Database) -> None:
    with database.writing(TENANT) as uow:
        close_through(uow, ["acme"], parse_instant("2026-03-05", "end"), "run-1", NOW)
    times = ("2026-03-04T23:59:59.999999Z", "2026-03-05T00:00:00Z")
    assert [send(database, [llm(time, time=time)])[0].late_for for time in times] == ["run-1", ""]


def test_what_a_close_knew_stays_the_same_set_of_events(database: Database) -> None:
    """An event that comes with a clock running behind is still recorded after the close."""
    send(database, [llm("1")], now=NOW)
    with database.writing(TENANT) as uow:
        close_through(uow, ["acme"], MARCH.end, "run-1", NOW)
    send(database, [llm("2")], now=NOW - timedelta(minutes=5))
    with database.reading(TENANT) as uow:
        known = [event.event_id for event in effective_events(uow, customer="acme", known_at=NOW)]
    assert known == ["1"]


def test_closing_less_than_is_closed_is_refused_until_reopened(database: Database) -> None:
    with database.writing(TENANT) as uow:
        close_through(uow, ["acme"], MARCH.end, "run-1", NOW)
        with pytest.raises(RuleBrokenError) as refusal:
            close_through(uow, ["acme"], MARCH.start, "run-2", NOW)
        assert refusal.value.code == "closed_further"
        reopen_from(uow, ["acme"], MARCH.start, "run-2", NOW)
    assert send(database, [llm("1")])[0].late_for == ""


def test_a_stored_event_cannot_be_changed_or_removed(database: Database) -> None:
    send(database, [llm("1")])
    statements = ["update usage_event set customer = 'bolt'", "delete from usage_event"]
    if database.is_sqlite:
        statements.append("insert or replace into usage_event select * from usage_event")
    for statement in statements:
        with pytest.raises(DatabaseError, match="append-only"), database.writing(TENANT) as uow:
            uow.connection.execute(text(statement))
    assert stored_count(database) == 1


def test_groups_extremes_and_unique_values_are_kept_apart(database: Database) -> None:
    directory = Directory()
    events = [llm("1", 1, output_tokens=5, model="small"), llm("2", 2, output_tokens="0.5", model="large")]
    others = [
        event_of(source="s", event_id=str(n), event_type=kind, customer="acme", time=f"2026-03-0{n}T00:30:00Z", data=data, now=NOW)  # noqa: E501
        for n, (kind, data) in enumerate(
            [("disk", {"gib": "7.5"}), ("disk", {"gib": 3}), ("login", {"user": "a"}), ("login", {"user": "b"}),
             ("login", {"user": "a"}), ("login", {"user": "b", "operation": "remove"})], start=1)
    ]  # fmt: skip
    assert statuses(send(database, [*events, *others], directory)) == ["accepted"] * 8
    totals(database)
    with database.reading(TENANT) as uow:
        assert usage_of(uow, "acme", OUTPUT, MARCH).groups == ((("large",), Decimal("0.5")), (("small",), Decimal(5)))
        assert usage_of(uow, "acme", PEAK, MARCH).units == Decimal("7.5")
        assert usage_of(uow, "acme", USERS, MARCH).units == 1
        assert usage_of(uow, "acme", REQUESTS, MARCH).event_count == 2
    for number, gib in enumerate(["9.25", 2], start=10):
        more = event_of(source="s", event_id=str(number), event_type="disk", customer="acme",
                        time="2026-03-01T00:45:00Z", data={"gib": gib}, now=NOW)  # fmt: skip
        assert statuses(send(database, [more], directory)) == ["accepted"]
        totals(database)
        with database.reading(TENANT) as uow:
            assert usage_of(uow, "acme", PEAK, MARCH).units == Decimal("9.25")


def test_usage_of_a_period_that_cuts_hours_is_exact(database: Database) -> None:
    times = ["2026-03-04T05:06:07Z", "2026-03-04T05:59:59.999999Z", "2026-03-04T06:00:00Z", "2026-03-04T08:30:00Z"]
    send(database, [llm(str(n), 10**n, time=time) for n, time in enumerate(times)])
    with database.reading(TENANT) as uow:
        for first in range(4):
            for last in range(first, 4):
                start, end = parse_instant(times[first], "start"), parse_instant(times[last], "end")
                measured = usage_of(uow, "acme", INPUT, Period(start, end))
                assert measured.units == sum(10**n for n in range(first, last))


def test_ingesting_nothing_is_nothing(database: Database) -> None:
    assert send(database, []) == []


def test_status_words_are_those_of_the_documentation() -> None:
    assert [status.value for status in Status] == ["accepted", "duplicate", "unmatched", "conflict", "invalid"]


def test_cancellation_and_correction_change_what_counts_from_then_on(database: Database) -> None:
    send(database, [llm("1", 10), llm("2", 20)], now=NOW)
    later = NOW + timedelta(hours=1)
    outcomes = send(database, [llm("3", 15, corrects=("gateway", "1")), cancellation("4", ("gateway", "2"))], now=later)
    assert statuses(outcomes) == ["accepted", "accepted"]
    assert units(database) == 15
    with database.reading(TENANT) as uow:
        assert usage_of(uow, "acme", INPUT, MARCH, known_at=NOW).units == 30
        assert usage_of(uow, "acme", INPUT, MARCH, known_at=later).units == 15


def test_a_correction_that_comes_first_waits_for_its_event(database: Database) -> None:
    outcome = send(database, [llm("3", 15, corrects=("gateway", "1"))])[0]
    assert outcome.reasons == ((UnmatchedReason.UNKNOWN_CORRECTED_EVENT, "1"),)
    assert units(database) == 0
    assert statuses(send(database, [llm("1", 10)])) == ["accepted"]
    assert units(database) == 15
    with database.reading(TENANT) as uow:
        assert open_unmatched(uow) == []


def test_an_event_is_corrected_once(database: Database) -> None:
    send(database, [llm("1", 10), llm("2", 15, corrects=("gateway", "1"))])
    outcome = send(database, [llm("3", 16, corrects=("gateway", "1"))])[0]
    assert (outcome.status, outcome.code) == (Status.CONFLICT, "already_corrected")
    assert outcome.kept_hash == llm("2", 15, corrects=("gateway", "1")).body_hash.hex()
    assert statuses(send(database, [llm("4", 17, corrects=("gateway", "2"))])) == ["accepted"]
    assert units(database) == 17


def test_nobody_corrects_the_event_of_another_customer(database: Database) -> None:
    send(database, [llm("1", 10), llm("2", 99, customer="bolt", corrects=("gateway", "1"))])
    assert units(database) == 10
    assert units(database, customer="bolt") == 0
    with database.reading(TENANT) as uow:
        assert [each.reason for each in open_unmatched(uow)] == [UnmatchedReason.CORRECTS_OTHER_CUSTOMER]
    assert statuses(send(database, [cancellation("3", ("gateway", "1"))])) == ["accepted"]
    assert units(database) == 0


def test_a_correction_into_a_closed_time_is_late_for_the_time_it_changes(database: Database) -> None:
    send(database, [llm("1", 10, time="2026-03-04T00:00:00Z")])
    with database.writing(TENANT) as uow:
        close_through(uow, ["acme"], parse_instant("2026-03-05", "end"), "run-1", NOW)
    outcome = send(database, [llm("2", 1, time="2026-03-06T00:00:00Z", corrects=("gateway", "1"))])[0]
    assert outcome.late_for == "run-1"
    with database.reading(TENANT) as uow:
        assert [each.occurred_at.day for each in unsettled_late(uow)] == [4]


def test_a_refused_first_body_leaves_its_key_to_the_next(database: Database) -> None:
    """Splitting a batch must change nothing: alone, the second event of that id would have been taken."""
    send(database, [llm("1", 10), cancellation("2", ("gateway", "1"))])
    outcomes = send(database, [llm("3", 1, corrects=("gateway", "1")), llm("3", 5), llm("3", 5)])
    assert statuses(outcomes) == ["conflict", "accepted", "duplicate"]
    assert units(database) == 5
