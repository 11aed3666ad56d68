"""Quotes that are asked for together are priced, sealed and stored in one transaction, each with its kept answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

import uuid_utils
from sqlalchemy.exc import IntegrityError, OperationalError

from billing.database import Database, OvertimeError, UnreachableError
from billing.group_commit import GroupWriter
from billing.pricing_facts import FactsReader, PricingFacts
from billing.quotes import Priced, QuoteRequest, holds_units, seal_quote, store_quote
from billing.repositories.quotes import NewQuote, QuoteRepository
from billing.request_keys import KeptAnswer, check_digest, keep_answers, known_answers, once, wait_briefly
from billing.unit_of_work import UnitOfWork
from models.values.errors import DomainError
from pricing_engine.sealing import Signer

CREATED = 201
_ZERO = timedelta(0)
_PATIENCE_SECONDS = 10.0
_RECENT = timedelta(seconds=5)
"""How long before the transaction a quote may say it was created."""


class _Draft(NamedTuple):
    """A quote sealed ahead of the transaction that stores it, from facts that may have changed since."""

    quote: NewQuote
    priced: Priced
    text: str


@dataclass(frozen=True, slots=True)
class QuoteOrder:
    """A quote asked for under an idempotency key. `digest`: hash of what the key is bound to; `shown`: the answer."""

    key: str
    digest: str
    request: QuoteRequest
    asked_at: datetime
    shown: Callable[[NewQuote], str]


class QuoteDesk(GroupWriter[QuoteOrder, KeptAnswer]):
    """Answers each order with the text it is answered with for ever.

    Quotes are sealed before the write lock is taken, from the facts that the last group read; those whose facts its
    transaction does not find again are sealed anew in it.
    """

    name = "quotes"
    max_group = 64

    def __init__(self, database: Database, signer: Signer, clock: Callable[[UnitOfWork], datetime]) -> None:
        self._database = database
        self._signer = signer
        self._clock = clock
        self._last_facts: Mapping[tuple[str, str | None], PricingFacts] = {}
        self._last_tenant = ""
        super().__init__()

    def write(self, tenant: str, asked: Sequence[QuoteOrder]) -> Sequence[KeptAnswer | Exception]:
        """Make the quotes together, or one by one where another process holds one of their keys."""
        drafts = [self._sealed_ahead(tenant, order) for order in asked]
        try:
            return self._database.write(tenant, lambda uow: self._together(uow, asked, drafts))
        except OvertimeError:
            raise
        except (IntegrityError, OperationalError, UnreachableError):
            return self._one_by_one(tenant, asked)

    def _sealed_ahead(self, tenant: str, order: QuoteOrder) -> _Draft | None:
        facts = self._last_facts.get((order.request.customer, order.request.channel))
        if facts is None or tenant != self._last_tenant:
            return None
        try:
            return _drafted(tenant, order, facts, self._signer, order.asked_at)
        except DomainError:  # The transaction will say so, unless it knows an answer under the order's key.
            return None

    def _together(
        self, uow: UnitOfWork, asked: Sequence[QuoteOrder], drafts: Sequence[_Draft | None]
    ) -> Sequence[KeptAnswer | Exception]:
        group = _Together(uow, self._signer, self._clock(uow))
        answers = group.make(asked, drafts)
        self._last_tenant, self._last_facts = uow.tenant, group.facts.known
        return answers

    def _one_by_one(self, tenant: str, asked: Sequence[QuoteOrder]) -> Sequence[KeptAnswer | Exception]:
        """Make the quotes one by one, until nobody waits any more: each may have to wait for another process."""
        until = time.monotonic() + _PATIENCE_SECONDS
        late = UnreachableError("does not answer; send it again", field="database")
        return [self._alone(tenant, order) if time.monotonic() < until else late for order in asked]

    def _alone(self, tenant: str, order: QuoteOrder) -> KeptAnswer | Exception:
        try:
            return once(self._database, tenant, order.key, order.digest, self._clock, partial(self._make, order))
        except Exception as error:  # Not swallowed: whoever waits for the answer gets it.
            return error

    def _make(self, order: QuoteOrder, uow: UnitOfWork) -> tuple[int, str]:
        at = self._clock(uow)
        facts = FactsReader(uow, self._signer, at).read(order.request.customer, order.request.channel)
        quote, priced, text = _drafted(uow.tenant, order, facts, self._signer, at)
        store_quote(uow, quote, priced)
        return CREATED, text


def _drafted(tenant: str, order: QuoteOrder, facts: PricingFacts, signer: Signer, at: datetime) -> _Draft:
    quote, priced = seal_quote(tenant, facts, order.request, signer, at, str(uuid_utils.uuid7()))
    return _Draft(quote, priced, order.shown(quote))


class _Together:
    """One group in its transaction. A refused order leaves nothing and its key free; the others go on."""

    def __init__(self, uow: UnitOfWork, signer: Signer, at: datetime) -> None:
        self._uow = uow
        self._signer = signer
        self._at = at
        self.facts = FactsReader(uow, signer, at)
        self._quotes: list[NewQuote] = []

    def make(self, orders: Sequence[QuoteOrder], drafts: Sequence[_Draft | None]) -> list[KeptAnswer | Exception]:
        wait_briefly(self._uow)
        known = known_answers(self._uow, {order.key for order in orders})
        made: dict[str, tuple[str, KeptAnswer]] = {}
        answers: list[KeptAnswer | Exception] = []
        for order, draft in zip(orders, drafts, strict=True):
            try:
                answers.append(self._answer(order, draft, known, made))
            except DomainError as error:
                answers.append(error)
        QuoteRepository(self._uow).add(self._quotes)
        keep_answers(self._uow, made, self._at)
        return answers

    def _answer(
        self,
        order: QuoteOrder,
        draft: _Draft | None,
        known: dict[str, tuple[str, KeptAnswer]],
        made: dict[str, tuple[str, KeptAnswer]],
    ) -> KeptAnswer:
        earlier = known.get(order.key)
        if earlier is not None:
            check_digest(order.key, earlier[0], order.digest)
            return earlier[1]
        quote, priced, text = self._confirmed(order, draft)
        if holds_units(priced):
            with self._uow.connection.begin_nested():
                store_quote(self._uow, quote, priced)
        else:
            self._quotes.append(quote)
        made[order.key] = (order.digest, KeptAnswer(CREATED, text, replayed=False))
        known[order.key] = (order.digest, KeptAnswer(CREATED, text, replayed=True))
        return made[order.key][1]

    def _confirmed(self, order: QuoteOrder, draft: _Draft | None) -> _Draft:
        """Return the draft where this transaction reads the facts it was sealed from, else seal the quote now."""
        facts = self.facts.read(order.request.customer, order.request.channel)
        if draft is not None and draft.priced.facts == facts and _ZERO <= self._at - draft.quote.created_at < _RECENT:
            return draft
        return _drafted(self._uow.tenant, order, facts, self._signer, self._at)
