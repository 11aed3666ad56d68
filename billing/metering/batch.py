"""A batch taken apart: what is refused at once, what counters read from the rest, and which event of a key is first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from billing.metering.cloud_event import CloudEvent, EventKey
from billing.metering.counters import Counter
from billing.metering.outcome import Outcome, Status, UnmatchedReason
from billing.metering.parsing import InvalidEvent
from billing.metering.readings import Column, read_column
from billing.metering.registry import subject_of
from billing.metering.worklists import Reason


@dataclass(slots=True)
class Batch:
    """Well-formed events by place; `positions` are their places among all that were sent.

    `refused`: answers that are known already, by position. `types`: the places of each event type.
    """

    events: Sequence[CloudEvent]
    positions: Sequence[int]
    refused: dict[int, Outcome]
    types: Mapping[str, Sequence[int]]
    corrects: bool


@dataclass(slots=True)
class ReadBatch:
    """What counters read from a batch.

    `columns`: of each known type, numbered as its places. `reasons`: what is unknown, by place. `first`: the place of
    the first event of each key that no counter refuses; `repeated`: of the further ones.
    """

    columns: dict[str, list[Column]] = field(default_factory=dict)
    reasons: dict[int, tuple[Reason, ...]] = field(default_factory=dict)
    first: dict[EventKey, int] = field(default_factory=dict)
    repeated: list[int] = field(default_factory=list)


def take_apart(received: Sequence[CloudEvent | InvalidEvent]) -> Batch:
    """Part the well-formed events from the others, and by type."""
    events = [each for each in received if isinstance(each, CloudEvent)]
    positions: Sequence[int] = range(len(events))
    refused: dict[int, Outcome] = {}
    if len(events) < len(received):
        positions = [position for position, each in enumerate(received) if isinstance(each, CloudEvent)]
        refused = {
            position: Outcome(Status.INVALID, code=each.code, field=each.field, message=each.message)
            for position, each in enumerate(received)
            if isinstance(each, InvalidEvent)
        }
    corrects = any([event.corrects is not None for event in events])
    return Batch(events, positions, refused, _by_type(events), corrects)


def read(batch: Batch, counters: Mapping[str, tuple[Counter, ...]]) -> ReadBatch:
    """Read every event with the counters of its type; `batch.refused` grows by those that a counter refuses."""
    found = ReadBatch()
    refused: set[int] = set()
    for event_type, places in batch.types.items():
        of_type = counters.get(event_type)
        if of_type is None:
            reason = ((UnmatchedReason.UNKNOWN_EVENT_TYPE, event_type),)
            found.reasons.update(dict.fromkeys(places, reason))
        else:
            refused |= _read_type(batch, found, event_type, of_type)
    keys = [(event.source, event.event_id) for event in batch.events]
    found.first = dict(zip(keys, range(len(keys)), strict=True))
    if refused or len(found.first) < len(keys):
        found.first = {}
        for place, key in enumerate(keys):
            if place not in refused and found.first.setdefault(key, place) != place:
                found.repeated.append(place)
    return found


def _by_type(events: Sequence[CloudEvent]) -> Mapping[str, Sequence[int]]:
    types = [event.event_type for event in events]
    if len(set(types)) <= 1:
        return {types[0]: range(len(types))} if types else {}
    places: dict[str, list[int]] = {}
    for place, event_type in enumerate(types):
        places.setdefault(event_type, []).append(place)
    return places


def _read_type(batch: Batch, found: ReadBatch, event_type: str, counters: Sequence[Counter]) -> set[int]:
    """Read the events of one type; return the places of those that a counter refuses."""
    places = batch.types[event_type]
    datas = [batch.events[place].data for place in places]
    columns = found.columns[event_type] = [read_column(counter, datas) for counter in counters]
    refused = set()
    for column in columns:
        for number, error in column.errors.items():
            refused.add(places[number])
            batch.refused[batch.positions[places[number]]] = Outcome(
                Status.INVALID, code=error.code, field=error.field, message=str(error)
            )
    for number in {number for column in columns for number in column.lacking}:
        place = places[number]
        if not batch.events[place].cancels and all(column.numbers[number] is None for column in columns):
            found.reasons[place] = tuple(
                (UnmatchedReason.MISSING_VALUE, subject_of(column.counter))
                for column in columns
                if number in column.lacking
            )
    return refused
