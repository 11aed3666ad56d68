"""What an event adds to what a customer owes: the billing period priced with it and without it, by the same function.

Usage so far is read live. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from billing.charging import price_source
from billing.measured_usage import Measured, Window
from billing.metered_features import windows_of
from billing.metering.counters import Absent, counter_of, read_value
from billing.metering.history import StoredEvent
from billing.metering.live_usage import usage_of
from billing.period_rating import rate_period
from billing.phases import CyclePeriod, PhaseState, Subscription
from billing.price_source import PriceSource
from billing.rated_usage import Scope
from billing.repositories.subscriptions import SubscriptionRepository
from billing.unit_of_work import UnitOfWork
from models.values.errors import RuleBrokenError
from models.values.money import RoundingMode, currency, round_fraction, round_to_ledger_units
from models.values.period import Period
from models.values.quantity import EXACT
from pricing_engine.catalog import Meter

_MOMENT = timedelta(microseconds=1)
_ZERO = Decimal(0)


class NotMeteredError(RuleBrokenError):
    """No active subscription of the customer counts such an event."""

    code = "not_metered"


@dataclass(frozen=True, slots=True)
class Increment:
    """What one feature costs for the period `before` and `after`, exact, in major units."""

    feature: str
    asset: str
    before: Decimal
    after: Decimal

    @property
    def amount(self) -> Decimal:
        """What is added; below zero where a tariff lets more units cost less."""
        return EXACT.subtract(self.after, self.before)

    @property
    def units(self) -> int:
        """What is added in ledger units, as the difference of rounded sums: many increments sum to what is owed."""
        money = currency(self.asset)
        return max(round_to_ledger_units(self.after, money) - round_to_ledger_units(self.before, money), 0)

    @property
    def units_to_keep(self) -> int:
        """The ledger units that are enough for it, whatever was counted before."""
        scaled = EXACT.scaleb(self.amount, currency(self.asset).ledger_exponent)
        return max(round_fraction(scaled, RoundingMode.CEILING), 0)


def priced_increment(
    uow: UnitOfWork, event: StoredEvent, *, besides: Sequence[StoredEvent] = ()
) -> tuple[Increment, ...]:
    """Return, by feature, what the customer owes more with `event` and `besides` than with what is stored.

    Raises NotMeteredError where no active subscription counts the event, what `read_value` raises for its data.
    """
    at = event.occurred_at
    active = [
        each
        for each in SubscriptionRepository(uow).of_customers([event.customer])
        if (phase := each.phase_at(at)) is not None and phase.state is PhaseState.ACTIVE
    ]
    source = price_source(uow, active)
    sums: dict[tuple[str, str], tuple[Decimal, Decimal]] = {}
    is_counted = False
    for subscription in active:
        for cycle in subscription.cycle_periods(Period(at, at + _MOMENT)):
            windows = sorted(set(windows_of(cycle, source, Scope.INTERIM, cycle.ends_at)))
            touched = [each for each in windows if _counts(_meter(source, *each), event)]
            if not touched:
                continue
            is_counted = True
            before = {each: _measured(uow, source, event.customer, each, ()) for each in windows}
            after = before | {
                each: _measured(uow, source, event.customer, each, (*besides, event))
                for each in windows
                if _meter(source, *each).event_type == event.event_type
            }
            _add(sums, 0, subscription, cycle, source, before)
            _add(sums, 1, subscription, cycle, source, after)
    if not is_counted:
        raise NotMeteredError("no active subscription counts it", field=event.customer, value=event.event_type)
    return tuple(Increment(feature, asset, *sums[asset, feature]) for asset, feature in sorted(sums))


def _measured(
    uow: UnitOfWork, source: PriceSource, customer: str, of: tuple[str, Window], besides: Sequence[StoredEvent]
) -> Measured:
    window = of[1]
    period = Period(window.start, window.end)
    return usage_of(uow, customer, _meter(source, *of), period, by_event=window.by_event, besides=besides)


def _meter(source: PriceSource, book: str, window: Window) -> Meter:
    return source.books[book].book.meter(window.meter)


def _counts(meter: Meter, event: StoredEvent) -> bool:
    counter = counter_of(meter)
    return counter.event_type == event.event_type and not isinstance(read_value(counter, event.data), Absent)


def _add(
    sums: dict[tuple[str, str], tuple[Decimal, Decimal]],
    side: int,
    subscription: Subscription,
    cycle: CyclePeriod,
    source: PriceSource,
    measured: Mapping[tuple[str, Window], Measured],
) -> None:
    for row in rate_period(subscription, cycle, source, measured, Scope.INTERIM, cycle.ends_at):
        key = subscription.currency, row.feature
        both = list(sums.get(key, (_ZERO, _ZERO)))
        both[side] = EXACT.add(both[side], row.amount)
        sums[key] = both[0], both[1]
