"""Publishing price books: immutable versions, an append-only log of which is in force, and their price sheets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import insert, select, update

from billing.repositories.price_books import PriceBookRepository, Release, StoredBook, StoredSheet
from billing.unit_of_work import UnitOfWork
from billing.webhooks.announcements import price_book_published
from billing.webhooks.events import announce
from models.tables.base import table_of
from models.tables.quote import FeatureSupplyRow
from models.values.errors import ConflictError, NotFoundError, RuleBrokenError
from pricing_engine.price_book import BOOK_KIND, PriceBook, price_book_document, price_book_sections
from pricing_engine.price_sheet import (
    SHEET_KIND,
    PriceSheet,
    list_price_sheet,
    price_sheet_document,
    price_sheet_sections,
)
from pricing_engine.sealing import Signer, seal
from pricing_engine.segmentation import DEFAULT_SEGMENT

_SUPPLY = table_of(FeatureSupplyRow)


class SecondPersonError(RuleBrokenError):
    """Somebody tried to decide about what they want themselves."""

    code = "second_person_needed"


class AlreadyPublishedError(ConflictError):
    """A version that is in force already, or another document bears its number."""

    code = "already_published"


def publish(
    uow: UnitOfWork,
    book: PriceBook,
    signer: Signer,
    at: datetime,
    actor: str,
    approver: str | None = None,
) -> StoredBook:
    """Bring a version into force from its `effective_from`, or from `at` where that is past.

    Publishing an earlier version again is the rollback. Raises AlreadyPublishedError for the version that is
    in force, or for another document under a version that exists, SecondPersonError where nobody but the actor
    approved.
    """
    if approver == actor:
        raise SecondPersonError("needs a second person", field="approver", value=approver)
    books = PriceBookRepository(uow)
    salt = signer.salt_for(BOOK_KIND, price_book_document(book))
    content_hash: str = seal(BOOK_KIND, price_book_sections(book), salt)["hash"]
    known = books.hash_of(book.key, book.version)
    log = books.releases(book.key)
    if known is not None and known != content_hash:
        raise AlreadyPublishedError(
            "another document was published under this version; give it a new one", field="version", value=book.version
        )
    if log and log[-1].state == "published" and log[-1].content_hash == content_hash:
        raise AlreadyPublishedError("this version is in force already", field="version", value=book.version)
    if known is None:
        books.add(content_hash, book, salt, at)
        add_sheet(uow, list_price_sheet(book, content_hash, DEFAULT_SEGMENT, 0, book.effective_from), signer, at)
    _set_supply(uow, book)
    release = Release(
        book_key=book.key,
        sequence=len(log),
        content_hash=content_hash,
        state="published",
        effective_from=book.effective_from if known is None else max(at, book.effective_from),
        recorded_at=at,
        actor=actor,
        approver=approver,
    )
    books.add_release(release)
    announce(uow, [price_book_published(release, book.version)], at)
    return books.get(content_hash)


def next_version(uow: UnitOfWork, book: PriceBook, at: datetime) -> PriceBook:
    """Return a book as its next version, from `at` on: a draft to change and publish."""
    books = PriceBookRepository(uow)
    version = max(books.get(each.content_hash).book.version for each in books.releases(book.key)) + 1
    return msgspec.structs.replace(book, version=version, effective_from=at.astimezone(UTC).replace(microsecond=0))


def archive(uow: UnitOfWork, book_key: str, at: datetime, actor: str) -> None:
    """Take a book out of force; its subscriptions keep their version. Raises NotFoundError, RuleBrokenError."""
    books = PriceBookRepository(uow)
    log = books.releases(book_key)
    if not log:
        raise NotFoundError("no such price book", field="key", value=book_key, code="unknown_price_book")
    if log[-1].state == "archived":
        raise RuleBrokenError("is archived already", field="key", value=book_key, code="already_archived")
    books.add_release(
        Release(book_key, len(log), log[-1].content_hash, "archived", at, at, actor, None),
    )


def add_sheet(uow: UnitOfWork, sheet: PriceSheet, signer: Signer, at: datetime) -> StoredSheet:
    """Store the price sheet of one epoch and segment under its hash.

    Raises RuleBrokenError where the book does not say what the segment is formed from.
    """
    books = PriceBookRepository(uow)
    if books.get(sheet.book_hash).book.segmentation.priced_as(sheet.segment) != sheet.segment:
        raise RuleBrokenError(
            "has no prices of its own unless the price book says what it is formed from", field="price_sheet.segment",
            value=sheet.segment, code="undeclared_segment",
        )  # fmt: skip
    salt = signer.salt_for(SHEET_KIND, price_sheet_document(sheet))
    sheet_hash: str = seal(SHEET_KIND, price_sheet_sections(sheet), salt)["hash"]
    books.add_sheet(sheet_hash, sheet, salt, at)
    return StoredSheet(sheet_hash, salt, sheet)


def sealed_book(stored: StoredBook, signer: Signer) -> Mapping[str, Any]:
    """Return the signed document of a book, at auditor level; see `sealing.disclose` for readers' copies."""
    return seal(BOOK_KIND, price_book_sections(stored.book), stored.salt, signer)


def sealed_sheet(stored: StoredSheet, signer: Signer) -> Mapping[str, Any]:
    """Return the signed document of a price sheet."""
    return seal(SHEET_KIND, price_sheet_sections(stored.sheet), stored.salt, signer)


def _set_supply(uow: UnitOfWork, book: PriceBook) -> None:
    """Make room for limited features; the newest limit counts, never below what is held and sold."""
    for feature in book.features:
        if feature.supply_limit is None:
            continue
        mine = (_SUPPLY.c.tenant == uow.tenant) & (_SUPPLY.c.feature == feature.key)
        taken = uow.connection.execute(select(_SUPPLY.c.held + _SUPPLY.c.sold).where(mine)).scalar()
        if taken is None:
            uow.connection.execute(
                insert(_SUPPLY).values(
                    tenant=uow.tenant, feature=feature.key, supply_limit=feature.supply_limit, held=0, sold=0
                )
            )
        elif taken > feature.supply_limit:
            raise RuleBrokenError(
                f"{taken} units are held or sold",
                field=f"features.{feature.key}.supply_limit",
                value=feature.supply_limit,
                code="supply_limit_below_sold",
            )
        else:
            uow.connection.execute(update(_SUPPLY).where(mine).values(supply_limit=feature.supply_limit))
