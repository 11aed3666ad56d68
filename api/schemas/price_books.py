"""What of price books is shown by more than one door."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

from billing.repositories.price_books import Release, StoredBook
from pricing_engine.price_book import Change


class PublishedView(TypedDict):
    """A version that is in force, or will be."""

    key: str
    version: int
    content_hash: str


class SectionView(TypedDict, total=False):
    """A section of a sealed document: content, level and salt where the reader may see it, else its leaf alone."""

    content: Any
    level: str
    salt: str
    leaf: str


class SignatureView(TypedDict):
    """The signature over a document's hash."""

    algorithm: str
    key_id: str
    value: str


class SealedView(TypedDict):
    """A sealed document, its sections by path; `hash` is the Merkle root of their leaves at every level."""

    kind: str
    hash: str
    sections: dict[str, SectionView]
    signature: SignatureView


class ReleaseView(TypedDict):
    """One entry of a book's log: which version came into force, or that the book was archived."""

    key: str
    sequence: int
    content_hash: str
    state: str
    effective_from: str
    recorded_at: str
    actor: str
    approver: str | None


class ReleaseList(TypedDict):
    """The logs of all books."""

    items: list[ReleaseView]


class ChangeView(TypedDict):
    """One difference: None where it is absent."""

    path: str
    before: Any
    after: Any


class ChangesView(TypedDict):
    """Every difference between two price books."""

    changes: list[ChangeView]


def published_view(stored: StoredBook) -> PublishedView:
    """Show a published version."""
    return {"key": stored.book.key, "version": stored.book.version, "content_hash": stored.content_hash}


def release_document(release: Release) -> ReleaseView:
    """Show an entry of a book's log."""
    return {
        "key": release.book_key,
        "sequence": release.sequence,
        "content_hash": release.content_hash,
        "state": release.state,
        "effective_from": release.effective_from.isoformat(),
        "recorded_at": release.recorded_at.isoformat(),
        "actor": release.actor,
        "approver": release.approver,
    }


def changes_view(changes: Sequence[Change]) -> ChangesView:
    """Show differences."""
    return {"changes": [{"path": each.path, "before": each.before, "after": each.after} for each in changes]}
