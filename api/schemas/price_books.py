"""What of price books is shown by more than one door."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

from billing.repositories.price_books import StoredBook
from pricing_engine.price_book import Change


class PublishedView(TypedDict):
    """A version that is in force, or will be."""

    key: str
    version: int
    content_hash: str


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


def changes_view(changes: Sequence[Change]) -> ChangesView:
    """Show differences."""
    return {"changes": [{"path": each.path, "before": each.before, "after": each.after} for each in changes]}
