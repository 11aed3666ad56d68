"""Ingest: append what is new, answer for each event, and keep all that depends on it in the same transaction.

    with database.writing(tenant) as uow:
        outcomes = ingest(uow, parse_batch(body, now), directory, now)

One event is one (tenant, source, id) for ever: an equal resend is a duplicate, a different one a conflict that
changes nothing. An event about which something is unknown is stored as unmatched and billed once it is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from billing.metering import event_store, locks
from billing.metering.alerts import raise_alerts
from billing.metering.cloud_event import CloudEvent, EventKey, time_text
from billing.metering.corrections import Relations, relate
from billing.metering.counters import Absent, Counter, Reading, read_value
from billing.metering.directory import MeterDirectory
from billing.metering.event_store import Place
from billing.metering.outcome import ACCEPTED, DUPLICATE, Outcome, Status, UnmatchedReason
from billing.metering.parsing import InvalidEvent
from billing.metering.registry import begin_counters, match_customers, match_types, unbegun
from billing.metering.totals import HOUR_CHARS, Cells, add_to_totals, recount
from billing.metering.worklists import (
    Conflict,
    Cutoff,
    Late,
    Reason,
    cutoffs,
    list_as_unmatched,
    log_conflicts,
    open_reasons,
    record_late,
    resolve_events,
)
from billing.unit_of_work import UnitOfWork
from models.values.errors import DomainError

Counters = Mapping[str, tuple[Counter, ...]]
_INSTANT = timedelta(microseconds=1)


@dataclass(slots=True)
class _Candidate:
    """The first well-formed event of its key in a batch, what counters read from it, and what is unknown about it."""

    position: int
    event: CloudEvent
    readings: list[tuple[Counter, Reading]]
    reasons: list[Reason]


@dataclass(slots=True)
class _Sorted:
    """A batch taken apart: answers already known by position, and the events to be stored by key."""

    answers: dict[int, Outcome] = field(default_factory=dict)
    candidates: dict[EventKey, _Candidate] = field(default_factory=dict)


def ingest(
    uow: UnitOfWork, received: Sequence[CloudEvent | InvalidEvent], directory: MeterDirectory, now: datetime
) -> list[Outcome]:
    """Store what is new of `received` and return one outcome for each, in order. No event fails another one.

    `now` becomes the time of recording; it is moved up to just behind the last close of one of the customers, so
    that what a close has seen and what it has not is told by the time of recording alone.
    """
    events = [each for each in received if isinstance(each, CloudEvent)]
    known = _lock_and_load(uow, events, directory, now)
    batch = _sort(received, known.counters)
    return _Writer(uow, directory, known, now).write(received, batch)


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known under the lock: counters by event type, and for what reasons stored events wait."""

    counters: Counters
    waiting: set[UnmatchedReason]
    unbegun: list[Counter]
    corrects: bool

    @property
    def needs_to_be_alone(self) -> bool:
        """Whether cells may have to be counted anew, or a counter begun."""
        return self.corrects or bool(self.unbegun) or UnmatchedReason.UNKNOWN_CORRECTED_EVENT in self.waiting


def _lock_and_load(uow: UnitOfWork, events: Sequence[CloudEvent], directory: MeterDirectory, now: datetime) -> _Known:
    """Take the lock this batch needs and return what is known under it."""
    known = _load(uow, events, directory)
    if not known.needs_to_be_alone:
        locks.shared(uow)
        known = known if uow.is_sqlite else _load(uow, events, directory)
    if known.needs_to_be_alone:
        locks.alone(uow)
        known = known if uow.is_sqlite else _load(uow, events, directory)
        begin_counters(uow, known.unbegun, now)
    return known


def _load(uow: UnitOfWork, events: Sequence[CloudEvent], directory: MeterDirectory) -> _Known:
    counters = directory.counters(uow)
    return _Known(
        counters,
        open_reasons(uow),
        unbegun(uow, _of_types(events, counters)),
        any(event.corrects is not None for event in events),
    )


def _of_types(events: Sequence[CloudEvent], counters: Counters) -> list[Counter]:
    types = {event.event_type for event in events}
    return [counter for event_type in sorted(types) for counter in counters.get(event_type, ())]


