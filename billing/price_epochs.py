"""Price epochs: the next one proposed from a model, published as it was proposed, or ended with the list price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec
import polars as pl

from billing import audit
from billing.audit import Actor
from billing.publishing import add_sheet
from billing.repositories.demand_models import DemandModelRepository, StoredModel
from billing.repositories.price_books import PriceBookRepository, StoredBook, StoredSheet
from billing.supply import units_left
from billing.unit_of_work import UnitOfWork
from models.values.errors import ConflictError, NotFoundError, RuleBrokenError
from pricing_engine.demand.epoch_proposal import propose_epoch
from pricing_engine.demand.guardrails import RailContext
from pricing_engine.demand.limited_supply import Stock, Supply, decided_a_day
from pricing_engine.demand.proposal_document import PROPOSAL_KIND, EpochDraft, proposed_sheets
from pricing_engine.demand.proposed_sheet import price_sheets
from pricing_engine.demand.selections import selections_from_log
from pricing_engine.price_book import PriceBook
from pricing_engine.price_sheet import PriceSheet, list_price, list_price_sheet, price_sheet_document, rails_of
from pricing_engine.sealing import Signer, open_sealed, verify_signature
from pricing_engine.segmentation import DEFAULT_SEGMENT

_REMEMBERED = timedelta(days=30)


class StaleProposalError(ConflictError):
    """What a proposal rests on has changed since; propose again."""

    code = "stale_proposal"


def propose(
    uow: UnitOfWork,
    book: StoredBook,
    model: StoredModel | None,
    log: pl.DataFrame | None,
    at: datetime,
    *,
    seed: int,
    holdout: Decimal = Decimal(0),
) -> EpochDraft:
    """Propose the next epoch of a book's adaptive features from a model and the log it learned from.

    There is a sheet for every segment of the model and for every one that has sheets; prices of a segment or feature
    that the model does not know stay at the list price. Without a model, or with one whose card says that it must not
    be believed, or that tells segments apart which the book does not declare, all do. What is left of a limited feature
    is to last the `supply_days` of its rails at the log's rate of quotes. Raises RuleBrokenError where the
    book has no adaptive feature.
    """
    _check_adaptive(book.book)
    known = [stored.sheet for stored in PriceBookRepository(uow).sheets(book.content_hash)]
    posterior = None if model is None else model.posterior
    segments = sorted({*_segments(known), *(posterior.segments if posterior else ())})
    history = {segment: _in_force_since(known, segment, at) for segment in segments}
    features = [feature for feature in book.book.features if feature.adaptive]
    contexts = {
        feature.key: {
            segment: RailContext(
                list_price=list_price(feature),
                unit_cost=feature.unit_cost,
                last_price=history[segment][-1].price_of(feature.key).price,
                lowest_30_days=min(sheet.price_of(feature.key).price for sheet in history[segment]),
                highest_30_days=max(sheet.price_of(feature.key).price for sheet in history[segment]),
                quotes=0 if posterior is None else int(posterior.quotes_behind(segment, feature.key)),
            )
            for segment in segments
        }
        for feature in features
    }
    rails = {feature.key: rails_of(book.book, feature) for feature in features}
    selections = None if posterior is None or log is None else selections_from_log(log, posterior)
    proposal = propose_epoch(
        posterior, selections, contexts, rails, epoch=next_epoch(known), seed=seed,
        distrust="" if model is None else model.distrust or _undeclared(model, book.book),
        stock=Stock() if model is None or log is None else _stock(uow, book.book, log, model.learned_until),
    )  # fmt: skip
    sheets = price_sheets(proposal, rails, book_hash=book.content_hash, effective_from=at, holdout=holdout)
    before = {segment: history[segment][-1] for segment in segments}
    warnings = None if model is None else model.warnings
    return EpochDraft(book.book.key, sheets, before, proposal, posterior, warnings)


def publish_epoch(uow: UnitOfWork, document: object, signer: Signer, actor: Actor) -> list[StoredSheet]:
    """Put a sealed proposal in force, just as it was proposed. New quotes use it at once.

    Raises SealBrokenError for one that was altered or is signed by another key, and StaleProposalError where its book
    is not in force any more, its model is not kept, or another epoch was published since.
    """
    opened = open_sealed(document, PROPOSAL_KIND)
    verify_signature(document, signer.public_pem)
    sheets = proposed_sheets(opened)
    first = next(iter(sheets.values()))
    book = _in_force(uow, first.book_hash, actor.at)
    known = [stored.sheet for stored in PriceBookRepository(uow).sheets(book.content_hash)]
    if first.epoch != next_epoch(known):
        raise StaleProposalError("another epoch was published since", field="proposal.epoch", value=first.epoch)
    if first.model_hash and DemandModelRepository(uow).find(book.book.key, first.model_hash) is None:
        raise StaleProposalError("its model is not kept here", field="proposal.model", value=first.model_hash)
    return _put_in_force(uow, book.book, known, sheets, signer, actor, "price_epoch.publish")


def stop(uow: UnitOfWork, book: StoredBook, reason: str, signer: Signer, actor: Actor) -> list[StoredSheet]:
    """Put every segment back on the list price at once, saying why: the kill switch.

    Raises RuleBrokenError without a reason, or where the book has no adaptive feature.
    """
    if not reason.strip():
        raise RuleBrokenError("say why", field="reason", code="reason_needed")
    _check_adaptive(book.book)
    known = [stored.sheet for stored in PriceBookRepository(uow).sheets(book.content_hash)]
    sheets = {
        segment: list_price_sheet(book.book, book.content_hash, segment, next_epoch(known), actor.at, reason)
        for segment in _segments(known)
    }
    return _put_in_force(uow, book.book, known, sheets, signer, actor, "price_epoch.stop")


def model_in_force(uow: UnitOfWork, book: StoredBook, at: datetime) -> StoredModel | None:
    """Return the model behind the sheets in force, or None where all are list prices."""
    hashes = [sheet.model_hash for sheet in _current(uow, book, at) if sheet.model_hash]
    return DemandModelRepository(uow).find(book.book.key, hashes[0]) if hashes else None


def list_price_reasons(uow: UnitOfWork, book: StoredBook, at: datetime) -> list[str]:
    """Return why list prices are in force where a person or an alarm put them there, in order; empty where none did."""
    return sorted({sheet.fallback for sheet in _current(uow, book, at) if sheet.fallback})


def newest_epoch_began(uow: UnitOfWork, book: StoredBook) -> datetime:
    """Return when a book's newest epoch came into force, or will."""
    known = [stored.sheet for stored in PriceBookRepository(uow).sheets(book.content_hash)]
    newest = next_epoch(known) - 1
    return max(sheet.effective_from for sheet in known if sheet.epoch == newest)


