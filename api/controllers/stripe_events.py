"""Where Stripe's notifications come in. Its signature over the raw body stands in for an API key."""

from __future__ import annotations

from typing import Any

from litestar import Controller, Request, post
from litestar.datastructures import State

from api.patience import Patience, in_worker
from api.services import Services
from billing.stripe.webhooks import accept_webhook
from models.values.errors import DomainError

SIGNATURE = "Stripe-Signature"


class StripeNotConfiguredError(DomainError):
    """No Stripe key is set: the sender should come back once there is one."""

    code = "stripe_not_configured"


class StripeEventController(Controller):
    """Open to everyone who can sign. An event only says where to look: what it claims is never believed."""

    path = "/v1/stripe"
    tags = ("stripe",)
    middleware = (Patience(),)

    @post("/events", operation_id="ReceiveStripeEvent", status_code=200, open=True)
    async def receive(self, request: Request[Any, Any, State], state: State) -> dict[str, bool]:
        """Keep a notification, once by its id, and answer at once; `alacarte stripe sync` reads it later.

        400 for a bad signature or a body that is no event, with nothing kept.
        """
        services: Services = state.services
        body, signature = await request.body(), request.headers.get(SIGNATURE, "")
        return {"new": await in_worker(_keep, services, body, signature)}


def _keep(services: Services, body: bytes, signature: str) -> bool:
    if services.stripe is None:
        raise StripeNotConfiguredError("no Stripe key is set", field="stripe")
    with services.database.writing(services.settings.tenant) as uow:
        return accept_webhook(uow, body, signature, services.stripe, services.system_now())