def _sort(received: Sequence[CloudEvent | InvalidEvent], counters: Counters) -> _Sorted:
    batch = _Sorted()
    for position, each in enumerate(received):
        if isinstance(each, InvalidEvent):
            batch.answers[position] = Outcome(Status.INVALID, code=each.code, field=each.field, message=each.message)
            continue
        try:
            candidate = _read(position, each, counters.get(each.event_type))
        except DomainError as error:
            batch.answers[position] = Outcome(Status.INVALID, code=error.code, field=error.field, message=str(error))
            continue
        batch.candidates.setdefault(each.key, candidate)
    return batch


def _read(position: int, event: CloudEvent, counters: tuple[Counter, ...] | None) -> _Candidate:
    if counters is None:
        return _Candidate(position, event, [], [(UnmatchedReason.UNKNOWN_EVENT_TYPE, event.event_type)])
    readings: list[tuple[Counter, Reading]] = []
    missing: list[Reason] = []
    if not event.cancels:
        for counter in counters:
            reading = read_value(counter, event.data)
            if isinstance(reading, Reading):
                readings.append((counter, reading))
            elif reading is Absent.NO_VALUE:
                missing.append((UnmatchedReason.MISSING_VALUE, ",".join(counter.meters)[:250]))
    return _Candidate(position, event, readings, [] if readings else missing)


