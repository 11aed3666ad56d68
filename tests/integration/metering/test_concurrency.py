"""Sixteen writers: one row a key, no lost total, no deadlock, and no event between a close and the ones after it."""

from __future__ import annotations

import random
import threading
from collections import Counter as Tally
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from billing.database import Database
from billing.metering.cloud_event import CloudEvent
from billing.metering.counters import Counter
from billing.metering.directory import PriceBookDirectory
from billing.metering.history import effective_events
from billing.metering.ingest import ingest
from billing.metering.live_usage import usage_of
from billing.metering.registry import pick_up
from billing.metering.worklists import close_through, unsettled_late
from billing.unit_of_work import UnitOfWork
from models.values.period import Period, parse_instant
from tests.integration.metering.facts import publish_meters
from tests.ledger_facts import add_customers
from tests.metering_facts import INPUT, METERS, NOW, TENANT, Directory, cancellation, llm, send, totals

WRITERS = 16
MARCH = Period(parse_instant("2026-03-01", "start"), parse_instant("2026-04-01", "end"))


def test_sixteen_writers_of_the_same_events_store_each_once(database: Database) -> None:
    events = [llm(str(n), n, customer=("acme", "bolt", "cora")[n % 3]) for n in range(60)]
    barrier = threading.Barrier(WRITERS)

    def write(writer: int) -> Tally[str]:
        shuffled = random.Random(writer).sample(events, len(events))
        barrier.wait()
        return Tally(outcome.status.value for outcome in send(database, shuffled))

    with ThreadPoolExecutor(WRITERS) as writers:
        counts = sum(writers.map(write, range(WRITERS)), Tally())
    assert counts == {"accepted": 60, "duplicate": 60 * (WRITERS - 1)}
    totals(database)


def test_writers_of_different_bodies_agree_on_the_one_that_won(database: Database) -> None:
    barrier = threading.Barrier(WRITERS)

    def write(writer: int) -> tuple[str, str]:
        barrier.wait()
        outcome = send(database, [llm("1", writer)])[0]
        return outcome.status.value, outcome.kept_hash

    with ThreadPoolExecutor(WRITERS) as writers:
        answers = list(writers.map(write, range(WRITERS)))
    assert Tally(status for status, _ in answers) == {"accepted": 1, "conflict": WRITERS - 1}
    assert len({kept for status, kept in answers if status == "conflict"}) == 1
    totals(database)


def test_totals_stay_exact_while_events_are_corrected_and_meters_begin(database: Database) -> None:
    """The second version of the book is published while events of its meters come in."""
    publish_meters(database, INPUT)
    add_customers(database, "acme")
    barrier = threading.Barrier(WRITERS)

    def write(writer: int) -> None:
        directory = PriceBookDirectory()
        barrier.wait()
        for step in range(4):
            name = f"{writer}-{step}"
            ingest_as(directory, [llm(name, 3), llm(f"{name}-b", 5)])
            if writer % 3 == 0:
                ingest_as(directory, [cancellation(f"{name}-c", ("gateway", name))])
            if (writer, step) == (1, 1):
                publish_meters(database, *METERS, version=2)

    def ingest_as(directory: PriceBookDirectory, events: list[CloudEvent]) -> None:
        with database.writing(TENANT) as uow:
            ingest(uow, events, directory, NOW)

    with ThreadPoolExecutor(WRITERS) as writers:
        list(writers.map(write, range(WRITERS)))
    with database.writing(TENANT) as uow:
        pick_up(uow, PriceBookDirectory(), NOW)
    totals(database)
    cancelled = len([writer for writer in range(WRITERS) if writer % 3 == 0]) * 4
    with database.reading(TENANT) as uow:
        assert usage_of(uow, "acme", INPUT, MARCH).units == WRITERS * 4 * 8 - cancelled * 3


def test_writers_that_all_find_a_new_meter_do_not_wait_for_each_other_for_ever(database: Database) -> None:
    """Each looks before the meter is there, shares the lock, and only then finds that it has to begin a counter."""
    add_customers(database, "acme")
    found = threading.Barrier(4)

    class Late(Directory):
        """Knows its meters from the second look on; the first looks of all writers come together."""

        def __init__(self) -> None:
            super().__init__()
            self._looks = 0

        def counters(self, uow: UnitOfWork) -> Mapping[str, tuple[Counter, ...]]:
            self._looks += 1
            if self._looks == 1:
                found.wait()
                return {}
            if self._looks == 2 and not uow.is_sqlite:
                found.wait()  # All share the lock now.
            return super().counters(uow)

    def write(writer: int) -> str:
        return send(database, [llm(str(writer), 2)], Late())[0].status.value

    if database.is_sqlite:
        found = threading.Barrier(1)  # One writer at a time: nobody to meet.
    with ThreadPoolExecutor(4) as writers:
        assert set(writers.map(write, range(4))) <= {"accepted", "unmatched"}
    with database.writing(TENANT) as uow:
        pick_up(uow, Directory(), NOW)
    totals(database)
    with database.reading(TENANT) as uow:
        assert usage_of(uow, "acme", INPUT, MARCH).units == 8


def test_no_event_slips_between_a_close_and_what_comes_after_it(database: Database) -> None:
    """Whatever the close did not see is late, and recorded after it; whatever it saw is neither."""
    barrier = threading.Barrier(WRITERS + 1)
    close_at = NOW + timedelta(seconds=1)

    def write(writer: int) -> set[str]:
        barrier.wait()
        late = set()
        for step in range(8):
            outcome = send(database, [llm(f"{writer}-{step}")], now=NOW)[0]
            if outcome.late_for:
                late.add(f"{writer}-{step}")
        return late

    def close() -> set[str]:
        barrier.wait()
        with database.writing(TENANT) as uow:
            close_through(uow, ["acme"], MARCH.end, "run-1", close_at)
            return {event.event_id for event in effective_events(uow, customer="acme", known_at=close_at)}

    with ThreadPoolExecutor(WRITERS + 1) as workers:
        closing = workers.submit(close)
        late = set().union(*workers.map(write, range(WRITERS)))
        seen = closing.result()
    with database.reading(TENANT) as uow:
        known = {event.event_id for event in effective_events(uow, customer="acme", known_at=close_at)}
        listed = {each.event_id for each in unsettled_late(uow)}
    assert known == seen
    assert listed == late
    assert seen | late == {f"{writer}-{step}" for writer in range(WRITERS) for step in range(8)}
    assert not seen & late
