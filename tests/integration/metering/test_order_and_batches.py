"""Totals depend on which events were sent, and on nothing else: not on order, batches or resends."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.database import Database
from billing.metering.cloud_event import CloudEvent, event_of
from billing.metering.ingest import ingest
from billing.metering.outcome import Outcome, Status
from billing.metering.totals import stored_cells
from tests.integration.metering.conftest import fresh_tenant
from tests.metering_facts import EU_ONLY, INPUT, NOW, OUTPUT, REQUESTS, Directory, totals
from tests.strategies.usage_events import sends, usage_histories

Plain = dict[tuple[str, str, str, str], tuple[int, Fraction]]

_MODEL = {"input": INPUT, "output": OUTPUT, "requests": REQUESTS, "eu": EU_ONLY}


def expected_totals(events: Sequence[CloudEvent]) -> Plain:
    """Count and sum by customer, meter, hour and group, worked out plainly."""
    by_key = {event.key: event for event in events}
    corrected = set()
    counted = []
    for event in events:
        target = by_key.get(event.corrects) if event.corrects else None
        if target is not None and target.customer == event.customer:
            corrected.add(target.key)
        if not event.cancels and (event.corrects is None or (target and target.customer == event.customer)):
            counted.append(event)
    sums: Plain = defaultdict(lambda: (0, Fraction(0)))
    for event in counted:
        if event.key in corrected:
            continue
        for name, meter in _MODEL.items():
            value = 0 if meter.value_property is None else event.data.get(meter.value_property)
            allowed = all(event.data.get(field) in texts for field, texts in meter.filters.items())
            if value is None or not allowed:
                continue
            group = f'["{event.data["model"]}"]' if meter.group_by else ""
            key = (event.customer, name, event.time_text[:13], group)
            count, total = sums[key]
            sums[key] = (count + 1, total + Fraction(Decimal(value)))
    return dict(sums)


def stored_totals(database: Database, tenant: str) -> Plain:
    """The stored totals under the names of their meters; `totals` has compared them with a recount."""
    names = {counter.id: counter.meters for of_type in Directory().by_type.values() for counter in of_type}
    return {
        (customer, names[counter][0], hour, group): (cell.event_count, Fraction(cell.total))
        for (customer, counter, hour, group), cell in totals(database, tenant).items()
    }


def send_in_batches(
    database: Database, tenant: str, events: Sequence[CloudEvent], cuts: Sequence[int]
) -> list[Outcome]:
    """Ingest the stream, cut at the given places."""
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(events)}), len(events)]
    outcomes: list[Outcome] = []
    for start, end in pairwise(edges):
        with database.writing(tenant) as uow:
            outcomes += ingest(uow, list(events[start:end]), Directory(), NOW)
    return outcomes


cuts = st.lists(st.integers(0, 12), max_size=3)
shared = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=25)


@shared
@given(data=st.data(), events=usage_histories(), cuts=cuts)
def test_order_batches_and_resends_never_change_totals(
    shared_database: Database, data: st.DataObject, events: list[CloudEvent], cuts: list[int]
) -> None:
    tenant = fresh_tenant()
    again = data.draw(st.lists(st.sampled_from(events), max_size=6))
    stream = data.draw(st.permutations([*events, *again]))
    outcomes = send_in_batches(shared_database, tenant, stream, cuts)
    assert sum(outcome.status in {"accepted", "unmatched"} for outcome in outcomes) == len(events)
    assert sum(outcome.status == "duplicate" for outcome in outcomes) == len(again)
    assert stored_totals(shared_database, tenant) == expected_totals(events)


@shared
@given(stream=sends(), cuts=cuts)
def test_batches_never_change_an_answer(shared_database: Database, stream: list[CloudEvent], cuts: list[int]) -> None:
    one_by_one, batched = fresh_tenant(), fresh_tenant()
    singly = send_in_batches(shared_database, one_by_one, stream, range(len(stream)))
    together = send_in_batches(shared_database, batched, stream, cuts)
    assert [(each.status, each.code, each.kept_hash) for each in together] == [
        (each.status, each.code, each.kept_hash) for each in singly
    ]
    with shared_database.reading(one_by_one) as first, shared_database.reading(batched) as second:
        assert stored_cells(first) == stored_cells(second)


@pytest.mark.parametrize("size", [9, 111, 237])
def test_a_batch_of_any_size_answers_as_its_events_alone(database: Database, size: int) -> None:
    """Databases write few and many events by different statements."""
    again = [_llm(str(number)) for number in range(0, size, 7)]
    events = [_llm(str(number)) for number in range(size)]
    with database.writing("batch") as uow:
        ingest(uow, again, Directory(), NOW)
        answers = ingest(uow, [*events, _llm("fix", corrects="1")], Directory(), NOW)
    assert [answer.status for answer in answers] == [
        *("duplicate" if number % 7 == 0 else "accepted" for number in range(size)),
        "accepted",
    ]
    counted = {name: count for (_, name, *_), (count, _) in stored_totals(database, "batch").items()}
    assert counted["requests"] == size  # The corrected one, and what corrects it, are one.


@pytest.mark.parametrize("others", [0, 120])
def test_of_two_corrections_in_one_batch_the_first_sent_is_kept(database: Database, others: int) -> None:
    """Whatever order the database appends in, and in a batch of few as in one of many."""
    events = [_llm("2", corrects="9"), _llm("1", corrects="9"), *(_llm(str(100 + each)) for each in range(others))]
    with database.writing("one-batch") as uow:
        first, second, *_ = ingest(uow, events, Directory(), NOW)
    assert (first.status, second.code) == (Status.UNMATCHED, "already_corrected")
    assert second.kept_hash == events[0].body_hash.hex()


def test_a_correction_behind_one_that_is_refused_is_kept(database: Database) -> None:
    with database.writing("one-batch") as uow:
        ingest(uow, [_llm("2")], Directory(), NOW)
        answers = ingest(
            uow, [_llm("2", corrects="9"), _llm("1", corrects="9"), _llm("0", corrects="9")], Directory(), NOW
        )
    assert [answer.code for answer in answers] == ["event_conflict", "", "already_corrected"]


@given(order=st.permutations(range(4)), cuts=cuts)
@shared
def test_a_correction_counts_its_hour_once_with_its_neighbours(
    shared_database: Database, order: list[int], cuts: list[int]
) -> None:
    """What is counted anew because of a correction holds what came with it: that must not be added again."""
    events = [_llm("0"), _llm("1"), _llm("2", corrects="3"), _llm("3")]
    tenant = fresh_tenant()
    send_in_batches(shared_database, tenant, [events[place] for place in order], cuts)
    assert stored_totals(shared_database, tenant) == expected_totals(events)


def _llm(event_id: str, corrects: str | None = None) -> CloudEvent:
    return event_of(
        source="s",
        event_id=event_id,
        event_type="llm",
        customer="acme",
        time="2026-03-04T00:00:00Z",
        data={"input_tokens": 7, "model": "small"},
        now=NOW,
        corrects=None if corrects is None else ("s", corrects),
    )
