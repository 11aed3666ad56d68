"""One look at a price book's demand, for a scheduler: alarm, next epoch, and publishing it where nobody needs to look.

Acceptance that left the model in force puts list prices back. An epoch that is over is followed by a new model and a
proposal; what the gates let pass may come into force by itself, the rest waits for a person.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import polars as pl

from billing import price_epochs
from billing.audit import Actor
from billing.database import Database
from billing.demand_models import LogWindow, keep_model
from billing.epoch_proposals import (
    EpochOrder,
    EpochState,
    KeptProposal,
    draft_epoch,
    keep_proposal,
    next_to_publish,
    proposals,
    publish_proposal,
)
from billing.repositories.demand_models import StoredModel
from billing.repositories.price_books import PriceBookRepository, StoredBook, StoredSheet
from billing.segment_checks import segment_check
from billing.unit_of_work import UnitOfWork
from models.values.errors import InvalidValueError
from pricing_engine.demand.diagnostics import DRIFT_ALARM_Z, Drift
from pricing_engine.demand.explanation import figure
from pricing_engine.demand.learning import card_document, drift_from, learn
from pricing_engine.demand.posterior_fit import NoQuotesError
from pricing_engine.sealing import Signer


@dataclass(frozen=True, slots=True)
class WatchOrder:
    """How to watch. `epoch`: how long prices stay; `learn_from`: how old quotes may be; `is_automatic`: may publish.

    `attributes`: of customers, to check segments with: see `segment_check`.
    """

    epoch: timedelta = timedelta(days=7)
    learn_from: timedelta = timedelta(days=365)
    silence_is_refusal: bool = False
    is_automatic: bool = False
    proposing: EpochOrder = field(default_factory=EpochOrder)
    attributes: pl.DataFrame | None = None

    def __post_init__(self) -> None:
        """Refuse spans that are none."""
        for name in ("epoch", "learn_from"):
            if getattr(self, name) <= timedelta(0):
                raise InvalidValueError("must be above zero", field=name, value=getattr(self, name))


@dataclass(frozen=True, slots=True)
class Watched:
    """What was found and done. `sheets`: what came into force, by the alarm or by itself; `waits`: why nothing did."""

    model: StoredModel | None = None
    drift: Drift | None = None
    proposal: KeptProposal | None = None
    sheets: tuple[StoredSheet, ...] = ()
    waits: str = ""

    @property
    def is_alarmed(self) -> bool:
        """True where acceptance left the model and list prices were put back."""
        return self.drift is not None and self.drift.alarmed


def drift_in_force(uow: UnitOfWork, book: StoredBook, at: datetime) -> tuple[StoredModel, Drift] | None:
    """Return the model in force and how what came after it was fitted compares; None where list prices are in force."""
    model = price_epochs.model_in_force(uow, book, at)
    if model is None:
        return None
    log = LogWindow(model.learned_until, at, model.silence_is_refusal).read(uow, book.book)
    return model, drift_from(model.posterior, log)


def drift_sentence(model: StoredModel, drift: Drift) -> str:
    """Return how far acceptance is from a model, as a sheet of list prices gives it for a reason."""
    worst = max(drift.z, key=abs, default=0.0)
    return (
        f"model {model.version}: {len(drift.alarms)} alarms in {len(drift.z)} windows of {drift.window_quotes} quotes, "
        f"largest z {figure(worst, 3)} (alarm beyond {DRIFT_ALARM_Z})"
    )


def watch(
    database: Database, tenant: str, book_key: str | None, order: WatchOrder, signer: Signer, actor: Actor
) -> Watched:
    """Look once at a book, by default the only one in force. Running it twice at a time does nothing twice.

    Raises NotFoundError, and RuleBrokenError where the book has no adaptive feature.
    """
    with database.reading(tenant) as uow:
        book = PriceBookRepository(uow).one_in_force(book_key, actor.at)
        found = drift_in_force(uow, book, actor.at)
        until = price_epochs.newest_epoch_began(uow, book) + order.epoch
        listed = price_epochs.list_price_reasons(uow, book, actor.at)
        waiting = _waiting(uow, book, actor.at, order)
    model, drift = found or (None, None)
    if model is not None and drift is not None and drift.alarmed:
        reason = drift_sentence(model, drift)
        sheets = database.write(tenant, lambda uow: price_epochs.stop(uow, book, reason, signer, actor))
        return Watched(model, drift, sheets=tuple(sheets))
    if actor.at < until:
        since = f"list prices are in force: {'; '.join(listed)}: " if listed else ""
        return Watched(model, drift, waits=f"{since}prices stay until {until:%Y-%m-%d %H:%M} UTC")
    if waiting is None:
        fitted = _fit(database, tenant, book, order, actor)
        if fitted is None:
            return Watched(model, drift, waits="no quote was decided that a model could learn from")
        with database.reading(tenant) as uow:
            draft = draft_epoch(uow, book, fitted, actor.at, order.proposing)
        waiting = database.write(tenant, lambda uow: keep_proposal(uow, book, draft, order.proposing, signer, actor))
    return _published(database, tenant, waiting, order, signer, actor, Watched(model, drift, waiting))


def _published(
    database: Database,
    tenant: str,
    proposal: KeptProposal,
    order: WatchOrder,
    signer: Signer,
    actor: Actor,
    watched: Watched,
) -> Watched:
    """Publish where that needs no person, or say that it waits for one."""
    if proposal.objections or not order.is_automatic:
        why = "what speaks against it" if proposal.objections else "publishing is not automatic"
        return replace(watched, waits=f"waits for a person: {why}")
    sheets = database.write(tenant, lambda uow: publish_proposal(uow, proposal.document, signer, actor))
    return replace(watched, sheets=tuple(sheets))


def _fit(database: Database, tenant: str, book: StoredBook, order: WatchOrder, actor: Actor) -> StoredModel | None:
    window = LogWindow(actor.at - order.learn_from, actor.at, order.silence_is_refusal)
    with database.reading(tenant) as uow:
        log = window.read(uow, book.book)
        proxies = segment_check(uow, book.book, order.attributes, actor.at)
    try:
        posterior = learn(log)
    except NoQuotesError:
        return None
    card = card_document(log, posterior, proxies)
    return database.write(tenant, lambda uow: keep_model(uow, book.book.key, posterior, window, actor.at, card=card))


def _waiting(uow: UnitOfWork, book: StoredBook, at: datetime, order: WatchOrder) -> KeptProposal | None:
    """Return the newest proposal if it can still be published and is no older than an epoch."""
    newest = next(iter(proposals(uow, book.book.key, 1)), None)
    if newest is None or newest.proposed_at <= at - order.epoch:
        return None
    fitting = next_to_publish(uow, book.book.key, at)
    return newest if newest.state(fitting) is EpochState.OPEN else None
