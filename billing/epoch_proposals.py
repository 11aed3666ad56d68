"""Proposed epochs, kept until one is published: made from the log, judged by the gates, shown to whoever decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import polars as pl
from sqlalchemy import select, update

from billing import price_epochs
from billing.audit import Actor
from billing.demand_models import window_of
from billing.publishing import SecondPersonError
from billing.repositories.demand_models import StoredModel
from billing.repositories.inserting import insert_new
from billing.repositories.paging import earlier_than
from billing.repositories.price_books import PriceBookRepository, StoredBook, StoredSheet
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.demand import EpochProposalRow
from models.values.errors import InvalidValueError, NotFoundError
from pricing_engine.demand.proposal_document import PROPOSAL_KIND, EpochDraft
from pricing_engine.demand.publishing_gates import Gates, objections
from pricing_engine.demand.sheet_evaluation import evaluate_sheets
from pricing_engine.sealing import Signer, open_sealed, seal

_PROPOSAL = table_of(EpochProposalRow)


class EpochState(StrEnum):
    """Where a proposed epoch stands: `stale` is one that can no longer be published."""

    OPEN = "open"
    PUBLISHED = "published"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class EpochOrder:
    """How to propose. `holdout`: share of customers kept on list prices; `seed`: of the posterior draw."""

    holdout: Decimal = Decimal("0.05")
    seed: int = 0
    gates: Gates = field(default_factory=Gates)

    def __post_init__(self) -> None:
        """Refuse a seed below zero."""
        if self.seed < 0:
            raise InvalidValueError("must be >= 0", field="seed", value=self.seed)


@dataclass(frozen=True, slots=True)
class KeptProposal:
    """A proposed epoch as it is kept: see `EpochProposalRow`."""

    id: str
    book_key: str
    book_hash: str
    epoch: int
    document: Mapping[str, Any]
    objections: tuple[str, ...]
    proposed_by: str
    proposed_at: datetime
    published_by: str | None = None
    published_at: datetime | None = None

    def state(self, fitting: tuple[str, int] | None) -> EpochState:
        """Return where it stands, given the book and epoch that may be published next: see `next_to_publish`."""
        if self.published_at is not None:
            return EpochState.PUBLISHED
        return EpochState.OPEN if fitting == (self.book_hash, self.epoch) else EpochState.STALE

    def check_other(self, name: str) -> None:
        """Raise SecondPersonError where whoever decides proposed it."""
        if self.proposed_by == name:
            raise SecondPersonError("needs a second person", field="proposal", value=name)

    def content(self, path: str) -> Any:  # noqa: ANN401
        """Return one section of the sealed document, like `proposal` or `changes`."""
        return open_sealed(self.document, PROPOSAL_KIND).content(path)


def draft_epoch(
    uow: UnitOfWork, book: StoredBook, model: StoredModel | None, at: datetime, order: EpochOrder
) -> EpochDraft:
    """Propose a book's next epoch and ask the log what it would have earned. Reads, and takes its time.

    Raises RuleBrokenError where the book has no adaptive feature, InvalidValueError for a holdout that is no share.
    """
    log = None if model is None else window_of(model).read(uow, book.book)
    draft = price_epochs.propose(uow, book, model, log, at, seed=order.seed, holdout=order.holdout)
    if model is None or log is None or draft.proposal.fallback:
        return draft
    return _evaluated(draft, model, log, order)


def keep_proposal(
    uow: UnitOfWork, book: StoredBook, draft: EpochDraft, order: EpochOrder, signer: Signer, actor: Actor
) -> KeptProposal:
    """Seal a proposal and keep it with what speaks against publishing it by itself; the same again changes nothing."""
    sealed = seal(PROPOSAL_KIND, draft.sections(), signer.salt_for(PROPOSAL_KIND, draft.document()), signer)
    kept = KeptProposal(
        id=sealed["hash"],
        book_key=draft.book_key,
        book_hash=book.content_hash,
        epoch=draft.proposal.epoch,
        document=sealed,
        objections=objections(draft, order.gates),
        proposed_by=actor.name,
        proposed_at=actor.at,
    )
    row = {name: getattr(kept, name) for name in KeptProposal.__slots__}
    insert_new(uow, _PROPOSAL, {**row, "tenant": uow.tenant, "objections": list(kept.objections)})
    return proposal(uow, kept.book_key, kept.id)


def publish_proposal(uow: UnitOfWork, document: object, signer: Signer, actor: Actor) -> list[StoredSheet]:
    """Put a sealed proposal in force; where it is kept here, say by whom. Raises what `publish_epoch` raises."""
    stored = price_epochs.publish_epoch(uow, document, signer, actor)
    sealed: Mapping[str, Any] = document  # type: ignore[assignment]  # It was opened.
    mine = (_PROPOSAL.c.tenant == uow.tenant) & (_PROPOSAL.c.id == sealed["hash"])
    uow.connection.execute(update(_PROPOSAL).where(mine).values(published_by=actor.name, published_at=actor.at))
    return stored


def proposal(uow: UnitOfWork, book_key: str, proposal_id: str) -> KeptProposal:
    """Return one proposal for a book. Raises NotFoundError."""
    query = _of(uow, book_key).where(_PROPOSAL.c.id == proposal_id)
    row = uow.connection.execute(query).mappings().first()
    if row is None:
        raise NotFoundError("no such proposal", field="proposal", value=proposal_id, code="unknown_proposal")
    return _kept(row)


def proposals(
    uow: UnitOfWork, book_key: str, limit: int, before: tuple[datetime, str] | None = None
) -> list[KeptProposal]:
    """Return a book's proposals, the newest first; those `before` a time and id."""
    query = _of(uow, book_key)
    if before is not None:
        query = query.where(earlier_than([_PROPOSAL.c.proposed_at, _PROPOSAL.c.id], before))
    rows = uow.connection.execute(query.order_by(_PROPOSAL.c.proposed_at.desc(), _PROPOSAL.c.id.desc()).limit(limit))
    return [_kept(row) for row in rows.mappings()]


def next_to_publish(uow: UnitOfWork, book_key: str, at: datetime) -> tuple[str, int] | None:
    """Return the version of a book that is in force, by hash, and its next epoch; None where none is in force."""
    books = PriceBookRepository(uow)
    live = next((book for book in books.in_force(at) if book.book.key == book_key), None)
    if live is None:
        return None
    known = [stored.sheet for stored in books.sheets(live.content_hash)]
    return live.content_hash, price_epochs.next_epoch(known)


def _evaluated(draft: EpochDraft, model: StoredModel, log: pl.DataFrame, order: EpochOrder) -> EpochDraft:
    try:
        evaluation = evaluate_sheets(
            log, model.posterior, draft.sheets, seed=order.seed,
            least_effective_quotes=order.gates.least_effective_quotes,
            unit_values={each.feature: each.unit_value for each in draft.proposal.shortages},
        )  # fmt: skip
    except InvalidValueError as error:
        return replace(draft, not_evaluated=str(error))
    return replace(draft, evaluation=evaluation)


def _of(uow: UnitOfWork, book_key: str) -> Any:  # noqa: ANN401
    return select(_PROPOSAL).where(_PROPOSAL.c.tenant == uow.tenant, _PROPOSAL.c.book_key == book_key)


def _kept(row: Mapping[str, Any]) -> KeptProposal:
    values = {name: row[name] for name in KeptProposal.__slots__}
    return KeptProposal(**{**values, "objections": tuple(row["objections"])})
