"""Demand: what was learned from quotes, a draft tried on last month, and the next epoch from proposal to force."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from litestar import Controller, get, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody
from litestar.response.base import ASGIResponse

from api.idempotency import OptionalKey, Work, after_steps, in_thread
from api.pages import DEFAULT_LIMIT, Cursor, Limit, page, read_cursor
from api.requests import ApiRequest, actor_of
from api.schemas.demand import (
    CurveList,
    DemandModelPage,
    EpochInForceView,
    ModelCardView,
    ProposalBody,
    ProposalPage,
    SimulationBody,
    SimulationView,
    StopBody,
    WholeProposalView,
    curve_view,
    epoch_view,
    model_view,
    proposal_view,
    simulation_view,
    whole_proposal_view,
)
from api.security import any_of
from api.services import Services
from billing import epoch_proposals, price_epochs
from billing.api_keys import Scope
from billing.demand_models import kept_model, trusted_model
from billing.epoch_proposals import (
    EpochOrder,
    KeptProposal,
    draft_epoch,
    keep_proposal,
    next_to_publish,
    publish_proposal,
)
from billing.posted_prices import take_curves
from billing.repositories.demand_models import DemandModelRepository
from billing.repositories.price_books import PriceBookRepository
from billing.simulating import DraftPrices, simulate
from billing.unit_of_work import UnitOfWork
from models.values.errors import NotFoundError
from models.values.quantity import parse_decimal
from pricing_engine.price_book import parse_price_book

_PRICE_ADMIN = any_of(Scope.PRICE_ADMIN)


class DemandController(Controller):
    """What a price book's quotes taught, and its next epoch."""

    path = "/v1/demand"
    tags = ("demand",)

    @get(
        "/{book_key:str}/models",
        operation_id="ListDemandModels",
        scopes=_PRICE_ADMIN,
        sync_to_thread=True,
        answer=DemandModelPage,
    )
    def models(
        self,
        book_key: FromPath[str],
        request: ApiRequest,
        state: State,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> dict[str, Any]:
        """Return the models fitted on a book's quotes, the newest first, with what their cards warn of."""
        services: Services = state.services
        of, tenant = f"models/{book_key}", request.user.tenant
        after = read_cursor(services, tenant, of, cursor)
        with services.database.reading(tenant) as uow:
            _check_known(uow, book_key)
            found = DemandModelRepository(uow).heads(book_key, limit, after[0] if after else None)
        return page(services, tenant, of, [*map(model_view, found)], limit, [found[-1].version] if found else [])

    @get("/{book_key:str}/models/newest", operation_id="ReadNewestModelCard", scopes=_PRICE_ADMIN, sync_to_thread=True)
    def newest(self, book_key: FromPath[str], request: ApiRequest, state: State) -> ModelCardView:
        """Return the newest model's card: data, calibration, drift, effect of price, confounding, fairness."""
        return _card(state.services, request, book_key, None)

    @get("/{book_key:str}/models/{version:int}", operation_id="ReadModelCard", scopes=_PRICE_ADMIN, sync_to_thread=True)
    def model(
        self, book_key: FromPath[str], version: FromPath[int], request: ApiRequest, state: State
    ) -> ModelCardView:
        """Return one model's card."""
        return _card(state.services, request, book_key, version)

    @get("/{book_key:str}/curves", operation_id="ListDemandCurves", scopes=_PRICE_ADMIN, sync_to_thread=True)
    def curves(self, book_key: FromPath[str], request: ApiRequest, state: State) -> CurveList:
        """Return the share of buyers who take each adaptive feature, by its price, with its band and counts."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            book = PriceBookRepository(uow).one_in_force(book_key, services.now(uow)).book
            found = take_curves(uow, book, services.signer)
        return {
            "book": book.key,
            "version": book.version,
            "currency": book.currency,
            "items": [curve_view(book.feature(key), curve) for key, curve in found.items()],
        }

    @post(
        "/simulate",
        operation_id="SimulateDraft",
        scopes=_PRICE_ADMIN,
        status_code=200,
        sync_to_thread=True,
        takes_long=True,
    )
    def simulate(self, data: JSONBody[SimulationBody], request: ApiRequest, state: State) -> SimulationView:
        """Rate a closed month again at a draft's prices; nothing is written. By default usage stays as it was."""
        services: Services = state.services
        draft = DraftPrices(parse_price_book(data.price_book))
        with services.database.unhurried().reading(request.user.tenant) as uow:
            model = trusted_model(uow, draft.book.key) if data.demand else None
            found = simulate(uow, draft, data.period)
        if model is not None:
            from billing.demand_response import with_response

            priced_as = draft.book.segmentation.priced_as
            found = with_response(found, {draft.book.currency: model.posterior}, seed=0, priced_as=priced_as)
        return simulation_view(found, None if model is None else model.warnings, data.largest)

    @post(
        "/{book_key:str}/proposals",
        operation_id="ProposeEpoch",
        scopes=_PRICE_ADMIN,
        answer=WholeProposalView,
        takes_long=True,
    )
    async def propose(
        self,
        book_key: FromPath[str],
        data: JSONBody[ProposalBody],
        request: ApiRequest,
        state: State,
        idempotency_key: OptionalKey = None,
    ) -> ASGIResponse:
        """Propose the next epoch within rails, evaluated on the log, and keep it; prices stay until it is published."""
        services: Services = state.services
        order = EpochOrder(holdout=parse_decimal(data.holdout, "holdout", minimum=Decimal(0)), seed=data.seed)

        def draft() -> Work:
            """Read and work out before the write: it takes seconds, in which others want to write."""
            with services.database.unhurried().reading(request.user.tenant) as uow:
                now = services.now(uow)
                book = PriceBookRepository(uow).one_in_force(book_key, now)
                models = DemandModelRepository(uow)
                model = models.newest(book_key) if data.model is None else models.get(book_key, data.model)
                drafted = draft_epoch(uow, book, model, now, order)

            def keep(uow: UnitOfWork) -> tuple[int, object]:
                kept = keep_proposal(uow, book, drafted, order, services.signer, actor_of(request, now))
                return 201, _whole(uow, kept, now)

            return keep

        return await after_steps(services, request, idempotency_key, draft, needs_key=False)

    @get(
        "/{book_key:str}/proposals",
        operation_id="ListEpochProposals",
        scopes=_PRICE_ADMIN,
        sync_to_thread=True,
        answer=ProposalPage,
    )
    def proposals(
        self,
        book_key: FromPath[str],
        request: ApiRequest,
        state: State,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> dict[str, Any]:
        """Return a book's proposed epochs, the newest first."""
        services: Services = state.services
        of, tenant = f"proposals/{book_key}", request.user.tenant
        after = read_cursor(services, tenant, of, cursor)
        place = None if after is None else (datetime.fromisoformat(after[0]), str(after[1]))
        with services.database.reading(tenant) as uow:
            _check_known(uow, book_key)
            found = epoch_proposals.proposals(uow, book_key, limit, place)
            fitting = next_to_publish(uow, book_key, services.now(uow))
        last = [found[-1].proposed_at.isoformat(), found[-1].id] if found else []
        return page(services, tenant, of, [proposal_view(each, each.state(fitting)) for each in found], limit, last)

    @get(
        "/{book_key:str}/proposals/{proposal:str}",
        operation_id="ReadEpochProposal",
        scopes=_PRICE_ADMIN,
        sync_to_thread=True,
    )
    def proposal(
        self, book_key: FromPath[str], proposal: FromPath[str], request: ApiRequest, state: State
    ) -> WholeProposalView:
        """Return a proposed epoch: each price before and after, why, and what speaks against publishing it unseen."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            return _whole(uow, epoch_proposals.proposal(uow, book_key, proposal), services.now(uow))

    @post(
        "/{book_key:str}/proposals/{proposal:str}/publish",
        operation_id="PublishEpoch",
        scopes=any_of(Scope.PRICE_APPROVE),
        status_code=200,
        answer=EpochInForceView,
    )
    async def publish(
        self,
        book_key: FromPath[str],
        proposal: FromPath[str],
        request: ApiRequest,
        state: State,
        idempotency_key: OptionalKey = None,
    ) -> ASGIResponse:
        """Put a proposed epoch in force, just as it was proposed; new quotes use it at once.

        One's own takes a key that has both price scopes.
        """
        services: Services = state.services

        def work(uow: UnitOfWork) -> tuple[int, object]:
            kept, actor = epoch_proposals.proposal(uow, book_key, proposal), actor_of(request, services.now(uow))
            if Scope.PRICE_ADMIN not in request.user.key.scopes:
                kept.check_other(actor.name)
            sheets = publish_proposal(uow, kept.document, services.signer, actor)
            return 200, epoch_view(book_key, sheets)

        return await in_thread(services, request, idempotency_key, work, needs_key=False)

    @post(
        "/{book_key:str}/stop",
        operation_id="StopAdaptivePrices",
        scopes=_PRICE_ADMIN,
        status_code=200,
        answer=EpochInForceView,
    )
    async def stop(
        self,
        book_key: FromPath[str],
        data: JSONBody[StopBody],
        request: ApiRequest,
        state: State,
        idempotency_key: OptionalKey = None,
    ) -> ASGIResponse:
        """Put everyone back on the list price at once."""
        services: Services = state.services

        def work(uow: UnitOfWork) -> tuple[int, object]:
            actor = actor_of(request, services.now(uow))
            book = PriceBookRepository(uow).one_in_force(book_key, actor.at)
            return 200, epoch_view(book_key, price_epochs.stop(uow, book, data.reason, services.signer, actor))

        return await in_thread(services, request, idempotency_key, work, needs_key=False)


def _card(services: Services, request: ApiRequest, book_key: str, version: int | None) -> ModelCardView:
    with services.database.reading(request.user.tenant) as uow:
        model = kept_model(uow, book_key, version)
    return {"model": model_view(model), "card": None if model.card is None else dict(model.card)}


def _whole(uow: UnitOfWork, kept: KeptProposal, at: datetime) -> WholeProposalView:
    return whole_proposal_view(kept, kept.state(next_to_publish(uow, kept.book_key, at)))


def _check_known(uow: UnitOfWork, book_key: str) -> None:
    if not PriceBookRepository(uow).releases(book_key):
        raise NotFoundError("no such price book", field="book", value=book_key, code="unknown_price_book")
