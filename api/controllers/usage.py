"""Usage events: single and in batches, answered once they are durable."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Controller, post
from litestar.datastructures import State
from litestar.response.base import ASGIResponse

from api.problems import problem
from api.requests import ApiRequest, json_answer, known_now
from api.security import any_of
from api.services import Services
from billing.api_keys import Scope
from billing.metering.outcome import Outcome, Status
from billing.metering.parsing import WireEvent, parse_batch, parse_event

_STORED = {Status.ACCEPTED: 201, Status.UNMATCHED: 201, Status.DUPLICATE: 200}
_REFUSED = {Status.CONFLICT: 409, Status.INVALID: 422}


class BatchOutcome(msgspec.Struct):
    """An outcome for each event, in order."""

    outcomes: list[Outcome]


class UsageController(Controller):
    """The meter's door. Bodies are read raw and decoded once, strictly."""

    path = "/v1/events"
    tags = ("usage",)

    @post(
        "/",
        operation_id="IngestEvent",
        scopes=any_of(Scope.INGEST),
        body=WireEvent,
        counts_events=True,
        answers={201: Outcome, 200: Outcome},
    )
    async def ingest_one(self, request: ApiRequest, state: State) -> ASGIResponse:
        """Store one CloudEvent: 201 stored, 200 an identical resend, 409 another body under its id, 422 refused."""
        services: Services = state.services
        event = parse_event(await request.body(), known_now(request, services.system_now()))
        state.limits.charge_events(request, 1)
        [outcome] = await services.ingest.ask(request.user.tenant, [event])
        if outcome.status in _REFUSED:
            hashes = {"kept_hash": outcome.kept_hash, "sent_hash": outcome.sent_hash} if outcome.kept_hash else {}
            status = _REFUSED[outcome.status]
            refusal = problem(request, status, outcome.code, outcome.message, field=outcome.field, **hashes)
            return refusal.to_asgi_response(None, request)
        return json_answer(outcome, _STORED[outcome.status])

    @post(
        "/batch",
        operation_id="IngestEvents",
        scopes=any_of(Scope.INGEST),
        status_code=200,
        body=list[Any],  # Of WireEvent: one that is none of them fails alone.
        answer=BatchOutcome,
        counts_events=True,
    )
    async def ingest_many(self, request: ApiRequest, state: State) -> ASGIResponse:
        """Store up to ten thousand CloudEvents; 200 with an outcome for each, in order."""
        services: Services = state.services
        events = parse_batch(await request.body(), known_now(request, services.system_now()))
        state.limits.charge_events(request, len(events))
        outcomes = await services.ingest.ask(request.user.tenant, events)
        return json_answer(BatchOutcome(outcomes), 200)
