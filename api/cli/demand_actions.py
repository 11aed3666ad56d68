"""The actions of `alacarte demand`; see `api.cli.demand` for their options."""

from __future__ import annotations

import argparse
import json
from datetime import timedelta
from decimal import Decimal

import polars as pl

from api.catalog_file import decode_json_object
from api.cli.customer_attributes import read_attributes
from api.cli.demand_text import (
    card_lines,
    evaluation_lines,
    fit_lines,
    objection_lines,
    proposal_lines,
    sheet_lines,
    watch_lines,
)
from api.cli.progress import step
from api.cli.workspace import current_time, now_in, open_workspace
from api.settings import Settings
from billing import demand_watch, price_epochs
from billing.audit import Actor
from billing.database import Database
from billing.demand_models import LogWindow, keep_model, kept_model
from billing.demand_watch import WatchOrder, drift_in_force, drift_sentence
from billing.epoch_proposals import EpochOrder, draft_epoch, keep_proposal, publish_proposal
from billing.repositories.demand_models import DemandModelRepository
from billing.repositories.price_books import PriceBookRepository, StoredSheet
from billing.segment_checks import segment_check
from billing.unit_of_work import UnitOfWork
from billing.whole_files import write_whole
from models.values.errors import InvalidValueError, NotFoundError, RuleBrokenError
from models.values.quantity import parse_decimal
from pricing_engine.demand.learning import card_document, learn
from pricing_engine.demand.publishing_gates import Gates
from pricing_engine.price_book import PriceBook

_CENTURY = timedelta(days=36_525)


def fit(options: argparse.Namespace) -> int:
    """Read, fit, judge, keep, and say what was learned and what should worry."""
    learn_from = _days(options.days)
    with open_workspace() as (settings, database):
        until = current_time(settings, database)
        window = LogWindow(until - learn_from, until, options.silence_is_refusal)
        with database.reading(settings.tenant) as uow:
            book = PriceBookRepository(uow).one_in_force(options.book, until).book
            log = _read(uow, book, window)
            proxies = segment_check(uow, book, read_attributes(options.attributes), until)
        with step("fitting"):
            posterior = learn(log)
        with step("predicting quotes that taught nothing"):
            card = card_document(log, posterior, proxies)
        if card is None and options.attributes is not None:
            raise RuleBrokenError("too few decisions for a card to say it", field="attributes", code="no_model_card")
        model = database.write(
            settings.tenant, lambda uow: keep_model(uow, book.key, posterior, window, until, card=card)
        )
    _print(fit_lines(model, log))
    return 0


def card(options: argparse.Namespace) -> int:
    """Show the card that was written with a model."""
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        book = PriceBookRepository(uow).one_in_force(options.book, now_in(settings, uow)).book
        model = kept_model(uow, book.key, options.model)
    found = model.card
    if found is None:
        raise NotFoundError("has no card: too few decisions to judge it", field="model", code="no_model_card")
    if options.json:
        print(json.dumps({"version": model.version, **found}, ensure_ascii=False, indent=2))
    else:
        _print(card_lines(found, model))
    return 0


def propose(options: argparse.Namespace) -> int:
    """Propose, say what would change and why, keep the sealed proposal and write it."""
    holdout = parse_decimal(options.holdout, "holdout", minimum=Decimal(0))
    order = EpochOrder(holdout=holdout, seed=options.seed)
    with open_workspace() as (settings, database):
        actor = Actor(options.actor, current_time(settings, database))
        signer = settings.signer()
        with database.reading(settings.tenant) as uow:
            book = PriceBookRepository(uow).one_in_force(options.book, actor.at)
            models = DemandModelRepository(uow)
            key = book.book.key
            model = models.newest(key) if options.model is None else models.get(key, options.model)
            with step("proposing"):
                draft = draft_epoch(uow, book, model, actor.at, order)
        kept = database.write(settings.tenant, lambda uow: keep_proposal(uow, book, draft, order, signer, actor))
    _print([*proposal_lines(draft), *evaluation_lines(draft), *objection_lines(kept)])
    write_whole(options.out, [json.dumps(kept.document, ensure_ascii=False, indent=1).encode(), b"\n"])
    print(f"put it in force with: alacarte demand publish {options.out}")
    return 0


