"""What Stripe collects: where hand-overs stand, what a person has to look at, and both sides compared."""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from random import Random

from litestar import Controller, Response, post
from litestar.datastructures import State

from api.console.forms import Form
from api.console.pages import ConsoleRequest, get, page
from api.console.sessions import Visitor, has_role
from api.patience import in_worker
from api.services import Services
from billing.ledger_collection import LedgerCollection
from billing.people import Role
from billing.repositories import stripe_events, stripe_mirror, stripe_outbox
from billing.stripe.reconciliation import Reconciliation
from billing.stripe.settings import KEY
from billing.timing import real_timing
from models.values.errors import RuleBrokenError

_LOOK_BACK = timedelta(days=35)


class CollectingPages(Controller):
    """The finance door's reconciliation."""

    path = "/finance/reconciliation"
    guards = (has_role(Role.FINANCE),)

    @get("/", sync_to_thread=True)
    def standing(self, request: ConsoleRequest, state: State) -> Response[str]:
        """Show what our side knows; asks nobody."""
        return _page(request, state.services, None)

    @post("/", status_code=200, takes_long=True)
    async def compare(self, data: Form, request: ConsoleRequest, state: State) -> Response[str]:
        """Ask Stripe for everything of the last weeks and show each difference. Changes nothing."""
        services: Services = state.services
        found = await _reconcile(services, request.user)
        return await in_worker(_page, request, services, found)


async def _reconcile(services: Services, visitor: Visitor) -> Reconciliation:
    from billing.stripe.bridge import open_bridge  # The SDK takes half a second to load: not for every start.

    if services.stripe is None:
        raise RuleBrokenError("no key is set", field=KEY, code="stripe_not_set_up")
    timing = real_timing()
    async with open_bridge(
        services.database,
        visitor.tenant,
        services.stripe,
        LedgerCollection(timing.now),
        timing,
        name=f"console:{socket.gethostname()}:{os.getpid()}",
        random=Random(),  # noqa: S311  Spreads waits; nothing secret depends on it.
    ) as bridge:
        return await bridge.reconcile(services.system_now() - _LOOK_BACK)


def _page(request: ConsoleRequest, services: Services, found: Reconciliation | None) -> Response[str]:
    with services.database.reading(request.user.tenant) as uow:
        operations, notifications = stripe_outbox.counts(uow), stripe_events.counts(uow)
        dead, reviews = stripe_outbox.dead(uow), stripe_mirror.needing_review(uow)
        waiting = stripe_mirror.not_handed_over(uow)
    return page(
        request, "reconciliation.html", set_up=services.stripe is not None, operations=operations,
        notifications=notifications, dead=dead, reviews=reviews, waiting=len(waiting), found=found,
    )  # fmt: skip
