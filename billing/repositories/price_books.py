"""Price books, their releases and price sheets: rows <-> values."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Generic, TypeVar

from sqlalchemy import bindparam, insert, select

from billing.repositories.inserting import insert_new
from billing.unit_of_work import UnitOfWork
from models.tables.base import table_of
from models.tables.catalog import PriceBookReleaseRow, PriceBookRow, PriceSheetRow
from models.values.errors import ConflictError, InvalidValueError, NotFoundError
from pricing_engine.price_book import PriceBook, parse_price_book, price_book_document
from pricing_engine.price_sheet import PriceSheet, parse_price_sheet, price_sheet_document
from pricing_engine.quoting import CompiledBook
from pricing_engine.segmentation import DEFAULT_SEGMENT

_BOOK = table_of(PriceBookRow)
Document = TypeVar("Document")
_RELEASE = table_of(PriceBookReleaseRow)
_SHEET = table_of(PriceSheetRow)
_MAX_KEPT = 256


@dataclass(frozen=True, slots=True)
class StoredBook:
    """A price book as stored: its name by hash and the secret its leaves are salted with."""

    content_hash: str
    salt: bytes
    compiled: CompiledBook

    @property
    def book(self) -> PriceBook:
        """The value itself."""
        return self.compiled.book


@dataclass(frozen=True, slots=True)
class StoredSheet:
    """A price sheet as stored."""

    sheet_hash: str
    salt: bytes
    sheet: PriceSheet


@dataclass(frozen=True, slots=True)
class Release:
    """One entry of a book's log: which version came into force, or that the book was archived."""

    book_key: str
    sequence: int
    content_hash: str
    state: str
    effective_from: datetime
    recorded_at: datetime
    actor: str
    approver: str | None


