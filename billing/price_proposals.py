"""Price books on their way into force: drafted by one person, published only with a second one's approval.

draft -> asked -> published, or returned with a remark and drafted again; a draft may be withdrawn. Each step is
audited in its own transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import insert, select, update

from billing import audit
from billing.audit import Actor
from billing.publishing import SecondPersonError, publish
from billing.repositories.paging import earlier_than
from billing.repositories.price_books import PriceBookRepository, StoredBook
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.console import PriceProposalRow
from models.values.canonical_json import content_hash
from models.values.errors import ConflictError, NotFoundError, RuleBrokenError
from pricing_engine.price_book import PriceBook, parse_price_book, price_book_document
from pricing_engine.sealing import Signer

LONGEST_REASON = 500
_PROPOSAL = table_of(PriceProposalRow)


class ProposalState(StrEnum):
    """Where a proposal stands."""

    DRAFT = "draft"
    ASKED = "asked"
    PUBLISHED = "published"
    RETURNED = "returned"
    WITHDRAWN = "withdrawn"


EDITABLE = frozenset({ProposalState.DRAFT, ProposalState.RETURNED})


class ProposalMovedError(ConflictError):
    """The proposal is no longer in the state this step starts from."""

    code = "proposal_moved"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A price book somebody wants in force, and where that stands."""

    id: str
    book: PriceBook
    state: ProposalState
    author: str
    reason: str
    created_at: datetime
    changed_at: datetime
    decided_by: str | None
    remark: str

    @property
    def revision(self) -> str:
        """What it says and where it stands, in one word: it changes with either."""
        said = [price_book_document(self.book), self.state.value, self.author, self.reason, self.remark]
        return content_hash([*said, self.changed_at.isoformat()])


def draft(uow: UnitOfWork, proposal_id: str, book: PriceBook, reason: str, actor: Actor) -> Proposal:
    """Keep a price book as a draft. `proposal_id`: a fresh UUID."""
    document = price_book_document(book)
    uow.connection.execute(
        insert(_PROPOSAL).values(
            tenant=uow.tenant,
            id=proposal_id,
            book_key=book.key,
            document=document,
            state=ProposalState.DRAFT.value,
            author=actor.name,
            reason=reason,
            created_at=actor.at,
            changed_at=actor.at,
            remark="",
        )
    )
    audit.record(uow, actor, "price_proposal.draft", ("price_proposal", proposal_id), after=document)
    return proposal(uow, proposal_id)


def redraft(uow: UnitOfWork, proposal_id: str, book: PriceBook, reason: str, actor: Actor) -> Proposal:
    """Change a draft, or one that was returned. Raises ProposalMovedError, RuleBrokenError for another's."""
    before = _own(uow, proposal_id, actor)
    document = price_book_document(book)
    _move(
        uow, proposal_id, EDITABLE, ProposalState.DRAFT, actor,
        document=document, book_key=book.key, reason=reason, decided_by=None, remark="",
    )  # fmt: skip
    audit.record(
        uow, actor, "price_proposal.draft", ("price_proposal", proposal_id),
        before=price_book_document(before.book), after=document,
    )  # fmt: skip
    return proposal(uow, proposal_id)


def ask(uow: UnitOfWork, proposal_id: str, actor: Actor) -> Proposal:
    """Ask for approval; from now on the draft stands still. Raises ProposalMovedError, RuleBrokenError."""
    _own(uow, proposal_id, actor)
    _move(uow, proposal_id, {ProposalState.DRAFT}, ProposalState.ASKED, actor)
    audit.record(uow, actor, "price_proposal.ask", ("price_proposal", proposal_id))
    return proposal(uow, proposal_id)


def withdraw(uow: UnitOfWork, proposal_id: str, actor: Actor) -> Proposal:
    """Give a proposal up. Raises ProposalMovedError, RuleBrokenError."""
    _own(uow, proposal_id, actor)
    undecided = {ProposalState.DRAFT, ProposalState.ASKED, ProposalState.RETURNED}
    _move(uow, proposal_id, undecided, ProposalState.WITHDRAWN, actor, decided_by=None)
    audit.record(uow, actor, "price_proposal.withdraw", ("price_proposal", proposal_id))
    return proposal(uow, proposal_id)


