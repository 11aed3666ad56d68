"""`alacarte quote`: preview, create, show, accept and release quotes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import uuid_utils
from rich.console import Console
from rich.table import Table

from api.cli.numbers import days, whole
from api.cli.terms import add_terms, terms_of
from api.cli.workspace import now_in, open_workspace
from billing.acceptance import accept_and_subscribe
from billing.publishing import sealed_book, sealed_sheet
from billing.quotes import QuoteRequest, create_quote, price_request, release_quote
from billing.repositories.price_books import PriceBookRepository
from billing.repositories.quotes import QuoteRepository
from models.values.errors import InvalidValueError
from models.values.quantity import plain
from pricing_engine.quoting import PricedQuote
from pricing_engine.sealing import Disclosure, disclose

_MOST_HOLD_DAYS = 366
_LEVELS = [level.value for level in Disclosure]


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    command = commands.add_parser("quote", help="preview, create, accept and release quotes")
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, run, help_ in (
        ("preview", run_preview, "price a selection; nothing is stored"),
        ("create", run_create, "price, seal and hold a selection; prints the quote's id"),
    ):
        action = actions.add_parser(name, help=help_)
        action.add_argument("customer")
        action.add_argument("selection", nargs="+", metavar="FEATURE=QUANTITY")
        if name == "create":
            action.add_argument("--hold-days", type=whole, default=14)
        action.set_defaults(run=run)
    export = actions.add_parser("export", help="write a quote with its book, sheet and key, ready for verify")
    export.add_argument("quote")
    export.add_argument("folder", type=Path)
    export.add_argument("--level", choices=_LEVELS, default=Disclosure.BUYER.value)
    export.set_defaults(run=run_export)
    accept = actions.add_parser("accept", help="accept exactly once; starts the subscription")
    accept.add_argument("quote")
    accept.add_argument("--key", help="idempotency key (default: the quote's id)")
    add_terms(accept)
    accept.set_defaults(run=run_accept)
    release = actions.add_parser("release", help="give a quote up")
    release.add_argument("quote")
    release.set_defaults(run=run_release)


def read_selection(pairs: Iterable[str]) -> dict[str, Any]:
    """Read FEATURE or FEATURE=QUANTITY, `true` for a switch. Raises InvalidValueError for a feature named twice."""
    selection: dict[str, Any] = {}
    for pair in pairs:
        feature, equals, quantity = pair.partition("=")
        if not equals:
            quantity = "1"
        if feature in selection:
            raise InvalidValueError("feature stands twice", field="selection", value=feature)
        selection[feature] = json.loads(quantity) if quantity == "true" or quantity.startswith("{") else quantity
    return selection


def _request(options: argparse.Namespace) -> QuoteRequest:
    hold_for = days(getattr(options, "hold_days", 14), _MOST_HOLD_DAYS, "hold_days")
    return QuoteRequest(options.customer, read_selection(options.selection), hold_for=hold_for)


def run_preview(options: argparse.Namespace) -> int:
    """Price and explain."""
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        priced = price_request(uow, _request(options), settings.signer(), now_in(settings, uow))
    Console().print(quote_table(priced.quote, priced.book.book.currency))
    return 0


def run_create(options: argparse.Namespace) -> int:
    """Create and print the id."""
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        quote = create_quote(uow, _request(options), settings.signer(), now_in(settings, uow), str(uuid_utils.uuid7()))
    print(quote.id)
    return 0


def run_accept(options: argparse.Namespace) -> int:
    """Accept."""
    terms, key = terms_of(options), options.key or options.quote
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        accepted = accept_and_subscribe(uow, options.quote, key, now_in(settings, uow), terms, actor="cli")
    print(f"{options.quote} accepted; subscription {accepted.id}")
    return 0


def run_release(options: argparse.Namespace) -> int:
    """Release."""
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        release_quote(uow, options.quote, now_in(settings, uow))
    print(f"{options.quote} released")
    return 0


def run_export(options: argparse.Namespace) -> int:
    """Write the four files that `alacarte verify` takes."""
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        quote = QuoteRepository(uow).get(options.quote)
        books = PriceBookRepository(uow)
        book, sheet = books.get(quote.book_hash), books.sheet(quote.sheet_hash)
        signer = settings.signer()
    level = Disclosure(options.level)
    documents = {"quote": quote.sealed, "book": sealed_book(book, signer), "sheet": sealed_sheet(sheet, signer)}
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, document in documents.items():
        text = json.dumps(disclose(document, level), ensure_ascii=False, sort_keys=True)
        (options.folder / f"{name}.json").write_text(text + "\n")
    (options.folder / "public.pem").write_bytes(signer.public_pem)
    folder = options.folder
    print(
        f"alacarte verify {folder}/quote.json --price-book {folder}/book.json "
        f"--price-sheet {folder}/sheet.json --key {folder}/public.pem"
    )
    return 0


def quote_table(quote: PricedQuote, currency: str) -> Table:
    """Return a quote as a table for people: each line, its reasons, its cost and what dropping it would save."""
    table = Table(title=f"Total {plain(quote.total)} {currency}")
    for column in ("feature", "quantity", "list", "adjustments", "amount", "cost", "drop saves"):
        table.add_column(column, justify="left" if column in {"feature", "adjustments"} else "right")
    for line in quote.lines:
        reasons = "\n".join(f"{step.reason} {step.detail}: {plain(step.amount)}" for step in line.adjustments)
        table.add_row(
            line.feature,
            plain(line.chosen.quantity),
            plain(line.list_amount),
            reasons,
            plain(line.amount),
            plain(line.cost),
            plain(line.saved_if_dropped),
        )
    return table
