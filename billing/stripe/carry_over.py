"""Which invoices a payment is for, when one invoice at the provider also collects what earlier ones carried over.

An invoice owes its own amount behind what it took over from earlier ones. Of that queue it collects the front at
the provider and carries the back over to a later invoice. A payment is for the queue's front first, so the oldest
debt is paid first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Obligation:
    """What an invoice owes by itself, and what the provider collects under its name; minor units."""

    invoice_id: str
    own_minor: int
    collect_minor: int


Part = tuple[str, int]


def owed(host: str, invoices: Mapping[str, Obligation], taken_over: Mapping[str, Sequence[str]]) -> list[Part]:
    """Return the queue of `host`: (invoice, minor units), oldest first, taken over ones before its own."""
    queue = [
        part
        for earlier in taken_over.get(host, ())
        for part in _back(owed(earlier, invoices, taken_over), invoices[earlier].collect_minor)
    ]
    return [*queue, (host, invoices[host].own_minor)]


def split(queue: Iterable[Part], host: str, before: int, amount: int) -> list[Part]:
    """Return for which invoices `amount` is, after `before` was paid on the queue; what exceeds it is the host's."""
    shares: dict[str, int] = {}
    skip, left = before, amount
    for invoice_id, part in queue:
        passed = min(skip, part)
        skip -= passed
        taken = min(left, part - passed)
        left -= taken
        if taken:
            shares[invoice_id] = shares.get(invoice_id, 0) + taken
    if left:
        shares[host] = shares.get(host, 0) + left
    return list(shares.items())


def _back(queue: Iterable[Part], collected: int) -> list[Part]:
    """Drop `collected` from the front."""
    rest, skip = [], collected
    for invoice_id, part in queue:
        passed = min(skip, part)
        skip -= passed
        if part > passed:
            rest.append((invoice_id, part - passed))
    return rest
