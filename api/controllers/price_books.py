"""Price books: what is in force, sealed copies at a reader's level, diff, publish, archive."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypedDict

from litestar import Controller, get, post
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.response.base import ASGIResponse

from api.idempotency import OptionalKey, in_thread
from api.requests import ApiRequest, actor_of
from api.schemas.price_books import (
    ChangesView,
    PublishedView,
    ReleaseList,
    SealedView,
    changes_view,
    published_view,
    release_document,
)
from api.security import ForbiddenError, all_of, any_of
from api.services import Services
from billing import audit
from billing.api_keys import Scope
from billing.publishing import archive, publish, sealed_book, sealed_sheet
from billing.repositories.price_books import PriceBookRepository, StoredBook
from billing.unit_of_work import UnitOfWork
from models.values.errors import InvalidValueError
from pricing_engine.price_book import diff_price_books, parse_price_book, price_book_document
from pricing_engine.sealing import Disclosure, disclose

Level = Annotated[str, QueryParameter(description="buyer, transparent or auditor; the last two need price_admin")]


_ALONE = all_of(Scope.PRICE_ADMIN, Scope.PRICE_APPROVE)
"""For a key that may do both parts: where the second person looks elsewhere, as at a pull request."""


class ArchivedView(TypedDict):
    """A book that is out of force."""

    key: str
    state: Literal["archived"]


class PriceBookController(Controller):
    """Versions are immutable and named by their hash."""

    path = "/v1/price-books"
    tags = ("price books",)

    @get("/", operation_id="ListPriceBooks", scopes=any_of(Scope.READ, Scope.PRICE_ADMIN), sync_to_thread=True)
    def list(self, request: ApiRequest, state: State) -> ReleaseList:
        """Return every book's log: what came into force when, and by whom."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            releases = PriceBookRepository(uow).releases()
        return {"items": [release_document(each) for each in releases]}

    @get(
        "/{content_hash:str}",
        operation_id="ReadPriceBook",
        scopes=any_of(Scope.READ, Scope.QUOTE, Scope.PRICE_ADMIN),
        sync_to_thread=True,
        answer=SealedView,
    )
    def read(
        self, content_hash: FromPath[str], request: ApiRequest, state: State, level: Level = "buyer"
    ) -> dict[str, Any]:
        """Return the sealed document of a version; it verifies at every level."""
        services: Services = state.services
        shown = _level(level, request)
        with services.database.reading(request.user.tenant) as uow:
            stored = PriceBookRepository(uow).get(content_hash)
        return disclose(sealed_book(stored, services.signer), shown)

    @get(
        "/{content_hash:str}/diff/{other_hash:str}",
        operation_id="DiffPriceBooks",
        scopes=any_of(Scope.PRICE_ADMIN),
        sync_to_thread=True,
    )
    def diff(
        self, content_hash: FromPath[str], other_hash: FromPath[str], request: ApiRequest, state: State
    ) -> ChangesView:
        """Return every difference from one version to another."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            books = PriceBookRepository(uow)
            changes = diff_price_books(books.get(content_hash).book, books.get(other_hash).book)
        return changes_view(changes)

    @post("/", operation_id="PublishPriceBook", scopes=_ALONE, answer=PublishedView)
    async def publish(
        self,
        data: JSONBody[dict[str, Any]],
        request: ApiRequest,
        state: State,
        idempotency_key: OptionalKey = None,
    ) -> ASGIResponse:
        """Bring a version into force without a second key's approval. An earlier one again is the rollback."""
        services: Services = state.services

        def work(uow: UnitOfWork) -> tuple[int, object]:
            now, book = services.now(uow), parse_price_book(data)
            before = _in_force(uow, book.key)
            stored = publish(uow, book, services.signer, now, request.user.key.name)
            audit.record(
                uow,
                actor_of(request, now),
                "price_book.publish",
                ("price_book", book.key),
                before=None if before is None else price_book_document(before.book),
                after=price_book_document(stored.book),
            )
            return 201, published_view(stored)

        return await in_thread(services, request, idempotency_key, work, needs_key=False)

    @post(
        "/{book_key:str}/archive",
        operation_id="ArchivePriceBook",
        scopes=_ALONE,
        status_code=200,
        answer=ArchivedView,
    )
    async def archive(
        self, book_key: FromPath[str], request: ApiRequest, state: State, idempotency_key: OptionalKey = None
    ) -> ASGIResponse:
        """Take a book out of force; its subscriptions keep their version."""
        services: Services = state.services

        def work(uow: UnitOfWork) -> tuple[int, object]:
            now = services.now(uow)
            archive(uow, book_key, now, request.user.key.name)
            audit.record(uow, actor_of(request, now), "price_book.archive", ("price_book", book_key))
            return 200, {"key": book_key, "state": "archived"}

        return await in_thread(services, request, idempotency_key, work, needs_key=False)


class PriceSheetController(Controller):
    """The prices of one epoch and segment, named by their hash in each quote."""

    path = "/v1/price-sheets"
    tags = ("price books",)

    @get(
        "/{sheet_hash:str}",
        operation_id="ReadPriceSheet",
        scopes=any_of(Scope.READ, Scope.QUOTE, Scope.PRICE_ADMIN),
        sync_to_thread=True,
        answer=SealedView,
    )
    def read(
        self, sheet_hash: FromPath[str], request: ApiRequest, state: State, level: Level = "buyer"
    ) -> dict[str, Any]:
        """Return the sealed document of a sheet."""
        services: Services = state.services
        shown = _level(level, request)
        with services.database.reading(request.user.tenant) as uow:
            stored = PriceBookRepository(uow).sheet(sheet_hash)
        return disclose(sealed_sheet(stored, services.signer), shown)


def _level(level: str, request: ApiRequest) -> Disclosure:
    """Return the level that may be shown: what is beyond a buyer's is for those who set prices."""
    try:
        wanted = Disclosure(level)
    except ValueError as error:
        raise InvalidValueError(f"must be one of {', '.join(Disclosure)}", field="level", value=level) from error
    if wanted is not Disclosure.BUYER and Scope.PRICE_ADMIN not in request.user.key.scopes:
        raise ForbiddenError("needs the scope price_admin", field="level", value=level)
    return wanted


def _in_force(uow: UnitOfWork, book_key: str) -> StoredBook | None:
    books = PriceBookRepository(uow)
    log = books.releases(book_key)
    return books.get(log[-1].content_hash) if log else None
