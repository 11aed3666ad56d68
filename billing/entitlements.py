"""Entitlements: may this customer use this feature now, and what is left of it.

What was bought is read once (`read_rights`), each decision is then pure. Usage counts as it will be billed: from where
the price of the billing period begins. Credit is no limit here: usage beyond it is invoiced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from billing.charging import price_source
from billing.metered_features import chains
from billing.metering.live_usage import usage_of
from billing.phases import PhaseState, Subscription
from billing.price_source import PriceSource
from billing.repositories.customers import CustomerRepository
from billing.repositories.price_books import PriceBookRepository
from billing.repositories.subscriptions import SubscriptionRepository
from billing.unit_of_work import UnitOfWork
from models.values.errors import NotFoundError
from models.values.period import Period
from models.values.quantity import EXACT
from pricing_engine.catalog import Feature, FeatureKind, Meter, unknown_feature
from pricing_engine.tariffs.allowance import allowance
from pricing_engine.tariffs.scaling import exact_sum

_MOMENT = timedelta(microseconds=1)
_ZERO = Decimal(0)


class Reason(StrEnum):
    """Why a feature may be used, or not."""

    SUBSCRIBED = "subscribed"
    PAUSED = "paused"
    NOT_SUBSCRIBED = "not_subscribed"


@dataclass(frozen=True, slots=True)
class Allowance:
    """Over which time a meter of a price book counts a feature's usage, and how much of it is included."""

    book_hash: str
    meter: Meter
    period: Period
    included: Decimal | None


@dataclass(frozen=True, slots=True)
class Entitlement:
    """What a customer may do with a feature at an instant.

    `quantity`: units bought, over all subscriptions that have the feature. `allowance`: that of usage, of the first of
    these subscriptions; `used` is what its meter has counted, None where it was not read.
    """

    feature: str
    kind: FeatureKind
    reason: Reason
    subscriptions: tuple[str, ...] = ()
    quantity: Decimal | None = None
    allowance: Allowance | None = None
    used: Decimal | None = None

    @property
    def is_entitled(self) -> bool:
        """Whether the feature may be used."""
        return self.reason is Reason.SUBSCRIBED

    @property
    def left(self) -> Decimal | None:
        """The units bought, or those of the allowance that are not used; None where nothing limits them."""
        included = None if self.allowance is None else self.allowance.included
        if included is None or self.used is None:
            return self.quantity
        return max(EXACT.subtract(included, self.used), _ZERO)


class Rights:
    """What a customer has bought as of `at`; decides about each feature once. Everything but usage, nothing read."""

    def __init__(
        self,
        customer: str,
        at: datetime,
        subscriptions: Sequence[Subscription],
        source: PriceSource,
        features: Mapping[str, Feature],
    ) -> None:
        self.customer, self.at, self.features = customer, at, features
        self._subscriptions, self._source = subscriptions, source
        self._decided: dict[str, Entitlement] = {}

    def to(self, feature: str) -> Entitlement:
        """Return the right to a feature, its usage not counted. Raises NotFoundError (feature)."""
        known = self._decided.get(feature)
        if known is None:
            known = self._decided[feature] = self._decide(feature)
        return known

    def _decide(self, feature: str) -> Entitlement:
        if feature not in self.features:
            raise unknown_feature(feature)
        kind = self.features[feature].kind
        phases = [(each, each.phase_at(self.at)) for each in self._subscriptions]
        having = [(each, phase) for each, phase in phases if phase and feature in phase.agreement.selection]
        active = [(each, phase) for each, phase in having if phase.state is PhaseState.ACTIVE]
        if not active:
            return Entitlement(feature, kind, Reason.PAUSED if having else Reason.NOT_SUBSCRIBED)
        first, phase = active[0]
        kind = self._source.books[phase.agreement.book_hash].book.feature(feature).kind
        right = Entitlement(feature, kind, Reason.SUBSCRIBED, tuple(each.id for each, _ in active))
        if kind is FeatureKind.METERED:
            return replace(right, allowance=self._allowance(first, feature))
        if kind is FeatureKind.QUANTITY:
            return replace(right, quantity=exact_sum(phase.agreement.selection[feature] for _, phase in active))
        return right

    def _allowance(self, subscription: Subscription, feature: str) -> Allowance | None:
        for cycle in subscription.cycle_periods(Period(self.at, self.at + _MOMENT)):
            for key, chain in chains(cycle, self._source):
                period = Period(chain[0].period.start, chain[-1].period.end)
                if key == feature and self.at in period:
                    agreement = chain[0].phase.agreement
                    price = self._source.prices(agreement, period.start)[feature]
                    meter = self._source.books[agreement.book_hash].book.meter(price.feature.meter or "")
                    return Allowance(agreement.book_hash, meter, period, allowance(price.tariff.tariff))
        return None


def read_rights(uow: UnitOfWork, customer: str, at: datetime) -> Rights:
    """Read what a customer has bought. Raises NotFoundError (customer)."""
    buyer = CustomerRepository(uow).get(customer)
    subscriptions = SubscriptionRepository(uow).of_customers([customer])
    source = price_source(uow, subscriptions)
    books = [compiled.book for compiled in source.books.values()]
    with suppress(NotFoundError):  # Where nothing is sold now, what was sold before still counts.
        books.append(PriceBookRepository(uow).for_customer(buyer.currency, buyer.channel, at).book)
    features = {feature.key: feature for book in books for feature in book.features}
    return Rights(customer, at, subscriptions, source, features)


def read_used(uow: UnitOfWork, customer: str, given: Allowance) -> Decimal:
    """Return the units counted so far, every event of this moment included."""
    return usage_of(uow, customer, given.meter, given.period).units


def entitlements(uow: UnitOfWork, customer: str, at: datetime) -> list[Entitlement]:
    """Return every feature that a customer has or could have, usage included. Raises NotFoundError (customer)."""
    rights = read_rights(uow, customer, at)
    found = [rights.to(feature) for feature in rights.features]
    return [
        each if each.allowance is None else replace(each, used=read_used(uow, customer, each.allowance))
        for each in found
    ]
