"""Demand as the quotes tell it: the model and the epoch that waits, each adaptive feature's curve, each price sheet."""

from __future__ import annotations

from litestar import Controller, Response, get
from litestar.datastructures import State

from api.console.pages import ConsoleRequest, page
from api.console.sessions import has_role
from api.services import Services
from billing.epoch_proposals import EpochState, next_to_publish, proposals
from billing.people import Role
from billing.posted_prices import sheet_results, take_curves
from billing.repositories.demand_models import DemandModelRepository
from billing.repositories.price_books import PriceBookRepository, StoredBook
from billing.unit_of_work import UnitOfWork
from models.values.errors import NotFoundError
from pricing_engine.price_sheet import list_price


class DemandPages(Controller):
    """What prices do."""

    path = "/product"
    guards = (has_role(Role.PRODUCT, Role.APPROVER),)

    @get("/demand", sync_to_thread=True)
    def demand(self, request: ConsoleRequest, state: State) -> Response[str]:
        """Show what the newest model warns of, the epoch that waits, and each adaptive feature's take rate by price."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            live = _in_force(uow, services)
            curves = take_curves(uow, live.book, services.signer)
            model = next(iter(DemandModelRepository(uow).heads(live.book.key, 1)), None)
            fitting = next_to_publish(uow, live.book.key, services.now(uow))
            newest = next(iter(proposals(uow, live.book.key, 1)), None)
        waiting = newest if newest is not None and newest.state(fitting) is EpochState.OPEN else None
        found = [(live.book.feature(key), curve, list_price(live.book.feature(key))) for key, curve in curves.items()]
        return page(request, "demand.html", book=live.book, found=found, model=model, waiting=waiting)

    @get("/experiments", sync_to_thread=True)
    def experiments(self, request: ConsoleRequest, state: State) -> Response[str]:
        """Show each price sheet and what became of the quotes on it."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            live = _in_force(uow, services)
            results = sheet_results(uow, live.book)
        return page(request, "experiments.html", book=live.book, results=results)


def _in_force(uow: UnitOfWork, services: Services) -> StoredBook:
    books = PriceBookRepository(uow).in_force(services.now(uow))
    if not books:
        raise NotFoundError("no price book is in force", field="book", code="unknown_price_book")
    return books[0]
