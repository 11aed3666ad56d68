"""Rating a closed month again from its sealed usage, and comparing that with what was billed.

    rerate_usage(uow, SealFolder(root, "default"), keys, "2026-01").differences       # () where the books are right

Rated by the function that closed the month, over the events in the files instead of those in the database; so the two
agree to the last digit, over late events, corrections and bundles, unless one of them was changed since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import NamedTuple

from billing.charging import Run, charge_customers
from billing.closing import run_again
from billing.rated_usage import Kind, RatedUsage
from billing.repositories.charges import ChargeRepository
from billing.repositories.price_books import PriceBookRepository
from billing.repositories.subscriptions import SubscriptionRepository
from billing.sealed_usage.folder import SealFolder
from billing.sealed_usage.manifest import Manifest, SealedFile
from billing.sealed_usage.sealed_events import SealedEvents
from billing.unit_of_work import UnitOfWork
from models.values.ids import bucket_of
from models.values.quantity import EXACT

_COMPARED = (Kind.USAGE, Kind.COMMITMENT)
"""What hangs on usage. Switches and seats do not, and coupons are taken off afterwards."""
_WESTERNMOST = timedelta(hours=12)
"""How much later than in UTC a month ends anywhere."""
_ZERO = Decimal(0)

Progress = Callable[[str, int, int], None]
"""Told what is going on: the month, how many buckets are rated, of how many."""


class Place(NamedTuple):
    """Whose usage of what: customer, currency, feature and the meter it reads (empty for a minimum spend)."""

    customer: str
    currency: str
    feature: str
    meter: str


@dataclass(frozen=True, slots=True)
class Sum:
    """Exact units and amount, in major units, before coupons and tax."""

    units: Decimal = _ZERO
    amount: Decimal = _ZERO

    def plus(self, units: Decimal, amount: Decimal) -> Sum:
        """Add up."""
        return Sum(EXACT.add(self.units, units), EXACT.add(self.amount, amount))


@dataclass(frozen=True, slots=True)
class Difference:
    """Where what was billed is not what the sealed usage comes to."""

    place: Place
    billed: Sum
    rerated: Sum


@dataclass(slots=True)
class Rerating:
    """A month rated again: events read, customers rated, sums by currency, and every difference by customer."""

    period: str
    events: int = 0
    customers: int = 0
    billed: dict[str, Sum] = field(default_factory=dict)
    rerated: dict[str, Sum] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)

    @property
    def is_equal(self) -> bool:
        """Whether everything was billed as it is rated now."""
        return not self.differences


def rerate_usage(
    uow: UnitOfWork,
    folder: SealFolder,
    public_keys: Sequence[bytes],
    period: str,
    *,
    progress: Progress | None = None,
) -> Rerating:
    """Rate a closed month again from the seals up to it, one bucket at a time, and compare.

    Raises RuleBrokenError for a month that is not closed, NotFoundError for one that is not sealed, SealBrokenError
    naming a file that is not what was sealed.
    """
    month, run = run_again(uow, period)
    chain = folder.until(month.key, month.attempt, public_keys)
    buckets: dict[int, list[str]] = {}
    for customer in SubscriptionRepository(uow).customers():
        buckets.setdefault(bucket_of(uow.tenant, customer), []).append(customer)
    rerater = _Rerater(uow, run, Rerating(period))
    for done, (bucket, customers) in enumerate(sorted(buckets.items()), start=1):
        events = SealedEvents(map(folder.read, *_files(chain, bucket)), month.known_at)
        rerater.compare(customers, events)
        if progress is not None:
            progress(period, done, len(buckets))
    return rerater.found


def _files(chain: Iterable[Manifest], bucket: int) -> tuple[list[Manifest], list[SealedFile]]:
    pairs = [(manifest, file) for manifest in chain for file in manifest.files if file.bucket == bucket]
    return [manifest for manifest, _ in pairs], [file for _, file in pairs]


class _Rerater:
    """Compares bucket after bucket."""

    def __init__(self, uow: UnitOfWork, run: Run, found: Rerating) -> None:
        self.found = found
        self._uow = uow
        self._run = run
        self._meters: dict[str, dict[str, str]] = {}

    def compare(self, customers: Sequence[str], events: SealedEvents) -> None:
        """Rate a bucket's customers again and add what differs."""
        rerated: dict[Place, Sum] = {}
        keys = set()
        for draft in charge_customers(self._uow, customers, self._run, events=events.effective).drafts:
            for row in draft.rows:
                keys.add((row.subscription, row.key))
                self._add(rerated, draft.customer, draft.currency, row)
        billed: dict[Place, Sum] = {}
        charges = {each.id: each for each in ChargeRepository(self._uow).of_period(customers, self._run.period)}
        for charge_id, _, row in ChargeRepository(self._uow).rows(charges):
            charge = charges[charge_id]
            ends_later = row.cycle.end > self._run.effective_at + _WESTERNMOST
            # What was billed of a period on the way is looked at by the close of the month in which it ends.
            if not (charge.kind == "interim" and ends_later and (row.subscription, row.key) not in keys):
                self._add(billed, charge.customer, charge.currency, row)
        self.found.events += events.count
        self.found.customers += len(customers)
        self._take(rerated, billed)

    def _add(self, sums: dict[Place, Sum], customer: str, currency: str, row: RatedUsage) -> None:
        if row.kind in _COMPARED:
            place = Place(customer, currency, row.feature, self._meter(row))
            sums[place] = sums.get(place, Sum()).plus(row.quantity, row.amount)

    def _meter(self, row: RatedUsage) -> str:
        if row.kind is not Kind.USAGE or row.book_hash is None:
            return ""
        if row.book_hash not in self._meters:
            book = PriceBookRepository(self._uow).get(row.book_hash).book
            self._meters[row.book_hash] = {feature.key: feature.meter or "" for feature in book.features}
        return self._meters[row.book_hash].get(row.feature, "")

    def _take(self, rerated: dict[Place, Sum], billed: dict[Place, Sum]) -> None:
        for place in sorted(rerated.keys() | billed.keys()):
            was, now = billed.get(place, Sum()), rerated.get(place, Sum())
            if was != now:
                self.found.differences.append(Difference(place, was, now))
            for sums, one in ((self.found.billed, was), (self.found.rerated, now)):
                sums[place.currency] = sums.get(place.currency, Sum()).plus(one.units, one.amount)