def approve(uow: UnitOfWork, proposal_id: str, signer: Signer, actor: Actor) -> StoredBook:
    """Publish what somebody else asked for. Raises SecondPersonError, ProposalMovedError, and what `publish` raises."""
    found = _of_another(uow, proposal_id, actor)
    _move(uow, proposal_id, {ProposalState.ASKED}, ProposalState.PUBLISHED, actor, decided_by=actor.name)
    stored = publish(uow, found.book, signer, actor.at, found.author, actor.name)
    audit.record(
        uow, actor, "price_book.publish", ("price_book", found.book.key), after=price_book_document(found.book)
    )
    return stored


def send_back(uow: UnitOfWork, proposal_id: str, remark: str, actor: Actor) -> Proposal:
    """Return a proposal to its author. Raises SecondPersonError, ProposalMovedError."""
    _of_another(uow, proposal_id, actor)
    _move(uow, proposal_id, {ProposalState.ASKED}, ProposalState.RETURNED, actor, decided_by=actor.name, remark=remark)
    audit.record(uow, actor, "price_proposal.return", ("price_proposal", proposal_id))
    return proposal(uow, proposal_id)


def proposal(uow: UnitOfWork, proposal_id: str, *, lock: bool = False) -> Proposal:
    """Return one proposal; with `lock` nobody else changes it in the meantime. Raises NotFoundError."""
    query = select(_PROPOSAL).where(_is(uow, proposal_id))
    row = uow.connection.execute(query.with_for_update() if lock else query).mappings().first()
    if row is None:
        raise NotFoundError("no such proposal", field="proposal", value=proposal_id, code="unknown_proposal")
    return _proposal(row)


def proposals(
    uow: UnitOfWork, limit: int = 50, before: tuple[datetime, str] | None = None, *, withdrawn: bool = True
) -> list[Proposal]:
    """Return the proposals changed last, newest first. `before`: time and id of the last one of the page before."""
    query = select(_PROPOSAL).where(_PROPOSAL.c.tenant == uow.tenant)
    if before is not None:
        query = query.where(earlier_than([_PROPOSAL.c.changed_at, _PROPOSAL.c.id], before))
    if not withdrawn:
        query = query.where(_PROPOSAL.c.state != ProposalState.WITHDRAWN.value)
    rows = uow.connection.execute(query.order_by(_PROPOSAL.c.changed_at.desc(), _PROPOSAL.c.id.desc()).limit(limit))
    return [_proposal(row) for row in rows.mappings()]


def replaced(uow: UnitOfWork, found: Proposal) -> StoredBook | None:
    """Return what a proposal replaces: the release before its own where it was published, else the newest one."""
    books = PriceBookRepository(uow)
    log = books.releases(found.book.key)
    if found.state is ProposalState.PUBLISHED:
        log = [each for each in log if each.recorded_at < found.changed_at]
    return books.get(log[-1].content_hash) if log else None


def _own(uow: UnitOfWork, proposal_id: str, actor: Actor) -> Proposal:
    found = proposal(uow, proposal_id)
    if found.author != actor.name:
        raise RuleBrokenError("only its author changes a proposal", field="proposal", code="not_the_author")
    return found


def _of_another(uow: UnitOfWork, proposal_id: str, actor: Actor) -> Proposal:
    found = proposal(uow, proposal_id)
    if found.author == actor.name:
        raise SecondPersonError("needs a second person", field="proposal", value=actor.name)
    return found


def _move(
    uow: UnitOfWork,
    proposal_id: str,
    before: set[ProposalState] | frozenset[ProposalState],
    after: ProposalState,
    actor: Actor,
    **more: Any,  # noqa: ANN401
) -> None:
    """Take one step; where somebody else was faster, none."""
    states = [state.value for state in before]
    moved = uow.connection.execute(
        update(_PROPOSAL)
        .where(_is(uow, proposal_id), _PROPOSAL.c.state.in_(states))
        .values(state=after.value, changed_at=actor.at, **more)
    )
    if moved.rowcount != 1:
        raise ProposalMovedError(f"must be {' or '.join(sorted(states))} for this", field="proposal.state")


def _is(uow: UnitOfWork, proposal_id: str) -> Any:  # noqa: ANN401
    return (_PROPOSAL.c.tenant == uow.tenant) & (_PROPOSAL.c.id == proposal_id)


def _proposal(row: Mapping[str, Any]) -> Proposal:
    return Proposal(
        id=row["id"],
        book=parse_price_book(row["document"]),
        state=ProposalState(row["state"]),
        **{name: row[name] for name in ("author", "reason", "created_at", "changed_at", "decided_by", "remark")},
    )
