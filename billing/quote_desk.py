"""Quotes that are asked for together are priced, sealed and stored in one transaction, each with its kept answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import uuid_utils
from sqlalchemy.exc import IntegrityError, OperationalError

from billing.database import Database
from billing.group_commit import GroupWriter
from billing.pricing_facts import FactsReader
from billing.quotes import QuoteRequest, holds_units, seal_quote, store_quote
from billing.repositories.quotes import NewQuote, QuoteRepository
from billing.request_keys import KeptAnswer, check_digest, keep_answers, known_answers, once, wait_briefly
from billing.unit_of_work import UnitOfWork
from models.values.errors import DomainError
from pricing_engine.sealing import Signer

CREATED = 201


@dataclass(frozen=True, slots=True)
class QuoteOrder:
    """A quote asked for under an idempotency key. `digest`: hash of what the key is bound to; `shown`: the answer."""

    key: str
    digest: str
    request: QuoteRequest
    shown: Callable[[NewQuote], str]


class QuoteDesk(GroupWriter[QuoteOrder, KeptAnswer]):
    """Answers each order with the text it is answered with for ever."""

    name = "quotes"
    max_group = 64

    def __init__(self, database: Database, signer: Signer, clock: Callable[[UnitOfWork], datetime]) -> None:
        self._database = database
        self._signer = signer
        self._clock = clock
        super().__init__()

    def write(self, tenant: str, asked: Sequence[QuoteOrder]) -> Sequence[KeptAnswer | Exception]:
        """Make the quotes together, or one by one where another process holds one of their keys."""
        try:
            return self._database.write(tenant, lambda uow: _Together(uow, self._signer, self._clock(uow)).make(asked))
        except (IntegrityError, OperationalError):
            return [self._alone(tenant, order) for order in asked]

    def _alone(self, tenant: str, order: QuoteOrder) -> KeptAnswer | Exception:
        try:
            return once(self._database, tenant, order.key, order.digest, self._clock, partial(self._make, order))
        except Exception as error:  # Not swallowed: whoever waits for the answer gets it.
            return error

    def _make(self, order: QuoteOrder, uow: UnitOfWork) -> tuple[int, str]:
        at = self._clock(uow)
        quote, priced = seal_quote(
            uow.tenant, FactsReader(uow, self._signer, at), order.request, self._signer, at, str(uuid_utils.uuid7())
        )
        store_quote(uow, quote, priced)
        return CREATED, order.shown(quote)


class _Together:
    """One group in its transaction. A refused order leaves nothing and its key free; the others go on."""

    def __init__(self, uow: UnitOfWork, signer: Signer, at: datetime) -> None:
        self._uow = uow
        self._signer = signer
        self._at = at
        self._facts = FactsReader(uow, signer, at)
        self._quotes: list[NewQuote] = []

    def make(self, orders: Sequence[QuoteOrder]) -> list[KeptAnswer | Exception]:
        wait_briefly(self._uow)
        known = known_answers(self._uow, {order.key for order in orders})
        made: dict[str, tuple[str, KeptAnswer]] = {}
        answers: list[KeptAnswer | Exception] = []
        for order in orders:
            try:
                answers.append(self._answer(order, known, made))
            except DomainError as error:
                answers.append(error)
        QuoteRepository(self._uow).add(self._quotes)
        keep_answers(self._uow, made, self._at)
        return answers

    def _answer(
        self,
        order: QuoteOrder,
        known: dict[str, tuple[str, KeptAnswer]],
        made: dict[str, tuple[str, KeptAnswer]],
    ) -> KeptAnswer:
        earlier = known.get(order.key)
        if earlier is not None:
            check_digest(order.key, earlier[0], order.digest)
            return earlier[1]
        quote_id = str(uuid_utils.uuid7())
        quote, priced = seal_quote(self._uow.tenant, self._facts, order.request, self._signer, self._at, quote_id)
        text = order.shown(quote)
        if holds_units(priced):
            with self._uow.connection.begin_nested():
                store_quote(self._uow, quote, priced)
        else:
            self._quotes.append(quote)
        made[order.key] = (order.digest, KeptAnswer(CREATED, text, replayed=False))
        known[order.key] = (order.digest, KeptAnswer(CREATED, text, replayed=True))
        return made[order.key][1]