class _Writer:
    """Stores one sorted batch."""

    def __init__(self, uow: UnitOfWork, directory: MeterDirectory, known: _Known, now: datetime) -> None:
        self._uow = uow
        self._directory = directory
        self._counters = known.counters
        self._waiting = known.waiting
        self._corrects = known.corrects
        self._now = now

    def write(self, received: Sequence[CloudEvent | InvalidEvent], batch: _Sorted) -> list[Outcome]:
        """Append, record what depends on it, answer."""
        uow, candidates = self._uow, batch.candidates
        closed = cutoffs(uow, {candidate.event.customer for candidate in candidates.values()})
        self._now = max([self._now, *(cutoff.recorded_at + _INSTANT for cutoff in closed.values())])
        present = event_store.append(uow, [candidate.event for candidate in candidates.values()], self._now)
        added = {key: candidate for key, candidate in candidates.items() if key not in present}
        answers = self._record(added, closed) if added else {}
        kept = event_store.stored(uow, present)
        refused = self._already_corrected([candidates[key].event for key in present if key not in kept])
        outcomes: list[Outcome | None] = []
        conflicts: list[Conflict] = []
        for position, each in enumerate(received):
            known = batch.answers.get(position)
            if known is not None or isinstance(each, InvalidEvent):
                outcomes.append(known)
            elif each.key in added and added[each.key].position == position:
                outcomes.append(answers.get(each.key, ACCEPTED))
            else:
                first = added.get(each.key)
                hash_kept = first.event.body_hash if first is not None else _hash_of(kept.get(each.key))
                outcomes.append(_repeated(each, hash_kept, refused.get(each.body_hash), conflicts))
        log_conflicts(uow, conflicts, self._now)
        return self._fill(received, outcomes)

    def _record(self, added: Mapping[EventKey, _Candidate], closed: Mapping[str, Cutoff]) -> dict[EventKey, Outcome]:
        """Keep totals, lists and alerts up with the events just added; return the answers that are not `accepted`."""
        uow = self._uow
        relations = self._relate(added)
        customers = {candidate.event.customer for candidate in added.values()}
        known = self._directory.known_customers(uow, customers)
        cells = Cells()
        reasons: dict[EventKey, tuple[Reason, ...]] = {}
        late: dict[EventKey, str] = {}
        for key, candidate in added.items():
            event = candidate.event
            if key not in relations.effects:
                for counter, reading in candidate.readings:
                    cells.add(event.customer, counter, event.time_text, reading)
                cutoff = closed.get(event.customer)
                if cutoff is not None and event.occurred_at < cutoff.closed_through:
                    late[key] = cutoff.run
            if candidate.reasons or key in relations.reasons or event.customer not in known:
                reasons[key] = tuple(self._reasons(candidate, relations, known))
        add_to_totals(uow, cells.cells)
        self._record_late([added[key].event for key in late], relations, closed, late)
        self._list(reasons, relations)
        self._match(known, {candidate.event.event_type for candidate in added.values()})
        raise_alerts(uow, known, self._now)
        return {
            key: Outcome(
                Status.UNMATCHED if key in reasons else Status.ACCEPTED, reasons.get(key, ()), late.get(key, "")
            )
            for key in {*reasons, *late}
        }

    def _relate(self, added: Mapping[EventKey, _Candidate]) -> Relations:
        uow = self._uow
        if not self._corrects and UnmatchedReason.UNKNOWN_CORRECTED_EVENT not in self._waiting:
            return Relations()
        relations = relate(uow, {key: candidate.event for key, candidate in added.items()})
        by_type: dict[str, set[tuple[str, str]]] = {}
        for effect in relations.effects.values():
            hours = {(effect.customer, time_text(instant)[:HOUR_CHARS]) for instant in effect.instants}
            by_type.setdefault(effect.event_type, set()).update(hours)
        for event_type, places in by_type.items():
            recount(uow, places, self._counters.get(event_type, ()))
        return relations

    def _record_late(
        self,
        plain: Sequence[CloudEvent],
        relations: Relations,
        closed: Mapping[str, Cutoff],
        late: dict[EventKey, str],
    ) -> None:
        """Record what is late, plain events and effects of corrections; of the latter, add to `late`."""
        rows = [
            Late(event.source, event.event_id, event.customer, event.occurred_at, late[event.key], self._now)
            for event in plain
        ]
        for key, effect in relations.effects.items():
            cutoff = closed.get(effect.customer)
            for instant in sorted(effect.instants):
                if cutoff is not None and instant < cutoff.closed_through:
                    rows.append(Late(*key, effect.customer, instant, cutoff.run, self._now))
                    late[key] = cutoff.run
        record_late(self._uow, rows)

    def _reasons(self, candidate: _Candidate, relations: Relations, known: set[str]) -> list[Reason]:
        event = candidate.event
        reasons = list(candidate.reasons)
        if event.customer not in known:
            reasons.append((UnmatchedReason.UNKNOWN_CUSTOMER, event.customer))
        if event.key in relations.reasons:
            reasons.append(relations.reasons[event.key])
        return reasons

    def _list(self, reasons: Mapping[EventKey, tuple[Reason, ...]], relations: Relations) -> None:
        uow = self._uow
        resolve_events(uow, relations.met | relations.replaced, self._now)
        waiting = [(key, relations.reasons[key]) for key in sorted(relations.met) if key in relations.reasons]
        of_added = [(key, reason) for key, several in reasons.items() for reason in several]
        list_as_unmatched(uow, [*of_added, *waiting], self._now)

    def _match(self, customers: set[str], event_types: set[str]) -> None:
        """Take what waited for one of these customers or types off the list."""
        if UnmatchedReason.UNKNOWN_CUSTOMER in self._waiting:
            match_customers(self._uow, customers, self._now)
        if UnmatchedReason.UNKNOWN_EVENT_TYPE in self._waiting:
            types = [event_type for event_type in sorted(event_types) if event_type in self._counters]
            match_types(self._uow, self._counters, types, self._now)

    def _already_corrected(self, events: Sequence[CloudEvent]) -> dict[bytes, bytes]:
        """For events not stored because another one corrects the same event: their hash -> the hash of that one."""
        targets = {event.corrects for event in events if event.corrects is not None}
        found = {
            (target, place.customer, place.event_type): place.body_hash
            for target, place in event_store.corrections_of(self._uow, targets)
        }
        return {
            event.body_hash: found[event.corrects, event.customer, event.event_type]
            for event in events
            if event.corrects is not None
        }

    def _fill(self, received: Sequence[CloudEvent | InvalidEvent], outcomes: Sequence[Outcome | None]) -> list[Outcome]:
        """Ingest what is still unanswered: events whose key the batch first held with a body that was refused."""
        open_positions = [position for position, outcome in enumerate(outcomes) if outcome is None]
        answers = iter(
            ingest(self._uow, [received[position] for position in open_positions], self._directory, self._now)
            if open_positions
            else ()
        )
        return [next(answers) if outcome is None else outcome for outcome in outcomes]


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
