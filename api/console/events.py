"""Events: those that cannot be billed yet, and of any event on which invoice it is billed, or why on none."""

from __future__ import annotations

from contextlib import suppress

from litestar import Controller, Response
from litestar.datastructures import State

from api.console.pages import ConsoleRequest, get, page
from api.console.sessions import has_role
from api.pages import page as cursor_page
from api.pages import read_cursor
from api.services import Services
from billing.event_fate import EventFate, fates_of
from billing.metering.worklists import open_unmatched
from billing.people import Role
from models.values.errors import NotFoundError

_A_PAGE = 40
_LIST = "console unmatched"


class EventPages(Controller):
    """The finance door's events."""

    path = "/finance/events"
    guards = (has_role(Role.FINANCE),)

    @get("/", sync_to_thread=True)
    def events(self, request: ConsoleRequest, state: State) -> Response[str]:
        """Show what became of the event that is asked for, and which events wait for something."""
        services: Services = state.services
        tenant, asked = request.user.tenant, request.query_params
        event, source = asked.get("id", "").strip(), asked.get("source") or None
        after = read_cursor(services, tenant, _LIST, asked.get("after"))
        found: list[EventFate] = []
        with services.database.reading(tenant) as uow:
            waiting = open_unmatched(uow, after=after, limit=_A_PAGE)
            with suppress(NotFoundError):  # The page says so itself.
                found = fates_of(uow, event, source) if event else []
        last = [*waiting[-1][:4]] if waiting else []
        following = cursor_page(services, tenant, _LIST, waiting, _A_PAGE, last)["next_cursor"]
        return page(request, "events.html", event=event, found=found, waiting=waiting, following=following)
