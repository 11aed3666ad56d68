"""Corrections and cancellations: what they change, whichever of the two events comes first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from billing.metering.cloud_event import CloudEvent, EventKey
from billing.metering.event_store import Place, corrections_of, stored
from billing.metering.outcome import UnmatchedReason
from billing.metering.worklists import Reason
from billing.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Effect:
    """An event that changes a customer's usage at `instants`, by correcting or by being corrected."""

    customer: str
    event_type: str
    instants: frozenset[datetime]


@dataclass(frozen=True, slots=True)
class Relations:
    """What events added now have to do with corrections.

    `effects`: by the key of the event that came, or had waited. `reasons`: corrections without their event.
    `met`: corrections that waited for an event added now. `replaced`: events that no longer count.
    """

    effects: dict[EventKey, Effect] = field(default_factory=dict)
    reasons: dict[EventKey, Reason] = field(default_factory=dict)
    met: set[EventKey] = field(default_factory=set)
    replaced: set[EventKey] = field(default_factory=set)


def relate(uow: UnitOfWork, added: Mapping[EventKey, CloudEvent]) -> Relations:
    """Find what the events just `added` correct, and which stored corrections have waited for one of them."""
    relations = Relations()
    correcting = {key: event for key, event in added.items() if event.corrects is not None}
    targets = stored(uow, {event.corrects for event in correcting.values() if event.corrects is not None})
    for key, event in correcting.items():
        _relate_correction(relations, key, event, targets)
    for key, correction in corrections_of(uow, added):
        _relate_target(relations, added[key], correction, waited=correction.key not in added)
    return relations


def _relate_correction(
    relations: Relations, key: EventKey, event: CloudEvent, targets: Mapping[EventKey, Place]
) -> None:
    target = targets.get(event.corrects) if event.corrects is not None else None
    own = frozenset[datetime]() if event.cancels else frozenset({event.occurred_at})
    if target is None:
        assert event.corrects is not None  # noqa: S101
        relations.reasons[key] = (UnmatchedReason.UNKNOWN_CORRECTED_EVENT, event.corrects[1])
        own = frozenset()
    elif (target.customer, target.event_type) != (event.customer, event.event_type):
        relations.reasons[key] = (UnmatchedReason.CORRECTS_OTHER_CUSTOMER, target.customer)
        own = frozenset()
    else:
        relations.replaced.add(target.key)
        own |= {target.occurred_at}
    relations.effects[key] = Effect(event.customer, event.event_type, own)


def _relate_target(relations: Relations, event: CloudEvent, correction: Place, *, waited: bool) -> None:
    if (correction.customer, correction.event_type) != (event.customer, event.event_type):
        if waited:
            relations.met.add(correction.key)
            relations.reasons[correction.key] = (UnmatchedReason.CORRECTS_OTHER_CUSTOMER, event.customer)
        return
    known = relations.effects.get(event.key)
    instants = frozenset({event.occurred_at}) | (known.instants if known else frozenset())
    relations.effects[event.key] = Effect(event.customer, event.event_type, instants)
    if waited:
        relations.met.add(correction.key)
        relations.replaced.add(event.key)
        relations.effects[correction.key] = Effect(
            event.customer, event.event_type, frozenset({event.occurred_at, correction.occurred_at})
        )
