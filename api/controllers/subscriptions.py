"""Subscriptions: read, preview a change, make it."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Controller, Response, get, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody

from api.idempotency import OptionalKey, in_thread
from api.requests import ApiRequest, actor_of
from api.schemas.invoices import invoice_document
from api.security import requires
from api.services import Services
from billing import audit
from billing.api_keys import Scope
from billing.phases import Subscription, agreement_document
from billing.previews import month_end, preview_change
from billing.repositories.price_books import PriceBookRepository
from billing.repositories.subscriptions import SubscriptionRepository
from billing.subscriptions import Change, Who, cancel, change_selection, pause, record, resume
from billing.unit_of_work import UnitOfWork
from models.values.errors import InvalidValueError, RuleBrokenError
from models.values.money import currency, from_minor
from models.values.quantity import parse_decimal, plain


class ChangeBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A change from now on. `action`: change (with the whole new `selection`), pause, resume or cancel."""

    action: str
    selection: dict[str, str] | None = None
    at_period_end: bool = False
    reason: str = ""


class SubscriptionController(Controller):
    """What customers have accepted."""

    path = "/v1/subscriptions"
    tags = ("subscriptions",)

    @get(
        "/{subscription:str}",
        operation_id="ReadSubscription",
        guards=[requires(Scope.READ, Scope.QUOTE)],
        sync_to_thread=True,
    )
    def read(self, subscription: FromPath[str], request: ApiRequest, state: State) -> dict[str, Any]:
        """Return a subscription with all its phases."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            return _document(SubscriptionRepository(uow).get(subscription))

    @post(
        "/{subscription:str}/changes/preview",
        operation_id="PreviewSubscriptionChange",
        guards=[requires(Scope.QUOTE)],
        status_code=200,
        sync_to_thread=True,
    )
    def preview(
        self, subscription: FromPath[str], data: JSONBody[ChangeBody], request: ApiRequest, state: State
    ) -> dict[str, Any]:
        """Return the next invoices without and with the change; nothing is written."""
        services: Services = state.services
        now = services.now()
        until = month_end(now)
        with services.database.reading(request.user.tenant) as uow:
            seen = preview_change(uow, _change(uow, subscription, data, Who(now)), until, now)
        return {
            "before": [invoice_document(each) for each in seen.before],
            "after": [invoice_document(each) for each in seen.after],
            "difference": [
                {"amount": plain(from_minor(minor, currency(code))), "currency": code}
                for code, minor in sorted(seen.difference_minor.items())
            ],
        }

    @post(
        "/{subscription:str}/changes",
        operation_id="ChangeSubscription",
        guards=[requires(Scope.QUOTE)],
        status_code=200,
        answer=dict[str, Any],
    )
    async def change(
        self,
        subscription: FromPath[str],
        data: JSONBody[ChangeBody],
        request: ApiRequest,
        state: State,
        idempotency_key: OptionalKey = None,
    ) -> Response[bytes]:
        """Make the change: one phase more, nothing edited."""
        services: Services = state.services

        def work(uow: UnitOfWork) -> tuple[int, object]:
            now = services.now()
            actor = actor_of(request, now)
            wanted = _change(uow, subscription, data, Who(now, actor.name, data.reason))
            after = _document(record(uow, wanted))
            of = ("subscription", subscription)
            audit.record(
                uow, actor, f"subscription.{data.action}", of, before=_document(wanted.subscription), after=after
            )
            return 200, after

        return await in_thread(services, request, idempotency_key, work, needs_key=False)


def _change(uow: UnitOfWork, subscription: str, body: ChangeBody, who: Who) -> Change:
    found, at = SubscriptionRepository(uow).get(subscription), who.recorded_at
    match body.action:
        case "change":
            phase = found.phase_at(at)
            if body.selection is None:
                raise InvalidValueError("is required to change", field="selection")
            if phase is None:
                raise RuleBrokenError("is not in force", field="subscription", value=subscription)
            book = PriceBookRepository(uow).get(phase.agreement.book_hash).book
            chosen = {key: parse_decimal(text, f"selection.{key}") for key, text in body.selection.items()}
            return change_selection(found, book, chosen, at, who)
        case "pause":
            return pause(found, at, who)
        case "resume":
            return resume(found, at, who)
        case "cancel":
            return cancel(found, at, who, at_period_end=body.at_period_end)
    raise InvalidValueError("must be change, pause, resume or cancel", field="action", value=body.action)


def _document(subscription: Subscription) -> dict[str, Any]:
    trial = subscription.trial_ends_at
    return {
        "id": subscription.id,
        "customer": subscription.customer,
        "currency": subscription.currency,
        "starts_at": subscription.starts_at.isoformat(),
        "trial_ends_at": None if trial is None else trial.isoformat(),
        "phases": [
            {
                "sequence": phase.sequence,
                "starts_at": phase.starts_at.isoformat(),
                "state": phase.state.value,
                "action": phase.action,
                "price_book": phase.agreement.book_hash,
                "agreement": agreement_document(phase.agreement),
                "actor": phase.actor,
                "reason": phase.reason,
                "recorded_at": phase.recorded_at.isoformat(),
            }
            for phase in subscription.phases
        ],
    }
