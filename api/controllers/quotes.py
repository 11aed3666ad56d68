"""Quotes: preview, create, list, read, accept exactly once, release, verify."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from litestar import Controller, get, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.response.base import ASGIResponse

from api.idempotency import IdempotencyKey, digest_of, in_thread, kept_answer, needed
from api.pages import DEFAULT_LIMIT, Cursor, Limit, page, read_cursor
from api.requests import ApiRequest, json_answer, known_now, read_body
from api.schemas.quotes import (
    AcceptBody,
    AcceptedView,
    PreviewView,
    QuoteBody,
    QuotePage,
    QuoteView,
    ReleasedView,
    VerdictView,
    VerifyBody,
    listed_view,
    preview_view,
    quote_view,
)
from api.security import any_of
from api.services import Services
from billing.acceptance import accept_and_subscribe
from billing.api_keys import Scope
from billing.pricing_facts import FactsReader, PricingFacts
from billing.quote_desk import QuoteOrder
from billing.quotes import price_with, release_quote
from billing.repositories.quotes import NewQuote, QuoteRepository
from billing.unit_of_work import UnitOfWork
from pricing_engine.sealing import Disclosure, disclose
from pricing_engine.verification import verify_quote

QuoteState = Literal["open", "accepted", "released", "expired"]


class QuoteController(Controller):
    """The checkout's door."""

    path = "/v1/quotes"
    tags = ("quotes",)

    @post(
        "/preview",
        operation_id="PreviewQuote",
        scopes=any_of(Scope.QUOTE),
        status_code=200,
        body=QuoteBody,
        answer=PreviewView,
    )
    async def preview(self, request: ApiRequest) -> ASGIResponse:
        """Price and explain a selection; nothing is signed or stored."""
        services: Services = request.app.state.services
        wanted = read_body(await request.body(), QuoteBody).request()
        now = known_now(request, services.system_now())

        def read(uow: UnitOfWork) -> PricingFacts:
            return FactsReader(uow, services.signer, now).read(wanted.customer, wanted.channel)

        # Which book is in force depends on the time: facts of another second are other facts.
        name = ("pricing", wanted.customer, wanted.channel, now.replace(microsecond=0))
        facts = await services.kept.get(request.user.tenant, name, read, at=now)
        return json_answer(preview_view(price_with(facts, wanted, now)), 200)

    @post("/", operation_id="CreateQuote", scopes=any_of(Scope.QUOTE), body=QuoteBody, answer=QuoteView)
    async def create(self, request: ApiRequest, idempotency_key: IdempotencyKey = None) -> ASGIResponse:
        """Price, seal, hold and store a quote. Those that are asked for together share one commit."""
        services: Services = request.app.state.services
        wanted = read_body(await request.body(), QuoteBody).request()
        key = needed(idempotency_key)
        order = QuoteOrder(key, await digest_of(request), wanted, known_now(request, services.system_now()), _shown)
        return kept_answer(await services.quotes.ask(request.user.tenant, order))

    @get("/", operation_id="ListQuotes", scopes=any_of(Scope.QUOTE, Scope.READ), sync_to_thread=True)
    def list(
        self,
        request: ApiRequest,
        state: State,
        customer: Annotated[str | None, QueryParameter(required=False)] = None,
        standing: Annotated[QuoteState | None, QueryParameter(name="state", required=False)] = None,
        cursor: Cursor = None,
        limit: Limit = DEFAULT_LIMIT,
    ) -> QuotePage:
        """Return quotes without their documents, made last first."""
        services: Services = state.services
        name = f"quotes {standing or ''} {customer or ''}"
        place = read_cursor(services, request.user.tenant, name, cursor)
        with services.database.reading(request.user.tenant) as uow:
            before = place[0] if place else None
            found = QuoteRepository(uow).page(services.now(uow), before, limit, customer, standing)
        last = [found[-1].id] if found else []
        return page(services, request.user.tenant, name, [*map(listed_view, found)], limit, last)

    @get("/{quote_id:str}", operation_id="ReadQuote", scopes=any_of(Scope.QUOTE, Scope.READ), sync_to_thread=True)
    def read(self, quote_id: FromPath[str], request: ApiRequest, state: State) -> QuoteView:
        """Return a quote as its buyer sees it."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            quote = QuoteRepository(uow).get(quote_id).seen_at(services.now(uow))
        return quote_view(quote, disclose(quote.sealed, Disclosure.BUYER))

    @post(
        "/{quote_id:str}/accept",
        operation_id="AcceptQuote",
        scopes=any_of(Scope.QUOTE),
        status_code=200,
        answer=AcceptedView,
    )
    async def accept(
        self,
        quote_id: FromPath[str],
        data: JSONBody[AcceptBody],
        request: ApiRequest,
        state: State,
        idempotency_key: IdempotencyKey = None,
    ) -> ASGIResponse:
        """Accept a quote exactly once; its subscription starts now."""
        services: Services = state.services
        terms = data.terms()

        def work(uow: UnitOfWork) -> tuple[int, object]:
            key, actor = idempotency_key or quote_id, request.user.key.name
            subscription = accept_and_subscribe(uow, quote_id, key, services.now(uow), terms, actor=actor)
            return 200, {"quote": quote_id, "state": "accepted", "subscription": subscription.id}

        return await in_thread(services, request, idempotency_key, work)

    @post(
        "/{quote_id:str}/release",
        operation_id="ReleaseQuote",
        scopes=any_of(Scope.QUOTE),
        status_code=200,
        answer=ReleasedView,
    )
    async def release(
        self, quote_id: FromPath[str], request: ApiRequest, state: State, idempotency_key: IdempotencyKey = None
    ) -> ASGIResponse:
        """Give a quote up; what it held is free again."""
        services: Services = state.services

        def work(uow: UnitOfWork) -> tuple[int, object]:
            return 200, {"quote": quote_id, "state": release_quote(uow, quote_id, services.now(uow)).state}

        return await in_thread(services, request, idempotency_key, work)

    @post(
        "/verify",
        operation_id="VerifyQuote",
        scopes=any_of(Scope.QUOTE, Scope.READ),
        status_code=200,
        sync_to_thread=True,
    )
    def verify(self, data: JSONBody[VerifyBody], state: State) -> VerdictView:
        """Recompute a sealed quote against its book and sheet."""
        services: Services = state.services
        verdict = verify_quote(data.quote, data.price_book, data.price_sheet, services.signer.public_pem)
        return {
            "verified": verdict.verified,
            "quote": verdict.quote_id,
            "lines": list(verdict.lines),
            "undisclosed": list(verdict.undisclosed),
            "findings": [
                {"where": each.where, "stated": each.stated, "recomputed": each.recomputed} for each in verdict.findings
            ],
        }


def _shown(quote: NewQuote) -> str:
    return msgspec.json.encode(quote_view(quote, msgspec.Raw(quote.sealed.text(Disclosure.BUYER)))).decode()
