"""Where collecting an invoice stands, and how news is merged: only ever forwards, whatever order news comes in."""

from __future__ import annotations

from enum import StrEnum

from billing.billing_provider import RemoteStatus


class CollectionStatus(StrEnum):
    """closed -> draft -> filled -> verified -> open -> paid | void, by way of uncollectible or not.

    `settled`: nothing was left to collect by itself; either nothing is owed or a later invoice collects it.
    """

    CLOSED = "closed"
    DRAFT = "draft"
    FILLED = "filled"
    VERIFIED = "verified"
    OPEN = "open"
    UNCOLLECTIBLE = "uncollectible"
    PAID = "paid"
    VOID = "void"
    SETTLED = "settled"


_RANK = {
    CollectionStatus.CLOSED: 0,
    CollectionStatus.DRAFT: 1,
    CollectionStatus.FILLED: 2,
    CollectionStatus.VERIFIED: 3,
    CollectionStatus.OPEN: 4,
    CollectionStatus.UNCOLLECTIBLE: 5,
    CollectionStatus.PAID: 6,
    CollectionStatus.VOID: 6,
    CollectionStatus.SETTLED: 7,
}

UNSENT = frozenset(
    {CollectionStatus.CLOSED, CollectionStatus.DRAFT, CollectionStatus.FILLED, CollectionStatus.VERIFIED}
)
"""States in which the provider has at most a draft."""

FINAL = frozenset({CollectionStatus.PAID, CollectionStatus.VOID, CollectionStatus.SETTLED})
"""States that nothing leaves."""


def merged(known: CollectionStatus, seen: CollectionStatus | RemoteStatus) -> CollectionStatus:
    """Return the further of two states. What is final stays: old news cannot open a paid invoice again."""
    news = CollectionStatus(seen.value)
    return news if _RANK[news] > _RANK[known] else known
