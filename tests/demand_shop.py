"""A company that sells seats at 8 and keeps what became of its quotes: demand tests share it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
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
from models.tables.base import table_of
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


def falling(_customer: int, price: float, intercept: float = 6.0) -> float:
    """Return the chance to take a seat where price is all that counts: sigma(6 - 0.75 price)."""
    return 1 / (1 + math.exp(0.75 * price - intercept))


class Shop:
    """A company that sells seats at 8, its database and a folder to work in."""

    def __init__(self, database: Database, folder: Path, book_hash: str | None = None) -> None:
        self.database, self.folder = database, folder
        self.dice = random.Random(5)
        self.began = BEGAN
        with database.writing(TENANT) as uow:
            customers = CustomerRepository(uow)
            customers.save_legal_entity(LegalEntity("hq", "Alacarte Ltd", "IE"))
            everyone = [Customer(f"c{number}", "hq", f"c{number}", "DE", "USD") for number in range(QUOTES)]
            customers.save(everyone, self.began)
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
            for number in range(QUOTES):
                self.quote_in(uow, number, self.began + timedelta(hours=number), chance)

    def negotiate(self, percent: int) -> None:
        """Let a person take so much off for every second customer."""
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
            again = []
            for row in rows * times:
                taken = self.dice.random() < chance(int(row["customer"][1:]), float(row["total"]))
                state = "accepted" if taken else "released"
                again.append({**row, "id": str(uuid4()), "state": state, "accept_key": None})
            uow.connection.execute(insert(quotes), again)

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
