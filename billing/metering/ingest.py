"""Ingest: append what is new, answer for each event, and keep all that depends on it in the same transaction.

    with database.writing(tenant) as uow:
        outcomes = ingest(uow, parse_batch(body, now), directory, now)

One event is one (tenant, source, id) for ever: an equal resend is a duplicate, a different one a conflict that
changes nothing. An event about which something is unknown is stored as unmatched and billed once it is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from billing.metering import event_store
from billing.metering.alerts import raise_alerts
from billing.metering.batch import Batch, read, take_apart
from billing.metering.cloud_event import CloudEvent, EventKey
from billing.metering.corrections import Relations, relate
from billing.metering.directory import MeterDirectory
from billing.metering.event_store import Place
from billing.metering.known import Known, lock_and_load
from billing.metering.outcome import ACCEPTED, DUPLICATE, Outcome, Status, UnmatchedReason
from billing.metering.parsing import InvalidEvent
from billing.metering.readings import CustomerHour, count_columns
from billing.metering.registry import match_customers, match_types
from billing.metering.totals import HOUR_CHARS, Cell, CellKey, add_to_totals, recount
from billing.metering.worklists import (
    Conflict,
    Cutoff,
    Late,
    Reason,
    list_as_unmatched,
    log_conflicts,
    record_late,
    resolve_events,
)
from billing.unit_of_work import UnitOfWork
from models.column_types import utc_text

_INSTANT = timedelta(microseconds=1)

Received = Sequence[CloudEvent | InvalidEvent]


def ingest(uow: UnitOfWork, received: Received, directory: MeterDirectory, now: datetime) -> list[Outcome]:
    """Store what is new of `received` and return one outcome for each, in order. No event fails another one.

    `now` becomes the time of recording; it is moved up to just behind the last close, so that what a close has seen
    and what it has not is told by the time of recording alone.
    """
    batch = take_apart(received)
    known = lock_and_load(uow, batch, directory, now)
    return _Writer(uow, directory, known, now, batch).write(received)


class _Writer:
    """Stores one batch."""

    def __init__(self, uow: UnitOfWork, directory: MeterDirectory, known: Known, now: datetime, batch: Batch) -> None:
        self._uow = uow
        self._directory = directory
        self._known = known
        self._now = now
        self._batch = batch
        self._events = batch.events
        self._read = read(batch, known.counters)

    def write(self, received: Received) -> list[Outcome]:
        """Append, record what depends on it, answer."""
        uow, batch, first = self._uow, self._batch, self._read.first
        events = self._events if len(first) == len(self._events) else [self._events[each] for each in first.values()]
        closed = self._known.closed
        self._now = max([self._now, *(seen + _INSTANT for seen in self._known.closes())])
        behind = _behind_another_correction(events) if batch.corrects else set()
        if behind:
            events = [event for event in events if event.key not in behind]
        present = behind | event_store.append(uow, events, self._now)
        added = {key: place for key, place in first.items() if key not in present} if present else first
        special = self._record(added, closed) if added else {}
        outcomes: list[Outcome | None] = [ACCEPTED] * len(received)
        for position, refusal in batch.refused.items():
            outcomes[position] = refusal
        for key, outcome in special.items():
            outcomes[batch.positions[added[key]]] = outcome
        self._answer_repeated(added, present, outcomes)
        return self._fill(received, outcomes)

    def _record(self, added: Mapping[EventKey, int], closed: Mapping[str, Cutoff]) -> dict[EventKey, Outcome]:
        """Keep totals, lists and alerts up with the events just added; return the answers that are not `accepted`."""
        uow = self._uow
        relations = self._relate(added)
        self._count(added, relations, self._recount(relations))
        customers = {self._events[place].customer for place in added.values()}
        known = self._directory.known_customers(uow, customers)
        reasons = self._reasons(added, relations, customers - known)
        late = self._late(added, relations, closed)
        resolve_events(uow, relations.met | relations.replaced, self._now)
        waiting = [(key, relations.reasons[key]) for key in sorted(relations.met) if key in relations.reasons]
        of_added = [(key, reason) for key, several in reasons.items() for reason in several]
        list_as_unmatched(uow, [*of_added, *waiting], self._now)
        self._match(known)
        if self._known.has_alerts:
            raise_alerts(uow, known, self._now)
        return {
            key: Outcome(
                Status.UNMATCHED if key in reasons else Status.ACCEPTED, reasons.get(key, ()), late.get(key, "")
            )
            for key in {*reasons, *late}
            if key in added
        }

    def _relate(self, added: Mapping[EventKey, int]) -> Relations:
        """Relate corrections to what they correct."""
        if not self._known.concerns_corrections:
            return Relations()
        return relate(self._uow, {key: self._events[place] for key, place in added.items()})

    def _recount(self, relations: Relations) -> dict[str, set[CustomerHour]]:
        """Count the hours that corrections touch anew, with all that was just added to them; return them by type."""
        by_type: dict[str, set[CustomerHour]] = {}
        for effect in relations.effects.values():
            hours = {(effect.customer, utc_text(instant)[:HOUR_CHARS]) for instant in effect.instants}
            by_type.setdefault(effect.event_type, set()).update(hours)
        for event_type, places in by_type.items():
            recount(self._uow, places, self._known.counters.get(event_type, ()))
        return by_type

    def _count(
        self, added: Mapping[EventKey, int], relations: Relations, recounted: Mapping[str, set[CustomerHour]]
    ) -> None:
        """Add to the totals what was just added, but for hours counted anew and what corrections decide about."""
        cells: dict[CellKey, Cell] = {}
        new = set(added.values())
        new.difference_update([added[key] for key in relations.effects if key in added])
        for event_type, columns in self._read.columns.items():
            places = self._batch.types[event_type]
            of_type = [self._events[place] for place in places]
            hours = [(event.customer, event.time_text[:HOUR_CHARS]) for event in of_type]
            done = recounted.get(event_type, set())
            numbers = [number for number, place in enumerate(places) if place in new and hours[number] not in done]
            count_columns(cells, hours, numbers, columns)
        add_to_totals(self._uow, cells)

    def _reasons(
        self, added: Mapping[EventKey, int], relations: Relations, unknown: set[str]
    ) -> dict[EventKey, tuple[Reason, ...]]:
        """Say of each added event what is unknown about it; most are not among the keys."""
        known_by_place = self._read.reasons
        if not (known_by_place or relations.reasons or unknown):
            return {}
        found: dict[EventKey, tuple[Reason, ...]] = {}
        for key, place in added.items():
            reasons = list(known_by_place.get(place, ()))
            customer = self._events[place].customer
            if customer in unknown:
                reasons.append((UnmatchedReason.UNKNOWN_CUSTOMER, customer))
            if key in relations.reasons:
                reasons.append(relations.reasons[key])
            if reasons:
                found[key] = tuple(reasons)
        return found

    def _late(
        self, added: Mapping[EventKey, int], relations: Relations, closed: Mapping[str, Cutoff]
    ) -> dict[EventKey, str]:
        """Record what changes a time that is billed already; return the run that billed it."""
        if not closed:
            return {}
        changes = [
            (key, self._events[place].customer, self._events[place].occurred_at)
            for key, place in added.items()
            if key not in relations.effects
        ]
        for key, effect in relations.effects.items():
            changes += [(key, effect.customer, instant) for instant in sorted(effect.instants)]
        late = [
            Late(*key, customer, instant, closed[customer].run, self._now)
            for key, customer, instant in changes
            if customer in closed and instant < closed[customer].closed_through
        ]
        record_late(self._uow, late)
        return {(each.source, each.event_id): each.run for each in late}

    def _match(self, customers: set[str]) -> None:
        """Take what waited for one of these customers, or of the types of this batch, off the list."""
        waiting, counters = self._known.waiting, self._known.counters
        if UnmatchedReason.UNKNOWN_CUSTOMER in waiting:
            match_customers(self._uow, customers, self._now)
        if UnmatchedReason.UNKNOWN_EVENT_TYPE in waiting:
            types = [event_type for event_type in sorted(self._batch.types) if event_type in counters]
            match_types(self._uow, counters, types, self._now)

    def _answer_repeated(
        self, added: Mapping[EventKey, int], present: set[EventKey], outcomes: list[Outcome | None]
    ) -> None:
        """Answer events that were not stored: duplicates, conflicts, and None where the key is still free."""
        first = self._read.first
        repeated = sorted([*self._read.repeated, *(first[key] for key in present)])
        if not repeated:
            return
        kept = event_store.stored(self._uow, present)
        refused = self._already_corrected([self._events[first[key]] for key in present if key not in kept])
        conflicts: list[Conflict] = []
        for place in repeated:
            event = self._events[place]
            stored_now = added.get(event.key)
            hash_kept = _hash_of(kept.get(event.key)) if stored_now is None else self._events[stored_now].body_hash
            answer = _repeated(event, hash_kept, refused.get(event.body_hash), conflicts)
            outcomes[self._batch.positions[place]] = answer
        log_conflicts(self._uow, conflicts, self._now)

    def _already_corrected(self, events: Sequence[CloudEvent]) -> dict[bytes, bytes]:
        """For events not stored because another one corrects the same event: their hash -> the hash of that one."""
        targets = {event.corrects for event in events if event.corrects is not None}
        found = {
            (target, place.customer, place.event_type): place.body_hash
            for target, place in event_store.corrections_of(self._uow, targets)
        }
        return {
            event.body_hash: found[corrected]
            for event in events
            if event.corrects is not None and (corrected := (event.corrects, event.customer, event.event_type)) in found
        }

    def _fill(self, received: Received, outcomes: Sequence[Outcome | None]) -> list[Outcome]:
        """Ingest what is still unanswered: events whose key the batch first held with a body that was refused."""
        open_positions = [position for position, outcome in enumerate(outcomes) if outcome is None]
        answers = iter(
            ingest(self._uow, [received[position] for position in open_positions], self._directory, self._now)
            if open_positions
            else ()
        )
        return [next(answers) if outcome is None else outcome for outcome in outcomes]


def _behind_another_correction(events: Sequence[CloudEvent]) -> set[EventKey]:
    """Return the corrections that stand behind another one of the same event: which is stored, their order decides.

    A database that appends in an order of its own would choose another one.
    """
    taken: set[tuple[EventKey, str, str]] = set()
    behind: set[EventKey] = set()
    for event in events:
        if event.corrects is not None:
            corrected = (event.corrects, event.customer, event.event_type)
            if corrected in taken:
                behind.add(event.key)
            taken.add(corrected)
    return behind


def _hash_of(place: Place | None) -> bytes | None:
    return None if place is None else place.body_hash


def _repeated(
    event: CloudEvent, kept: bytes | None, correction: bytes | None, conflicts: list[Conflict]
) -> Outcome | None:
    """Answer an event that was not stored, given the hash kept under its key; None where its key is still free."""
    if kept == event.body_hash:
        return DUPLICATE
    code = "event_conflict"
    message = "source and id: were sent before with another body"
    if kept is None:
        if correction is None:
            return None
        kept, code, message = correction, "already_corrected", "correctsid: is corrected or cancelled already"
    conflicts.append(Conflict(event, kept, code))
    return Outcome(Status.CONFLICT, kept_hash=kept.hex(), sent_hash=event.body_hash.hex(), code=code, message=message)