class _Kept(Generic[Document]):
    """The documents last used, by tenant and hash. None ever changes under its hash, so none goes stale."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], Document] = OrderedDict()
        self._lock = Lock()

    def get(self, tenant: str, content_hash: str) -> Document | None:
        with self._lock:
            found = self._kept.get((tenant, content_hash))
            if found is not None:
                self._kept.move_to_end((tenant, content_hash))
            return found

    def put(self, tenant: str, content_hash: str, document: Document) -> None:
        with self._lock:
            self._kept[tenant, content_hash] = document
            if len(self._kept) > _MAX_KEPT:
                self._kept.popitem(last=False)


_books: _Kept[StoredBook] = _Kept()
_sheets: _Kept[StoredSheet] = _Kept()


class PriceBookRepository:
    """The price books and sheets of one tenant."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow

    def add(self, content_hash: str, book: PriceBook, salt: bytes, at: datetime) -> None:
        """Store a version; the database refuses a second document under the same key and version."""
        self._uow.connection.execute(
            insert(_BOOK).values(
                tenant=self._uow.tenant,
                content_hash=content_hash,
                book_key=book.key,
                version=book.version,
                currency=book.currency,
                channel=book.channel,
                effective_from=book.effective_from,
                document=price_book_document(book),
                salt=salt.hex(),
                recorded_at=at,
            )
        )

    def get(self, content_hash: str) -> StoredBook:
        """Return a version by its hash, compiled. Raises NotFoundError."""
        known = _books.get(self._uow.tenant, content_hash)
        if known is not None:
            return known
        row = self._uow.connection.execute(
            select(_BOOK.c.document, _BOOK.c.salt).where(
                _BOOK.c.tenant == self._uow.tenant, _BOOK.c.content_hash == content_hash
            )
        ).first()
        if row is None:
            raise NotFoundError("no such price book", field="price_book", value=content_hash, code="unknown_price_book")
        stored = StoredBook(content_hash, bytes.fromhex(row.salt), CompiledBook(parse_price_book(row.document)))
        _books.put(self._uow.tenant, content_hash, stored)
        return stored

    def hash_of(self, book_key: str, version: int) -> str | None:
        """Return the hash under which a version is stored, or None."""
        found: str | None = self._uow.connection.scalar(
            select(_BOOK.c.content_hash).where(
                _BOOK.c.tenant == self._uow.tenant, _BOOK.c.book_key == book_key, _BOOK.c.version == version
            )
        )
        return found

    def add_release(self, release: Release) -> None:
        """Append to a book's log."""
        self._uow.facts_change()
        self._uow.connection.execute(
            insert(_RELEASE).values(
                tenant=self._uow.tenant,
                book_key=release.book_key,
                sequence=release.sequence,
                content_hash=release.content_hash,
                state=release.state,
                effective_from=release.effective_from,
                recorded_at=release.recorded_at,
                actor=release.actor,
                approver=release.approver,
            )
        )

    def releases(self, book_key: str | None = None) -> list[Release]:
        """Return the log of one book, or of all, oldest first."""
        query = _RELEASES if book_key is None else _RELEASES.where(_RELEASE.c.book_key == book_key)
        return [Release(*row) for row in self._uow.connection.execute(query, {"of": self._uow.tenant})]

    def in_force(self, at: datetime) -> list[StoredBook]:
        """Return, for each book, the version in force at `at`; archived books are left out."""
        latest: dict[str, Release] = {}
        for release in self.releases():
            if release.effective_from <= at:
                latest[release.book_key] = release
        return [self.get(release.content_hash) for release in latest.values() if release.state == "published"]

    def one_in_force(self, key: str | None, at: datetime) -> StoredBook:
        """Return the book in force that is named, or the only one. Raises NotFoundError, InvalidValueError."""
        found = {stored.book.key: stored for stored in self.in_force(at)}
        if key is None and len(found) > 1:
            raise InvalidValueError(f"name one of {', '.join(sorted(found))}", field="book")
        stored = next(iter(found.values()), None) if key is None else found.get(key)
        if stored is None:
            raise NotFoundError("no such price book is in force", field="book", value=key, code="unknown_price_book")
        return stored

    def for_customer(self, currency: str, channel: str, at: datetime) -> StoredBook:
        """Return the book in force for a currency and channel; one for the channel before one for all.

        Raises NotFoundError where there is none.
        """
        fitting = [
            stored
            for stored in self.in_force(at)
            if stored.book.currency == currency and stored.book.channel in {None, channel}
        ]
        if not fitting:
            raise NotFoundError(f"no price book is in force for channel {channel}", field="currency", value=currency)
        return max(fitting, key=lambda stored: (stored.book.channel is not None, stored.book.effective_from))

    def add_sheet(self, sheet_hash: str, sheet: PriceSheet, salt: bytes, at: datetime) -> None:
        """Store a price sheet; one a book, segment and epoch. Raises ConflictError for a second one."""
        self._uow.facts_change()
        row = {
            "tenant": self._uow.tenant,
            "sheet_hash": sheet_hash,
            "book_hash": sheet.book_hash,
            "segment": sheet.segment,
            "epoch": sheet.epoch,
            "effective_from": sheet.effective_from,
            "document": price_sheet_document(sheet),
            "salt": salt.hex(),
            "recorded_at": at,
        }
        if not insert_new(self._uow, _SHEET, row):
            raise ConflictError(
                "another sheet was published for this epoch", field="price_sheet.epoch", value=sheet.epoch,
                code="epoch_taken",
            )  # fmt: skip

    def sheet(self, sheet_hash: str) -> StoredSheet:
        """Return a sheet by its hash. Raises NotFoundError."""
        known = _sheets.get(self._uow.tenant, sheet_hash)
        if known is not None:
            return known
        row = self._uow.connection.execute(
            select(_SHEET).where(_SHEET.c.tenant == self._uow.tenant, _SHEET.c.sheet_hash == sheet_hash)
        ).first()
        if row is None:
            raise NotFoundError("no such price sheet", field="price_sheet", value=sheet_hash)
        stored = StoredSheet(row.sheet_hash, bytes.fromhex(row.salt), parse_price_sheet(row.document))
        _sheets.put(self._uow.tenant, sheet_hash, stored)
        return stored

    def current_sheet(self, book_hash: str, segment: str, at: datetime) -> StoredSheet:
        """Return the newest sheet in force for a segment, or else for the segment `default`.

        Raises NotFoundError where publishing was not completed.
        """
        asked = {"of": self._uow.tenant, "book": book_hash, "own": segment, "default": DEFAULT_SEGMENT, "at": at}
        rows = self._uow.connection.execute(_SHEETS_IN_FORCE, asked).all()
        own = [row for row in rows if row.segment == segment] or rows
        if not own:
            raise NotFoundError("has no price sheet in force", field="price_book", value=book_hash)
        return self.sheet(own[0].sheet_hash)

    def list_sheet(self, book_hash: str) -> StoredSheet:
        """Return the sheet of list prices that a book was published with. Raises NotFoundError."""
        found: str | None = self._uow.connection.scalar(
            select(_SHEET.c.sheet_hash).where(
                _SHEET.c.tenant == self._uow.tenant,
                _SHEET.c.book_hash == book_hash,
                _SHEET.c.segment == DEFAULT_SEGMENT,
                _SHEET.c.epoch == 0,
            )
        )
        return self.sheet(found or "")

    def sheets(self, book_hash: str) -> list[StoredSheet]:
        """Return every sheet of a version, oldest epoch first."""
        hashes = self._uow.connection.scalars(
            select(_SHEET.c.sheet_hash)
            .where(_SHEET.c.tenant == self._uow.tenant, _SHEET.c.book_hash == book_hash)
            .order_by(_SHEET.c.epoch, _SHEET.c.segment)
        )
        return [self.sheet(sheet_hash) for sheet_hash in hashes.all()]


# Made once: every quote asks both, and to build a statement takes longer than to run it.
_RELEASES = (
    select(*[_RELEASE.c[name] for name in Release.__slots__])
    .where(_RELEASE.c.tenant == bindparam("of"))
    .order_by(_RELEASE.c.book_key, _RELEASE.c.sequence)
)
_SHEETS_IN_FORCE = (
    select(_SHEET.c.sheet_hash, _SHEET.c.segment)
    .where(
        _SHEET.c.tenant == bindparam("of"),
        _SHEET.c.book_hash == bindparam("book"),
        _SHEET.c.segment.in_([bindparam("own"), bindparam("default")]),
        _SHEET.c.effective_from <= bindparam("at"),
    )
    .order_by(_SHEET.c.epoch.desc())
)
