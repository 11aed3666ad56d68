"""A company that sells seats at 8 and keeps what became of its quotes: demand tests share it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

from msgspec import structs
from sqlalchemy import insert, select

from billing import audit
from billing.customers import Customer, LegalEntity
from billing.database import Database
from billing.publishing import add_sheet, publish, sealed_book, sealed_sheet
from billing.quotes import QuoteRequest, create_quote
from billing.repositories.customers import CustomerRepository
from billing.repositories.demand_models import DemandModelRepository
from billing.repositories.price_books import PriceBookRepository
from billing.repositories.quotes import QuoteRepository, StoredQuote
from billing.unit_of_work import UnitOfWork
from models.tables.base import TenantRow, table_of
from models.tables.customer import CustomerRow
from models.tables.quote import QuoteRow
from pricing_engine.negotiated_terms import NegotiatedTerm
from pricing_engine.verification import verify_quote
from tests.quote_facts import SIGNER, jittered_sheet, price_book

QUOTES = 300
TENANT = "default"
BEGAN = datetime(2026, 1, 2, tzinfo=UTC)
"""Fixed, as draws depend on when a sheet begins."""

Chance = Callable[[int, float], float]
"""The chance that a customer, by number, takes one seat at a price."""


Row = dict[str, Any]
_kept: dict[str, list[Row]] = {}
"""Customers and quotes that were made once: the same for every shop, and slow to make."""


def _keep(uow: UnitOfWork, of: type[TenantRow], name: str, column: str, keys: set[str]) -> None:
    """Keep rows for the next shop."""
    table = table_of(of)
    rows = uow.connection.execute(select(table).where(table.c.tenant == TENANT, table.c[column].in_(keys)))
    _kept[f"{of.__name__} {name}"] = [dict(row) for row in rows.mappings()]


def _put_again(uow: UnitOfWork, of: type[TenantRow], name: str, change: Callable[[Row], Row] = dict) -> bool:
    """Put kept rows into a database; False where none were kept yet."""
    rows = _kept.get(f"{of.__name__} {name}")
    if rows is None:
        return False
    uow.connection.execute(insert(table_of(of)), [change(row) for row in sorted(rows, key=_order)])
    return True


def _order(row: Row) -> Any:
    """Return the order in which rows were made: quotes are decided in it."""
    return row["created_at"] if "created_at" in row else row["key"]


def falling(_customer: int, price: float, intercept: float = 6.0) -> float:
    """Return the chance to take a seat where price is all that counts: sigma(6 - 0.75 price)."""
    return 1 / (1 + math.exp(0.75 * price - intercept))


class Shop:
    """A company that sells seats at 8, its database and a folder to work in."""

    def __init__(self, database: Database, folder: Path, book_hash: str | None = None) -> None:
        self.database, self.folder = database, folder
        self.dice = random.Random(5)
        self.began = BEGAN
        self.percent = 0
        with database.writing(TENANT) as uow:
            CustomerRepository(uow).save_legal_entity(LegalEntity("hq", "Alacarte Ltd", "IE"))
            if not _put_again(uow, CustomerRow, "everyone"):
                everyone = [Customer(f"c{number}", "hq", f"c{number}", "DE", "USD") for number in range(QUOTES)]
                CustomerRepository(uow).save(everyone, self.began)
                _keep(uow, CustomerRow, "everyone", "key", {each.key for each in everyone})
            if book_hash is None:
                self.book = publish(uow, price_book(), SIGNER, self.began, "ann")
            else:
                self.book = PriceBookRepository(uow).get(book_hash)

    def sell(self, chance: Chance = falling) -> None:
        """Draw a price between 6 and 10 for nine customers of ten; each decides at once."""
        sheet = jittered_sheet(self.book.content_hash)
        wide = structs.replace(
            sheet.prices[0], price=Decimal(8), lowest=Decimal(6), highest=Decimal(10), jitter=Decimal("0.2")
        )
        sheet = structs.replace(sheet, epoch=1, effective_from=self.began, prices=(wide,), holdout=Decimal("0.1"))
        with self.database.writing(TENANT) as uow:
            add_sheet(uow, sheet, SIGNER, self.began)
            name = f"{self.book.content_hash} {self.percent}"
            if not _put_again(uow, QuoteRow, name, self._decided(chance)):
                moments = [self.began + timedelta(hours=number) for number in range(QUOTES)]
                made = [self.quote_in(uow, number, at, chance).id for number, at in enumerate(moments)]
                _keep(uow, QuoteRow, name, "id", set(made))

    def negotiate(self, percent: int) -> None:
        """Let a person take so much off for every second customer."""
        self.percent = percent
        with self.database.writing(TENANT) as uow:
            for number in range(0, QUOTES, 2):
                term = NegotiatedTerm(
                    "seats", "volume", "bob", self.began - timedelta(days=1), percent=Decimal(percent)
                )
                CustomerRepository(uow).add_term(f"t{number}", f"c{number}", term, self.began)

    def repeat(self, times: int, chance: Chance = falling) -> None:
        """Ask every customer so many times more for what was asked before, at the same price, each a new decision."""
        quotes = table_of(QuoteRow)
        with self.database.writing(TENANT) as uow:
            rows = [dict(row) for row in uow.connection.execute(select(quotes)).mappings()]
            decide = self._decided(chance)
            again = [{**decide(row), "id": str(uuid4()), "accept_key": None} for row in rows * times]
            uow.connection.execute(insert(quotes), again)

    def _decided(self, chance: Chance) -> Callable[[Row], Row]:
        """Return how a quote's row is decided anew."""

        def decide(row: Row) -> Row:
            taken = self.dice.random() < chance(int(row["customer"][1:]), float(row["total"]))
            return {**row, "state": "accepted" if taken else "released"}

        return decide

    def quote(self, number: int, at: datetime, *, intercept: float = 6.0) -> StoredQuote:
        """Quote one seat to a customer, who decides at once."""
        with self.database.writing(TENANT) as uow:
            return self.quote_in(uow, number, at, lambda customer, price: falling(customer, price, intercept))

    def quote_in(self, uow: UnitOfWork, number: int, at: datetime, chance: Chance) -> StoredQuote:
        """Quote one seat within a unit of work."""
        made = create_quote(uow, QuoteRequest(f"c{number}", {"seats": "1"}), SIGNER, at, f"{at:%s.%f}-{number}")
        taken = self.dice.random() < chance(number, float(made.total))
        QuoteRepository(uow).resolve(made.id, "accepted" if taken else "released", at)
        return made

    def quoted_now(self, number: int) -> tuple[Decimal, str]:
        """Return the total and the model of a quote made now, after verifying it offline."""
        made = self.quote(number, datetime.now(UTC))
        with self.database.reading(TENANT) as uow:
            books = PriceBookRepository(uow)
            sheet = sealed_sheet(books.sheet(made.sheet_hash), SIGNER)
        assert verify_quote(made.sealed, sealed_book(self.book, SIGNER), sheet, SIGNER.public_pem).verified
        return made.total, made.sealed["sections"]["quote"]["content"]["model"]

    def model_hash(self) -> str:
        """Return the hash of the newest model kept."""
        with self.database.reading(TENANT) as uow:
            model = DemandModelRepository(uow).newest("gateway")
        assert model is not None
        assert model.posterior.content_hash == model.content_hash
        return model.content_hash

    def audited(self) -> list[tuple[str, str]]:
        """Return what the audit trail says of prices: actor and action."""
        with self.database.reading(TENANT) as uow:
            entries = audit.entries(uow)
        return [(entry.actor, entry.action) for entry in entries if entry.action.startswith("price_epoch")]
