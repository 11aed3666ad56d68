"""The actions of `alacarte demand`; see `api.cli.demand` for their options."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

import polars as pl
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from api.catalog_file import decode_json_object
from api.cli.demand_text import card_lines, drift_line, evaluation_lines, fit_lines, proposal_lines, sheet_lines
from api.cli.whole_files import write_whole
from api.cli.workspace import open_workspace
from api.settings import Settings
from billing import price_epochs
from billing.audit import Actor
from billing.database import Database
from billing.demand_log import read_quote_log
from billing.demand_models import keep_model
from billing.repositories.demand_models import DemandModelRepository, StoredModel
from billing.repositories.price_books import PriceBookRepository, StoredBook
from billing.unit_of_work import UnitOfWork
from models.values.errors import InvalidValueError, NotFoundError
from models.values.quantity import parse_decimal
from pricing_engine.demand.learning import drift_from, learn
from pricing_engine.demand.model_card import model_card
from pricing_engine.demand.posterior_fit import fit_posterior
from pricing_engine.demand.proposal_document import PROPOSAL_KIND
from pricing_engine.demand.sheet_evaluation import evaluate_sheets
from pricing_engine.price_book import PriceBook
from pricing_engine.sealing import seal


def fit(options: argparse.Namespace) -> int:
    """Read, fit, keep, and say what was learned."""
    until = datetime.now(UTC)
    if options.days < 1:
        raise InvalidValueError("must be >= 1", field="days", value=options.days)
    since, silence = until - timedelta(days=options.days), options.silence_is_refusal
    with open_workspace() as (settings, database):
        with database.reading(settings.tenant) as uow:
            book = _book(uow, options.book, until).book
            log = _read(uow, book, since, until, silence_is_refusal=silence)
        with _step("fitting"):
            posterior = learn(log)
        model = database.write(
            settings.tenant,
            lambda uow: keep_model(uow, book.key, posterior, (since, until), until, silence_is_refusal=silence),
        )
    _print(fit_lines(model, log))
    return 0


def card(options: argparse.Namespace) -> int:
    """Write a model's card."""
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        book = _book(uow, options.book, datetime.now(UTC)).book
        model = _model(uow, book.key, options.model)
        if model is None:
            raise NotFoundError("nothing was fitted yet", field="model", code="unknown_demand_model")
        log = _log_of(uow, book, model)
    with _step("predicting quotes that taught nothing"):
        again = partial(fit_posterior, scale=model.posterior.basis.scale, pairs=model.posterior.pairs)
        found = model_card(log, model.posterior, seed=0, fit=again)
    if options.json:
        print(json.dumps({"version": model.version, **found.document()}, ensure_ascii=False, indent=2))
    else:
        _print(card_lines(found, model))
    return 0


def propose(options: argparse.Namespace) -> int:
    """Propose, say what would change and why, and write the sealed proposal."""
    now, holdout = datetime.now(UTC), parse_decimal(options.holdout, "holdout", minimum=Decimal(0))
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        book = _book(uow, options.book, now)
        model = _model(uow, book.book.key, options.model)
        log = None if model is None else _log_of(uow, book.book, model)
        with _step("proposing"):
            draft = price_epochs.propose(uow, book, model, log, now, seed=options.seed, holdout=holdout)
        signer = settings.signer()
    _print(proposal_lines(draft))
    if model is not None and log is not None and not draft.proposal.fallback:
        with _step("evaluating"):
            lines = evaluation_lines(partial(evaluate_sheets, log, model.posterior, draft.sheets, seed=options.seed))
        _print(lines)
    sealed = seal(PROPOSAL_KIND, draft.sections(), signer.salt_for(PROPOSAL_KIND, draft.document()), signer)
    write_whole(options.out, [json.dumps(sealed, ensure_ascii=False, indent=1).encode(), b"\n"])
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
    actor = Actor(options.actor, datetime.now(UTC))
    with open_workspace() as (settings, database):
        signer = settings.signer()
        stored = database.write(settings.tenant, lambda uow: price_epochs.publish_epoch(uow, document, signer, actor))
    _print(sheet_lines(stored))
    return 0


def stop(options: argparse.Namespace) -> int:
    """Go back to list prices."""
    with open_workspace() as (settings, database):
        _stop(settings, database, options, options.reason)
    return 0


def drift(options: argparse.Namespace) -> int:
    """Compare what came after the model in force was fitted with what it predicts."""
    now = datetime.now(UTC)
    with open_workspace() as (settings, database):
        with database.reading(settings.tenant) as uow:
            book = _book(uow, options.book, now)
            model = price_epochs.model_in_force(uow, book, now)
            if model is None:
                print("list prices are in force: there is no model to drift from")
                return 0
            log = _read(uow, book.book, model.learned_until, now, silence_is_refusal=model.silence_is_refusal)
        found = drift_from(model.posterior, log)
        line = drift_line(found, model)
        print(line)
        if found.alarmed and options.stop:
            _stop(settings, database, options, line)
    return 1 if found.alarmed else 0


def _stop(settings: Settings, database: Database, options: argparse.Namespace, reason: str) -> None:
    signer, actor = settings.signer(), Actor(options.actor, datetime.now(UTC))
    stored = database.write(
        settings.tenant, lambda uow: price_epochs.stop(uow, _book(uow, options.book, actor.at), reason, signer, actor)
    )
    _print(sheet_lines(stored))


def _book(uow: UnitOfWork, key: str | None, at: datetime) -> StoredBook:
    """Return the book that is named, or the only one in force."""
    found = {stored.book.key: stored for stored in PriceBookRepository(uow).in_force(at)}
    if key is None and len(found) > 1:
        raise InvalidValueError(f"name one of {', '.join(sorted(found))}", field="book")
    stored = next(iter(found.values()), None) if key is None else found.get(key)
    if stored is None:
        raise NotFoundError("no such price book is in force", field="book", value=key, code="unknown_price_book")
    return stored


def _model(uow: UnitOfWork, book_key: str, version: int | None) -> StoredModel | None:
    models = DemandModelRepository(uow)
    return models.newest(book_key) if version is None else models.get(book_key, version)


def _log_of(uow: UnitOfWork, book: PriceBook, model: StoredModel) -> pl.DataFrame:
    """Return the log a model learned from, as it stood then."""
    return _read(uow, book, model.learned_from, model.learned_until, silence_is_refusal=model.silence_is_refusal)


def _read(
    uow: UnitOfWork, book: PriceBook, after: datetime, before: datetime, *, silence_is_refusal: bool
) -> pl.DataFrame:
    with _step("reading quotes") as bar:
        task = bar.task_ids[0]
        return read_quote_log(
            uow, book, after, before, silence_is_refusal=silence_is_refusal,
            progress=lambda read: bar.update(task, description=f"reading quotes: {read}"),
        )  # fmt: skip


def _step(title: str) -> Progress:
    """Say what is going on, and for how long, while it is."""
    bar = Progress(
        TextColumn("{task.description}"), TimeElapsedColumn(), console=Console(stderr=True), transient=True
    )  # fmt: skip
    bar.add_task(title, total=None)
    return bar


def _print(lines: list[str]) -> None:
    print("\n".join(lines))
