"""What became of usage events: those not billed yet, bodies that were refused, and of any event its invoice or why not.

No event bills nothing in silence.
"""

from __future__ import annotations

from typing import Annotated, TypedDict

from litestar import Controller, get
from litestar.datastructures import State
from litestar.params import QueryParameter

from api.pages import DEFAULT_LIMIT, Cursor, Limit, page, read_cursor
from api.requests import ApiRequest
from api.security import any_of
from api.services import Services
from billing.api_keys import Scope
from billing.event_fate import EventFate, MeterFate, fates_of
from billing.metering.worklists import open_unmatched, refused_bodies
from models.values.quantity import plain


class UnmatchedView(TypedDict):
    """What about a stored event is not known, or not right, yet: the reason, and what it is about."""

    source: str
    id: str
    reason: str
    subject: str


class UnmatchedPage(TypedDict):
    """A page of such events."""

    items: list[UnmatchedView]
    next_cursor: str | None


class ConflictView(TypedDict):
    """A body that was refused because another one is kept under its source and id, or of what it corrects."""

    source: str
    id: str
    code: str
    kept_hash: str
    refused_hash: str
    recorded_at: str


class ConflictPage(TypedDict):
    """A page of such bodies."""

    items: list[ConflictView]
    next_cursor: str | None


class BilledByView(TypedDict):
    """A charge that counts an event, and the number of its invoice once it has one."""

    charge: str
    invoice: str | None


class MeterFateView(TypedDict):
    """What became of an event for one meter of a feature; without names where it is the same for all.

    `amount`: what it adds at the feature's tariff, before bundles and coupons.
    """

    fate: str
    detail: str
    subscription: str
    feature: str
    meter: str
    amount: str | None
    charges: list[BilledByView]


class EventFateView(TypedDict):
    """A stored event with what became of it. `refused`: hashes of other bodies sent under its source and id."""

    source: str
    id: str
    type: str
    customer: str
    time: str
    recorded_at: str
    hash: str
    fates: list[MeterFateView]
    refused: list[str]


class EventFates(TypedDict):
    """The events of one id, by source."""

    items: list[EventFateView]


class UnmatchedController(Controller):
    """What was stored and cannot be billed yet."""

    path = "/v1/unmatched-events"
    tags = ("usage",)

    @get("/", operation_id="ListUnmatchedEvents", scopes=any_of(Scope.READ), sync_to_thread=True)
    def list(
        self, request: ApiRequest, state: State, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> UnmatchedPage:
        """Return events with what about them is not known, or not right, yet."""
        services: Services = state.services
        after = read_cursor(services, request.user.tenant, "unmatched", cursor)
        with services.database.reading(request.user.tenant) as uow:
            found = open_unmatched(uow, after=after, limit=limit)
        items = [
            {"source": each.source, "id": each.event_id, "reason": each.reason.value, "subject": each.subject}
            for each in found
        ]
        return page(services, request.user.tenant, "unmatched", items, limit, [*items[-1].values()] if items else [])


class ConflictController(Controller):
    """What was sent and refused for what is kept."""

    path = "/v1/event-conflicts"
    tags = ("usage",)

    @get("/", operation_id="ListEventConflicts", scopes=any_of(Scope.READ), sync_to_thread=True)
    def list(
        self, request: ApiRequest, state: State, cursor: Cursor = None, limit: Limit = DEFAULT_LIMIT
    ) -> ConflictPage:
        """Return the bodies that were refused, with the hash of what is kept instead of each."""
        services: Services = state.services
        after = read_cursor(services, request.user.tenant, "conflicts", cursor)
        place = None if after is None else (str(after[0]), str(after[1]), bytes.fromhex(after[2]))
        with services.database.reading(request.user.tenant) as uow:
            found = refused_bodies(uow, after=place, limit=limit)
        items = [
            {
                "source": each.source,
                "id": each.event_id,
                "code": each.code,
                "kept_hash": each.kept_hash.hex(),
                "refused_hash": each.refused_hash.hex(),
                "recorded_at": each.recorded_at.isoformat(),
            }
            for each in found
        ]
        last = [found[-1].source, found[-1].event_id, found[-1].refused_hash.hex()] if found else []
        return page(services, request.user.tenant, "conflicts", items, limit, last)


class EventFateController(Controller):
    """What became of an event."""

    path = "/v1/event-fates"
    tags = ("usage",)

    @get("/", operation_id="ExplainEvent", scopes=any_of(Scope.READ), sync_to_thread=True, answer=EventFates)
    def explain(
        self,
        request: ApiRequest,
        state: State,
        event: Annotated[str, QueryParameter(name="id", description="The event's id.")],
        source: Annotated[str | None, QueryParameter(required=False, description="Only the event of it.")] = None,
    ) -> EventFates:
        """Say for each meter of an event on which invoice it is billed, or why on none."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            return {"items": [*map(_fate_view, fates_of(uow, event, source))]}


def _fate_view(found: EventFate) -> EventFateView:
    event = found.event
    return {
        "source": event.source,
        "id": event.event_id,
        "type": event.event_type,
        "customer": event.customer,
        "time": event.time_text,
        "recorded_at": found.recorded_at.isoformat(),
        "hash": event.body_hash.hex(),
        "fates": [*map(_meter_view, found.fates)],
        "refused": [*found.refused],
    }


def _meter_view(fate: MeterFate) -> MeterFateView:
    return {
        "fate": fate.fate.value,
        "detail": fate.detail,
        "subscription": fate.subscription,
        "feature": fate.feature,
        "meter": fate.meter,
        "amount": None if fate.amount is None else plain(fate.amount),
        "charges": [{"charge": charge, "invoice": number} for charge, number in fate.charges],
    }
