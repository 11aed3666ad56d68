"""Recognition: what was billed in advance becomes revenue as its service is given, day by day, to the last unit.

Of the units deferred with a charge, what is still unearned at an instant is their part by elapsed time, rounded; each
close recognises the difference to the close before. At the end of the service nothing is left.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction

from billing import ledger
from billing.charge_posting import ahead_key, charge_of
from billing.charges import part_after
from billing.charging import Run
from billing.posting_rules import Fact, Recognition, journal
from billing.rated_usage import RatedUsage
from billing.repositories import accruals
from billing.repositories.charges import Charge, ChargeRepository
from billing.repositories.subscriptions import SubscriptionRepository
from billing.unit_of_work import UnitOfWork
from models.values.money import round_fraction

_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


def recognise(uow: UnitOfWork, customers: Collection[str], run: Run, recorded_at: datetime) -> None:
    """Recognise what was earned since the run before of all that was billed in advance; once a period and customer."""
    if run.since is None:
        return
    since, until = (datetime.combine(day, time.min, tzinfo=UTC) for day in (run.since, run.until))
    subscriptions = [each.id for each in SubscriptionRepository(uow).of_customers(customers)]
    by_charge: dict[str, tuple[Charge, dict[str, list[RatedUsage]]]] = {}
    for charge, row in ChargeRepository(uow).billed_ahead(subscriptions, since - timedelta(days=1)):  # In any zone.
        rows = by_charge.setdefault(charge.id, (charge, {}))[1]
        rows.setdefault(row.feature, []).append(row)
    deferred = accruals.by_key(uow, [ahead_key(charge) for charge in by_charge])
    # One journal a customer: a charge that takes back what another billed ahead is earned together with that one.
    facts: dict[tuple[str, str], list[Fact]] = {}
    for key in sorted(by_charge):
        charge, features = by_charge[key]
        if charge.period >= run.period or ahead_key(key) not in deferred:
            continue
        # East of Greenwich the service begins before the UTC month: the first close after the charge earns that too.
        is_first = _end_of(charge.period) == run.since
        begin = charge.cutoff if is_first else max(since, charge.cutoff)
        for feature, units in deferred[ahead_key(key)][1]:
            ahead = features.get(feature, [])
            earned = unearned(units, ahead, charge.cutoff, begin) - unearned(units, ahead, charge.cutoff, until)
            if earned:
                stream = (charge.customer, charge.currency)
                facts.setdefault(stream, []).append(Recognition(*stream, feature, earned))
    drafts = [
        journal(f"recognise:{run.period}:{customer}/{asset}", run.effective_at, *of_stream)
        for (customer, asset), of_stream in sorted(facts.items())
    ]
    ledger.post(uow, [draft for draft in drafts if draft.legs], recorded_at=recorded_at)


def _end_of(period: str) -> date:
    return (date(int(period[:4]), int(period[5:]), 1) + timedelta(days=32)).replace(day=1)


def deferred_at(uow: UnitOfWork, through: Mapping[str, tuple[str, datetime]]) -> dict[tuple[str, str, str], int]:
    """Return by customer, asset and feature the units not earned yet, given the last close and its end by customer."""
    subscriptions = [each.id for each in SubscriptionRepository(uow).of_customers(list(through))]
    by_charge: dict[str, tuple[Charge, dict[str, list[RatedUsage]]]] = {}
    since = min((until for _, until in through.values()), default=_BEGINNING)
    for charge, row in ChargeRepository(uow).billed_ahead(subscriptions, since - timedelta(days=1)):  # In any zone.
        rows = by_charge.setdefault(charge.id, (charge, {}))[1]
        rows.setdefault(row.feature, []).append(row)
    left: dict[tuple[str, str, str], int] = {}
    for key, (_, units_by_feature) in accruals.by_key(uow, [ahead_key(charge) for charge in by_charge]).items():
        charge, features = by_charge[charge_of(key)]
        period, until = through[charge.customer]
        at = max(until, charge.cutoff) if charge.period < period else charge.cutoff
        for feature, units in units_by_feature:
            place = (charge.customer, charge.currency, feature)
            left[place] = left.get(place, 0) + unearned(units, features.get(feature, []), charge.cutoff, at)
    return left


def unearned(units: int, rows: Collection[RatedUsage], since: datetime, at: datetime) -> int:
    """Return how many of the units deferred at `since` are not earned at `at`."""
    whole = sum((Fraction(part_after(row, since)) for row in rows), Fraction(0))
    left = sum((Fraction(part_after(row, at)) for row in rows), Fraction(0))
    if not whole or not left:
        return 0
    return round_fraction(Fraction(units) * left / whole) if at > since else units