def publish(options: argparse.Namespace) -> int:
    """Publish a proposal's sheets."""
    try:
        document = decode_json_object(options.file.read_bytes(), str(options.file))
    except OSError as error:
        raise InvalidValueError(
            error.strerror or "cannot be read", field=str(options.file), code="unreadable_file"
        ) from error
    with open_workspace() as (settings, database):
        actor = Actor(options.actor, current_time(settings, database))
        signer = settings.signer()
        stored = database.write(settings.tenant, lambda uow: publish_proposal(uow, document, signer, actor))
    _print(sheet_lines(stored))
    return 0


def stop(options: argparse.Namespace) -> int:
    """Go back to list prices."""
    with open_workspace() as (settings, database):
        _stop(settings, database, options, options.reason)
    return 0


def drift(options: argparse.Namespace) -> int:
    """Compare what came after the model in force was fitted with what it predicts."""
    with open_workspace() as (settings, database):
        now = current_time(settings, database)
        with database.reading(settings.tenant) as uow, step("reading quotes"):
            found = drift_in_force(uow, PriceBookRepository(uow).one_in_force(options.book, now), now)
        if found is None:
            print("list prices are in force: there is no model to drift from")
            return 0
        sentence = drift_sentence(*found)
        print(sentence)
        is_alarmed = found[1].alarmed
        if is_alarmed and options.stop:
            _stop(settings, database, options, sentence)
    return 1 if is_alarmed else 0


def watch(options: argparse.Namespace) -> int:
    """Look once, as a scheduler does: alarm, next epoch, publish what needs no person."""
    gates = Gates(largest_risk=float(parse_decimal(options.largest_risk, "largest_risk", minimum=Decimal(0))))
    holdout = parse_decimal(options.holdout, "holdout", minimum=Decimal(0))
    order = WatchOrder(
        epoch=_span(timedelta(hours=1), options.epoch_hours, "epoch_hours"),
        learn_from=_days(options.days),
        silence_is_refusal=options.silence_is_refusal,
        is_automatic=options.automatic,
        attributes=read_attributes(options.attributes),
        proposing=EpochOrder(holdout=holdout, seed=options.seed, gates=gates),
    )
    with open_workspace() as (settings, database), step("watching"):
        actor = Actor(options.actor, current_time(settings, database))
        found = demand_watch.watch(database, settings.tenant, options.book, order, settings.signer(), actor)
    _print(watch_lines(found))
    return 1 if found.is_alarmed else 0


def _days(count: int) -> timedelta:
    return _span(timedelta(days=1), count, "days")


def _span(unit: timedelta, count: int, field: str) -> timedelta:
    """Return so many units, up to a century."""
    most = _CENTURY // unit
    if not 1 <= count <= most:
        raise InvalidValueError(f"must be within 1..{most}", field=field, value=count)
    return count * unit


def _stop(settings: Settings, database: Database, options: argparse.Namespace, reason: str) -> None:
    signer, actor = settings.signer(), Actor(options.actor, current_time(settings, database))

    def stopped(uow: UnitOfWork) -> list[StoredSheet]:
        book = PriceBookRepository(uow).one_in_force(options.book, actor.at)
        return price_epochs.stop(uow, book, reason, signer, actor)

    _print(sheet_lines(database.write(settings.tenant, stopped)))


def _read(uow: UnitOfWork, book: PriceBook, window: LogWindow) -> pl.DataFrame:
    with step("reading quotes") as bar:
        task = bar.task_ids[0]
        return window.read(uow, book, lambda read: bar.update(task, description=f"reading quotes: {read}"))


def _print(lines: list[str]) -> None:
    print("\n".join(lines))
