"""The checkout door: a quote as its buyer sees it, sealed, verified, forged and refused; and how to ask for one."""

from __future__ import annotations

import json
import secrets
from datetime import timedelta
from typing import Any

import msgspec
import uuid_utils
from litestar import Controller, Response, post
from litestar.datastructures import State
from litestar.params import FromPath

from api.console.forms import Form, selection_of_form, text
from api.console.pages import ConsoleRequest, actor_of, get, go_to, page
from api.console.quote_view import selection_page
from api.console.samples import asked_again, samples
from api.console.sessions import has_role
from api.schemas.keys import key_document
from api.schemas.quotes import preview_view
from api.services import Services
from billing import audit
from billing.api_keys import Scope, create_key
from billing.people import Role
from billing.publishing import sealed_book, sealed_sheet
from billing.quotes import QuoteRequest, create_quote, release_quote
from billing.repositories.customers import CustomerRepository
from billing.repositories.price_books import PriceBookRepository
from billing.repositories.quotes import QuoteRepository
from models.values.errors import DomainError, InvalidValueError
from pricing_engine.sealing import Disclosure, disclose
from pricing_engine.verification import Finding, Verdict, verify_quote

_HOLD = timedelta(hours=1)
_KEY_LASTS = timedelta(days=7)
_LARGEST_DOCUMENT = 1_000_000


class CheckoutController(Controller):
    """What a checkout team needs to see once."""

    path = "/checkout"
    guards = (has_role(Role.PRODUCT),)

    @get("/", sync_to_thread=True)
    def live(self, request: ConsoleRequest, state: State) -> Response[str]:
        """Price the selection in the address, for the buyer's eyes and as the API's JSON."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            shown = selection_page(uow, request.query_params, services.signer, services.now(uow))
        answer = "" if shown.priced is None else _pretty(msgspec.to_builtins(preview_view(shown.priced)))
        asked = {
            "customer": shown.customer.key,
            "selection": {
                choice.feature.key: True if choice.is_switch else choice.quantity.replace(",", "")
                for choice in shown.choices
                if choice.chosen
            },
        }
        return page(
            request, "checkout.html", shown=shown, asked=_pretty(asked), answer=answer,
            samples=_samples(request, asked),
        )  # fmt: skip

    @post("/quotes", sync_to_thread=True)
    def seal(self, data: Form, request: ConsoleRequest, state: State) -> Response[Any]:
        """Seal and store the quote, held for an hour."""
        services: Services = state.services
        quote_id = str(uuid_utils.uuid7())
        with services.database.writing(request.user.tenant) as uow:
            now = services.now(uow)
            customer = CustomerRepository(uow).get(text(data, "customer"))
            book = PriceBookRepository(uow).for_customer(customer.currency, customer.channel, now)
            wanted = QuoteRequest(customer.key, selection_of_form(data, book.book), hold_for=_HOLD)
            create_quote(uow, wanted, services.signer, now, quote_id)
        return go_to(f"/console/checkout/quotes/{quote_id}")

    @get("/quotes/{quote_id:str}", sync_to_thread=True)
    def sealed(self, quote_id: FromPath[str], request: ConsoleRequest, state: State) -> Response[str]:
        """Show a sealed quote as its buyer holds it, verified."""
        services: Services = state.services
        with services.database.reading(request.user.tenant) as uow:
            quote = QuoteRepository(uow).get(quote_id)
        return self._verified(request, services, quote_id, _pretty(disclose(quote.sealed, Disclosure.BUYER)))

    @post("/quotes/{quote_id:str}/verify", status_code=200, sync_to_thread=True)
    def verify(self, quote_id: FromPath[str], data: Form, request: ConsoleRequest, state: State) -> Response[str]:
        """Recompute what stands in the text field: the buyer's copy, or what became of it."""
        written = str(data.get("document", ""))
        if len(written) > _LARGEST_DOCUMENT:
            raise InvalidValueError(f"at most {_LARGEST_DOCUMENT} characters", field="document", value=len(written))
        return self._verified(request, state.services, quote_id, written)

    @post("/quotes/{quote_id:str}/release", sync_to_thread=True)
    def release(self, quote_id: FromPath[str], data: Form, request: ConsoleRequest, state: State) -> Response[Any]:
        """Give the quote up; what it held is free again."""
        services: Services = state.services
        with services.database.writing(request.user.tenant) as uow:
            release_quote(uow, quote_id, services.now(uow))
        return go_to(f"/console/checkout/quotes/{quote_id}")

    @post("/keys", status_code=200, sync_to_thread=True)
    def key(self, data: Form, request: ConsoleRequest, state: State) -> Response[str]:
        """Make a sandbox key for quotes alone and show it, once, inside the samples."""
        services: Services = state.services
        asked = asked_again(data)
        now = services.system_now()
        name = f"console {request.user.person.name}"
        with services.database.writing(request.user.tenant) as uow:
            key, token = create_key(
                uow, name, services.settings.environment, [Scope.QUOTE],
                secrets.token_hex(8), secrets.token_hex(32), now, now + _KEY_LASTS,
            )  # fmt: skip
            actor = actor_of(request, now)
            audit.record(uow, actor, "key.create", ("api_key", key.id), after=key_document(key))
        return page(request, "samples.html", token=token, samples=_samples(request, asked, token))

    def _verified(self, request: ConsoleRequest, services: Services, quote_id: str, written: str) -> Response[str]:
        with services.database.reading(request.user.tenant) as uow:
            quote = QuoteRepository(uow).get(quote_id)
            books = PriceBookRepository(uow)
            book = disclose(sealed_book(books.get(quote.book_hash), services.signer), Disclosure.BUYER)
            sheet = disclose(sealed_sheet(books.sheet(quote.sheet_hash), services.signer), Disclosure.BUYER)
        verdict = _verdict(written, book, sheet, services.signer.public_pem)
        return page(request, "sealed.html", quote=quote, written=written, verdict=verdict)


def _verdict(written: str, book: object, sheet: object, public_pem: bytes) -> Verdict:
    try:
        document = msgspec.json.decode(written)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        return Verdict("", (), (Finding("quote", str(error), "JSON"),), ())
    try:
        return verify_quote(document, book, sheet, public_pem)
    except DomainError as error:
        return Verdict("", (), (Finding(error.field or "quote", str(error.value), error.rule),), ())


def _samples(request: ConsoleRequest, asked: dict[str, Any], token: str | None = None) -> dict[str, str]:
    return samples(asked, str(request.base_url).rstrip("/"), token)


def _pretty(document: object) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False)
