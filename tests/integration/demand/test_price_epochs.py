"""Epochs on a real database: what rails are told of past sheets, what the log makes of quotes, one sheet an epoch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest
from msgspec import structs

from api.cli.demand_text import proposal_lines
from billing.audit import Actor
from billing.customers import Customer, LegalEntity
from billing.database import Database
from billing.demand_log import read_quote_log
from billing.demand_models import LogWindow, keep_model
from billing.price_epochs import model_in_force, propose, publish_epoch, stop
from billing.publishing import add_sheet, publish
from billing.quotes import QuoteRequest, create_quote, release_quote
from billing.repositories.customers import CustomerRepository
from billing.repositories.price_books import PriceBookRepository, StoredBook
from billing.unit_of_work import UnitOfWork
from models.values.errors import ConflictError, RuleBrokenError
from pricing_engine.demand.guardrails import Rail
from pricing_engine.demand.learning import learn
from pricing_engine.demand.proposal_document import PROPOSAL_KIND, EpochDraft
from pricing_engine.demand.sheet_evaluation import evaluate_sheets
from pricing_engine.negotiated_terms import NegotiatedTerm
from pricing_engine.price_sheet import PriceSheet
from pricing_engine.sealing import SealBrokenError, new_signer, seal
from tests.quote_facts import BOOK, SIGNER, jittered_sheet, price_book
from tests.unit.demand.test_selections import START, log_of

D = Decimal
AT = datetime(2026, 3, 1, tzinfo=UTC)
TENANT = "default"
SALT = b"proposal salt, 32 bytes of it, secret"


@pytest.fixture
def book(database: Database) -> StoredBook:
    """A book in force that tells one segment apart, with two customers."""
    with database.writing(TENANT) as uow:
        customers = CustomerRepository(uow)
        customers.save_legal_entity(LegalEntity("hq", "Alacarte Ltd", "IE"))
        people = [Customer("acme", "hq", "ACME", "DE", "USD"), Customer("globex", "hq", "Globex", "DE", "USD")]
        customers.save(people, AT)
        segmentation = {"formed_from": {"eu": ["country"]}}
        return publish(uow, price_book(segmentation=segmentation), SIGNER, AT - timedelta(days=90), "ann")


def sheet_at(book: StoredBook, epoch: int, days: int, price: str, segment: str = "default") -> PriceSheet:
    """A sheet without jitter, in force from some days after AT."""
    seats = structs.replace(
        jittered_sheet(book.content_hash).prices[0], price=D(price), lowest=D(price), highest=D(price), jitter=D(0)
    )
    sheet = jittered_sheet(book.content_hash)
    start = AT + timedelta(days=days)
    return structs.replace(sheet, epoch=epoch, segment=segment, effective_from=start, prices=(seats,), model_hash="")


def test_rails_know_the_prices_of_the_last_thirty_days(database: Database, book: StoredBook) -> None:
    """8 until day 0, then 7.4, then 7: the model wants far more, and may go to 7 x 1.1."""
    log = log_of(600, slope=0.1).with_columns(segment=pl.lit("default"))
    with database.writing(TENANT) as uow:
        model = keep_model(uow, "gateway", learn(log), LogWindow(AT, AT + timedelta(days=1)), AT)
        for sheet in (sheet_at(book, 1, 0, "7.4"), sheet_at(book, 2, 20, "7"), sheet_at(book, 2, 20, "7.2", "eu")):
            add_sheet(uow, sheet, SIGNER, AT)
        draft = propose(uow, book, model, log, AT + timedelta(days=25), seed=1, holdout=D("0.1"))
        seats = draft.proposal.price_of("default", "seats")
        assert seats.railed.price == D("7.7")
        assert [(hit.rail, hit.bound) for hit in seats.railed.hits][-1] == (Rail.STEP, D("7.70"))
        assert (draft.before["default"].epoch, draft.before["eu"].price_of("seats").price) == (2, D("7.2"))
        # The model has not seen the other segment.
        assert draft.sheets["eu"].price_of("seats").price == D(8)
        assert draft.sheets["default"].holdout == D("0.1")
        assert {sheet.epoch for sheet in draft.sheets.values()} == {3}

        # Within 30 days of 5, nothing may be dearer than 5 x 1.3, though 7 is in force.
        add_sheet(uow, sheet_at(book, 3, 26, "5"), SIGNER, AT)
        add_sheet(uow, sheet_at(book, 4, 27, "7"), SIGNER, AT)
        seats = propose(uow, book, model, log, AT + timedelta(days=28), seed=1).proposal.price_of("default", "seats")
        assert (seats.railed.price, seats.railed.hits[0].rail) == (D("6.5"), Rail.STEP_30_DAYS)


def test_what_is_left_of_a_limited_feature_has_to_last(database: Database, book: StoredBook) -> None:
    """Twelve seats, two of them held: ten are to last three months, and six hundred a day are asked for."""
    rails = {"largest_step": "0.5", "largest_step_30_days": "0.5", "segment_ratio": None, "supply_days": 90}
    limited = [
        {**each, "supply_limit": 12, "rails": rails} if each["key"] == "seats" else each for each in BOOK["features"]
    ]
    log = log_of(600).with_columns(segment=pl.lit("default"))
    with database.writing(TENANT) as uow:
        ample = propose_seats(uow, book, log)
        stored = publish(uow, price_book(version=4, features=limited), SIGNER, AT - timedelta(days=1), "ann")
        create_quote(uow, QuoteRequest("acme", {"seats": "2"}), SIGNER, AT, "held")
        short = propose_seats(uow, stored, log)
    assert "limited_supply" not in ample.changes()[0]
    assert ample.sheets["default"].price_of("seats").price < short.sheets["default"].price_of("seats").price == D(12)
    found = short.changes()[0]["limited_supply"]
    assert (found["left"], found["until"]) == (10, "2026-05-31")
    assert 600 * 90 / 4 < float(found["wanted"]) < 600 * 90
    assert float(found["unit_value"]) > 1
    [line] = [line for line in proposal_lines(short) if "limited supply: 10 left, about" in line]
    assert "wanted until 2026-05-31, a unit kept earns" in line
    # What is kept for later counts where the log is asked what these prices would have earned.
    parts = [
        evaluate_sheets(log, learn(log), short.sheets, seed=1, least_effective_quotes=1, unit_values=values)
        for values in ({}, {"seats": float(found["unit_value"])})
    ]
    assert parts[0].uplift.value < 0 < parts[1].uplift.value


def propose_seats(uow: UnitOfWork, book: StoredBook, log: pl.DataFrame) -> EpochDraft:
    """Propose from a log that ends when the day does."""
    model = keep_model(uow, "gateway", learn(log), LogWindow(START, START + timedelta(days=1)), AT)
    return propose(uow, book, model, log, AT + timedelta(days=1), seed=1)


def test_a_proposal_is_published_whole_once_and_by_its_own_key(database: Database, book: StoredBook) -> None:
    log = log_of(600).with_columns(segment=pl.lit("default"))
    actor = Actor("ann", AT + timedelta(days=2))
    with database.writing(TENANT) as uow:
        model = keep_model(uow, "gateway", learn(log), LogWindow(AT, AT + timedelta(days=1)), AT)
        again = keep_model(uow, "gateway", learn(log), LogWindow(AT, AT + timedelta(days=9)), AT)
        assert (again.version, again.learned_until) == (1, model.learned_until)
        draft = propose(uow, book, model, log, AT, seed=1)
        sealed = seal(PROPOSAL_KIND, draft.sections(), SALT, SIGNER)
        with pytest.raises(SealBrokenError, match="another key"):
            publish_epoch(uow, seal(PROPOSAL_KIND, draft.sections(), SALT, new_signer()), SIGNER, actor)
        stored = publish_epoch(uow, sealed, SIGNER, actor)
        assert [each.sheet.effective_from for each in stored] == [actor.at]
        assert PriceBookRepository(uow).current_sheet(book.content_hash, "any", actor.at) == stored[0]
        in_force = model_in_force(uow, book, actor.at)
        assert in_force is not None
        assert in_force.content_hash == model.content_hash
        with pytest.raises(ConflictError, match="another epoch"):
            publish_epoch(uow, sealed, SIGNER, actor)
        with pytest.raises(ConflictError) as taken:
            add_sheet(uow, sheet_at(book, stored[0].sheet.epoch, 1, "7"), SIGNER, AT)
        assert taken.value.code == "epoch_taken"

        draft = propose(uow, book, model, log, actor.at, seed=1)
        publish(uow, price_book(version=4), SIGNER, actor.at, "ann")
        with pytest.raises(ConflictError, match="not in force"):
            publish_epoch(uow, seal(PROPOSAL_KIND, draft.sections(), SALT, SIGNER), SIGNER, actor)


def test_a_book_without_adaptive_features_has_no_epochs(database: Database, book: StoredBook) -> None:
    fixed = [{**feature, "adaptive": False} for feature in BOOK["features"]]
    with database.writing(TENANT) as uow:
        plain = publish(uow, price_book(version=4, features=fixed), SIGNER, AT, "ann")
        for attempt in (
            lambda: propose(uow, plain, None, None, AT, seed=1),
            lambda: stop(uow, plain, "why not", SIGNER, Actor("ann", AT)),
        ):
            with pytest.raises(RuleBrokenError, match="no adaptive feature"):
                attempt()


def test_the_log_says_what_came_of_each_quote_and_what_of_it_can_move(database: Database, book: StoredBook) -> None:
    quotes = {
        "drawn": ("acme", {"tokens": "2000000", "seats": "3", "cache": True, "sso": True}),
        "unasked": ("acme", {"tokens": "0", "seats": "1"}),
        "negotiated": ("globex", {"seats": "3"}),
        "late": ("acme", {"seats": "2"}),
    }
    with database.writing(TENANT) as uow:
        term = NegotiatedTerm("seats", "volume", "bob", AT - timedelta(days=1), percent=D(10))
        CustomerRepository(uow).add_term("t1", "globex", term, AT)
        add_sheet(uow, structs.replace(jittered_sheet(book.content_hash), effective_from=AT), SIGNER, AT)
        for key, (customer, selection) in quotes.items():
            create_quote(uow, QuoteRequest(customer, selection), SIGNER, AT + timedelta(days=1), key)
        release_quote(uow, "drawn", AT + timedelta(days=2))
        release_quote(uow, "late", AT + timedelta(days=30))
        window = (AT, AT + timedelta(days=20))
        log = read_quote_log(uow, book.book, *window)
        silent = read_quote_log(uow, book.book, *window, silence_is_refusal=True)
    rows = {row["quote_id"]: row for row in log.iter_rows(named=True)}
    assert {key: row["outcome"] for key, row in rows.items()} == {
        "drawn": "declined", "unasked": "expired", "negotiated": "expired", "late": "expired",
    }  # fmt: skip
    assert set(silent["outcome"]) == {"declined"}
    assert {key: row["price_source"] for key, row in rows.items()} == {
        "drawn": "randomised", "unasked": "randomised", "negotiated": "human", "late": "randomised",
    }  # fmt: skip
    drawn = rows["drawn"]
    assert dict(zip(drawn["features"], drawn["quantities"], strict=True)) == {
        "tokens": 2e6, "cache": 1, "seats": 3, "sso": 1,
    }  # fmt: skip
    assert drawn["density"] > 0
    assert drawn["unit_cost"] == 2 + 2 + 4.5 + 38
    assert drawn["rest_cost"] == 2 + 2 + 38
    with database.reading(TENANT) as uow:
        sheet = PriceBookRepository(uow).current_sheet(book.content_hash, "default", AT + timedelta(days=1))
    assert sheet.sheet.epoch == 4
    billed = dict(zip(drawn["features"], drawn["billed"], strict=True))
    assert (billed["tokens"], billed["cache"], billed["sso"]) == (0, 0, 0)
    assert 2 < billed["seats"] <= 3  # Three seats, less what the bundle takes off.
    assert 7.3 <= (drawn["price"] - drawn["rest"]) / billed["seats"] <= 7.9
    assert rows["unasked"]["features"] == ["seats"]
    assert (rows["negotiated"]["density"], rows["late"]["rest"]) == (None, 0)