def next_epoch(sheets: Sequence[PriceSheet]) -> int:
    """Return the number of the epoch that would follow a book's sheets."""
    return max((sheet.epoch for sheet in sheets), default=-1) + 1


def _current(uow: UnitOfWork, book: StoredBook, at: datetime) -> list[PriceSheet]:
    """Return each segment's sheet in force."""
    known = [stored.sheet for stored in PriceBookRepository(uow).sheets(book.content_hash)]
    return [_in_force_since(known, segment, at)[-1] for segment in _segments(known)]


def _put_in_force(
    uow: UnitOfWork,
    book: PriceBook,
    known: Sequence[PriceSheet],
    sheets: Mapping[str, PriceSheet],
    signer: Signer,
    actor: Actor,
    action: str,
) -> list[StoredSheet]:
    """Store an epoch's sheets, in force from now on if not from later, and write it into the audit trail."""
    after = {
        segment: msgspec.structs.replace(sheet, effective_from=max(actor.at, sheet.effective_from))
        for segment, sheet in sheets.items()
    }
    stored = [add_sheet(uow, sheet, signer, actor.at) for sheet in after.values()]
    before = {segment: _in_force_since(known, segment, actor.at)[-1] for segment in after}
    audit.record(
        uow,
        actor,
        action,
        ("price_book", book.key),
        before={segment: price_sheet_document(sheet) for segment, sheet in before.items()},
        after={segment: price_sheet_document(sheet) for segment, sheet in after.items()},
    )
    return stored


def _stock(uow: UnitOfWork, book: PriceBook, log: pl.DataFrame, until: datetime) -> Stock:
    """Return what is left of a book's limited features, and how many quotes come to a decision a day."""
    limited = {feature.key: feature.rails.supply_days for feature in book.features if feature.supply_limit is not None}
    if not limited:
        return Stock()
    left = units_left(uow)
    return Stock({key: Supply(left[key], days) for key, days in limited.items()}, decided_a_day(log, until))


def _undeclared(model: StoredModel, book: PriceBook) -> str:
    """Return which segments a model tells apart that may have no prices of their own; empty where none."""
    found = [each for each in model.posterior.segments if book.segmentation.priced_as(each) != each]
    if not found:
        return ""
    return f"the model tells segments apart that the price book does not declare, fit again: {', '.join(found)}"


def _check_adaptive(book: PriceBook) -> None:
    if not any(feature.adaptive for feature in book.features):
        raise RuleBrokenError(
            "has no adaptive feature whose price could move", field="book", value=book.key, code="nothing_adaptive"
        )


def _in_force(uow: UnitOfWork, book_hash: str, at: datetime) -> StoredBook:
    for stored in PriceBookRepository(uow).in_force(at):
        if stored.content_hash == book_hash:
            return stored
    raise StaleProposalError("its price book is not in force", field="proposal.price_book", value=book_hash)


def _segments(sheets: Sequence[PriceSheet]) -> list[str]:
    """Return the segments that have sheets; the default one always has."""
    return sorted({DEFAULT_SEGMENT, *(sheet.segment for sheet in sheets)})


def _in_force_since(sheets: Sequence[PriceSheet], segment: str, at: datetime) -> list[PriceSheet]:
    """Return the sheets a segment was quoted from in the 30 days before `at`, the one in force last."""
    since = at - _REMEMBERED
    turns = {since, at, *(sheet.effective_from for sheet in sheets if since < sheet.effective_from <= at)}
    found = [sheet for turn in sorted(turns) if (sheet := _sheet_at(sheets, segment, turn)) is not None]
    if not found:
        raise NotFoundError("has no price sheet in force", field="segment", value=segment)
    return found


def _sheet_at(sheets: Sequence[PriceSheet], segment: str, at: datetime) -> PriceSheet | None:
    """Return the sheet `PriceBookRepository.current_sheet` finds: of the newest epoch, its own before the default's."""
    begun = [sheet for sheet in sheets if sheet.effective_from <= at]
    own = [sheet for sheet in begun if sheet.segment == segment]
    fitting = own or [sheet for sheet in begun if sheet.segment == DEFAULT_SEGMENT]
    return max(fitting, key=lambda sheet: sheet.epoch, default=None)
