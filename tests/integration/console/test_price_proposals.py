"""A price takes two people: the one who drafts it never decides, and each step leaves a trace."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from billing import audit, price_proposals
from billing.audit import Actor
from billing.price_proposals import ProposalMovedError, ProposalState, SecondPersonError
from billing.publishing import AlreadyPublishedError, publish
from billing.repositories.price_books import PriceBookRepository
from models.tables.base import table_of
from models.tables.console import PriceProposalRow
from models.values.errors import RuleBrokenError
from pricing_engine.price_book import parse_price_book
from tests.billing_story import repriced
from tests.integration.api.door import START, Door
from tests.integration.console.browsing import Browsing
from tests.quote_facts import SIGNER

DEARER = parse_price_book(repriced("seats", {"model": "unit", "unit_amount": "11"}))
ANN, BOB = Actor("ann", START), Actor("bob", START)


def drafted(door: Door, state: str = "draft") -> str:
    with door.database.writing("default") as uow:
        price_proposals.draft(uow, "p1", DEARER, "costs rose", ANN)
        if state == "asked":
            price_proposals.ask(uow, "p1", ANN)
    return "p1"


def test_somebody_else_publishes_and_both_names_stay_on_record(door: Door) -> None:
    with door.database.writing("default") as uow:
        drafted_id = price_proposals.draft(uow, "p1", DEARER, "costs rose", ANN).id
        price_proposals.ask(uow, drafted_id, ANN)
        stored = price_proposals.approve(uow, drafted_id, SIGNER, BOB)
    with door.database.reading("default") as uow:
        release = PriceBookRepository(uow).releases("gateway")[-1]
        assert (release.content_hash, release.actor, release.approver) == (stored.content_hash, "ann", "bob")
        assert price_proposals.proposal(uow, "p1").state is ProposalState.PUBLISHED
        trail = [(entry.actor, entry.action) for entry in audit.entries(uow)][-3:]
    assert trail == [
        ("ann", "price_proposal.draft"),
        ("ann", "price_proposal.ask"),
        ("bob", "price_book.publish"),
    ]


def test_nobody_decides_about_their_own(door: Door) -> None:
    drafted(door, "asked")
    for decide in (
        lambda uow: price_proposals.approve(uow, "p1", SIGNER, ANN),
        lambda uow: price_proposals.send_back(uow, "p1", "no", ANN),
        lambda uow: publish(uow, DEARER, SIGNER, START, "ann", "ann"),
    ):
        with pytest.raises(SecondPersonError), door.database.writing("default") as uow:
            decide(uow)
    table = table_of(PriceProposalRow)
    with pytest.raises(IntegrityError), door.database.writing("default") as uow:
        uow.connection.execute(update(table).values(state="published", decided_by="ann"))


def test_only_its_author_moves_a_draft_and_nothing_moves_twice(door: Door) -> None:
    drafted(door)
    steps: tuple[Any, ...] = (price_proposals.ask, price_proposals.withdraw)
    for step in steps:
        with pytest.raises(RuleBrokenError), door.database.writing("default") as uow:
            step(uow, "p1", BOB)
    with pytest.raises(ProposalMovedError), door.database.writing("default") as uow:
        price_proposals.approve(uow, "p1", SIGNER, BOB)
    with door.database.writing("default") as uow:
        price_proposals.ask(uow, "p1", ANN)
    with pytest.raises(ProposalMovedError), door.database.writing("default") as uow:
        price_proposals.redraft(uow, "p1", DEARER, "", ANN)
    with door.database.writing("default") as uow:
        price_proposals.send_back(uow, "p1", "too dear", BOB)
        assert price_proposals.redraft(uow, "p1", DEARER, "", ANN).remark == ""
        price_proposals.withdraw(uow, "p1", ANN)
    with pytest.raises(ProposalMovedError), door.database.writing("default") as uow:
        price_proposals.ask(uow, "p1", ANN)


def test_a_refused_publication_leaves_the_proposal_where_it_was(door: Door) -> None:
    taken = parse_price_book(repriced("seats", {"model": "unit", "unit_amount": "12"}, version=1))
    with door.database.writing("default") as uow:
        price_proposals.draft(uow, "p1", taken, "", ANN)
        price_proposals.ask(uow, "p1", ANN)
    with pytest.raises(AlreadyPublishedError), door.database.writing("default") as uow:
        price_proposals.approve(uow, "p1", SIGNER, BOB)
    with door.database.reading("default") as uow:
        assert price_proposals.proposal(uow, "p1").state is ProposalState.ASKED


def test_a_text_that_is_no_catalog_comes_back_with_line_and_rule(door: Door) -> None:
    browsing = Browsing(door)
    browsing.sign_in("ann")
    for text, said in (
        ("a: [", "catalog:"),
        ("a: !!python/object:x {}\n", "catalog"),
        ("key: x\nkey: y\n", "catalog:2"),
        ("<script>alert(1)</script>", "must be one object"),
        ("key: gateway\nversion: 0\n", "catalog:"),
    ):
        answer = browsing.post("/console/product/prices", {"document": text, "reason": "r"})
        assert answer.status_code == 422, text
        assert said in answer.text, text
        assert "<script>alert" not in answer.text
