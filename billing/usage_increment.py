"""What events add to what a customer owes: their billing periods priced with and without them, by the same function.

Usage so far is read live. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
    """What one feature costs more: `amount` exact, in major units, below zero where more units cost less.

    `difference` is the same in ledger units, as the difference of each period's rounded sums: however usage is cut
    into increments, they sum to what is owed for all of it.
    """

    feature: str
    asset: str
    amount: Decimal
    difference: int

    @property
    def slot(self) -> tuple[str, str]:
        """Asset and feature."""
        return self.asset, self.feature

    @property
    def units(self) -> int:
        """The ledger units to pay."""
        return max(self.difference, 0)

    @property
    def units_to_keep(self) -> int:
        """The ledger units that are enough for it, also where usage that nobody kept credit for comes between."""
        scaled = EXACT.scaleb(self.amount, currency(self.asset).ledger_exponent)
        return max(round_fraction(scaled, RoundingMode.CEILING), self.units)


class UsagePricer:
    """Prices usage of one customer on top of what is stored when it is asked."""

    def __init__(self, uow: UnitOfWork, customer: str) -> None:
        self._uow, self._customer = uow, customer
        self._subscriptions = SubscriptionRepository(uow).of_customers([customer])
        self._source = price_source(uow, self._subscriptions)

    def check_counted(self, event: StoredEvent) -> None:
        """Raise NotMeteredError where no active subscription counts the event, InvalidValueError for its data."""
        meters = [self._meter(*each) for _, cycle in self._periods(event) for each in self._windows(cycle)]
        # Every meter reads it: one that counts the event does not excuse data that another refuses.
        if not any([_counts(meter, event) for meter in meters]):
            raise NotMeteredError("is counted by no active subscription", field="event.type", value=event.event_type)

    def added_by(self, events: Sequence[StoredEvent], besides: Sequence[StoredEvent] = ()) -> tuple[Increment, ...]:
        """Return, by feature, what the customer owes more with `events` than with what is stored and `besides`."""
        cycles = {
            (subscription.id, cycle.ends_at): (subscription, cycle)
            for event in events
            for subscription, cycle in self._periods(event)
        }
        sums: dict[tuple[str, str], tuple[Decimal, int]] = {}
        types = {event.event_type for event in events}
        for subscription, cycle in cycles.values():
            windows = self._windows(cycle)
            before = {each: self._measured(each, besides) for each in windows}
            after = before | {
                each: self._measured(each, (*besides, *events))
                for each in windows
                if self._meter(*each).event_type in types
            }
            money = currency(subscription.currency)
            costs = self._costs(subscription, cycle, before), self._costs(subscription, cycle, after)
            for feature in {**costs[0], **costs[1]}:
                was, will_be = (each.get(feature, _ZERO) for each in costs)
                amount, units = sums.get((money.code, feature), (_ZERO, 0))
                units += round_to_ledger_units(will_be, money) - round_to_ledger_units(was, money)
                sums[money.code, feature] = EXACT.add(amount, EXACT.subtract(will_be, was)), units
        return tuple(Increment(feature, asset, *sums[asset, feature]) for asset, feature in sorted(sums))

    def _periods(self, event: StoredEvent) -> Iterator[tuple[Subscription, CyclePeriod]]:
        """Yield the billing periods of active subscriptions that the event falls in."""
        at = event.occurred_at
        for subscription in self._subscriptions:
            phase = subscription.phase_at(at)
            if phase is not None and phase.state is PhaseState.ACTIVE:
                for cycle in subscription.cycle_periods(Period(at, at + _MOMENT)):
                    yield subscription, cycle

    def _windows(self, cycle: CyclePeriod) -> list[tuple[str, Window]]:
        return sorted(set(windows_of(cycle, self._source, Scope.INTERIM, cycle.ends_at)))

    def _meter(self, book: str, window: Window) -> Meter:
        return self._source.books[book].book.meter(window.meter)

    def _measured(self, of: tuple[str, Window], besides: Sequence[StoredEvent]) -> Measured:
        window = of[1]
        period = Period(window.start, window.end)
        return usage_of(self._uow, self._customer, self._meter(*of), period, by_event=window.by_event, besides=besides)

    def _costs(
        self, subscription: Subscription, cycle: CyclePeriod, measured: Mapping[tuple[str, Window], Measured]
    ) -> dict[str, Decimal]:
        costs: dict[str, Decimal] = {}
        for row in rate_period(subscription, cycle, self._source, measured, Scope.INTERIM, cycle.ends_at):
            costs[row.feature] = EXACT.add(costs.get(row.feature, _ZERO), row.amount)
        return costs


def _counts(meter: Meter, event: StoredEvent) -> bool:
    counter = counter_of(meter)
    return counter.event_type == event.event_type and not isinstance(read_value(counter, event.data), Absent)
