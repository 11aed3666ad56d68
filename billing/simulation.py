"""A simulated month as values: what each customer was invoiced, and would have been under other prices. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from models.values.quantity import EXACT


@dataclass(frozen=True, slots=True)
class Interval:
    """An expected amount in major units with its 90 percent interval. An estimate: not money that is posted.

    `mean`: with what lies beyond the interval taken to its end.
    """

    low: float
    mean: float
    high: float


@dataclass(frozen=True, slots=True)
class Billing:
    """One customer's month at one set of prices: minor units, rounded as invoices round them."""

    net_minor: int
    tax_minor: int

    @property
    def total_minor(self) -> int:
        """Net and tax."""
        return self.net_minor + self.tax_minor


@dataclass(frozen=True, slots=True)
class FeatureAmounts:
    """What one feature comes to at the prices in force and at the draft's, and what it costs; exact, major units."""

    live: Decimal
    draft: Decimal
    cost: Decimal

    def plus(self, other: FeatureAmounts) -> FeatureAmounts:
        """Add up."""
        return FeatureAmounts(
            EXACT.add(self.live, other.live), EXACT.add(self.draft, other.draft), EXACT.add(self.cost, other.cost)
        )


@dataclass(frozen=True, slots=True)
class SimulatedCustomer:
    """One customer and currency: as invoiced, rated again at the same prices, and at the draft's.

    `expected`: what the draft would earn, net, if it were offered anew, where demand responds; None without a model
    that knows the customer's segment and features (`demand_response`). `not_sold`: features the draft does not have.
    `selection`: what is agreed at the end of the month, by feature. `whole_month`: it was billed from the month's
    first day on.
    """

    customer: str
    segment: str
    currency: str
    issued: Billing
    live: Billing
    draft: Billing
    features: Mapping[str, FeatureAmounts]
    expected: Interval | None = None
    not_sold: tuple[str, ...] = ()
    selection: Mapping[str, Decimal] = field(default_factory=dict)
    whole_month: bool = True

    @property
    def difference_minor(self) -> int:
        """What the customer would pay more (or, below zero, less) before tax; usage as it was."""
        return self.draft.net_minor - self.live.net_minor

    @property
    def reproduced(self) -> bool:
        """Whether rating again at the prices in force gives the issued invoices to the cent."""
        return self.live == self.issued


@dataclass(frozen=True, slots=True)
class SimulatedTotal:
    """All customers of one currency. `expected`, `expected_margin`: with demand response, net, major units.

    `responding`: how many customers the model speaks for; the others are taken as they were.
    """

    currency: str
    customers: int
    issued: Billing
    live: Billing
    draft: Billing
    winners: int
    losers: int
    expected: Interval | None = None
    expected_margin: Interval | None = None
    responding: int = 0


@dataclass(frozen=True, slots=True)
class Simulation:
    """A closed month under a draft price book or price sheets. `model_hash`: of the demand used, empty without."""

    period: str
    draft: str
    customers: tuple[SimulatedCustomer, ...]
    totals: tuple[SimulatedTotal, ...]
    model_hash: str = ""

    @property
    def reproduced(self) -> bool:
        """Whether the month, rated again at the prices in force, equals its invoices to the cent."""
        return all(each.reproduced for each in self.customers)

    def winners(self) -> list[SimulatedCustomer]:
        """Return the customers who would pay less, the largest saving first."""
        return sorted(
            (each for each in self.customers if each.difference_minor < 0), key=lambda each: each.difference_minor
        )

    def losers(self) -> list[SimulatedCustomer]:
        """Return the customers who would pay more, the largest rise first."""
        return sorted(
            (each for each in self.customers if each.difference_minor > 0), key=lambda each: -each.difference_minor
        )

    def by_feature(self, currency: str) -> dict[str, FeatureAmounts]:
        """Return what each feature comes to in one currency, the largest first."""
        sums: dict[str, FeatureAmounts] = {}
        for each in self.customers:
            if each.currency == currency:
                for feature, amounts in each.features.items():
                    sums[feature] = sums[feature].plus(amounts) if feature in sums else amounts
        return dict(sorted(sums.items(), key=lambda item: (-item[1].live, item[0])))

    def cost(self, currency: str) -> Decimal:
        """Return what everything billed at the draft's prices costs, exact, in one currency."""
        cost = Decimal(0)
        for amounts in self.by_feature(currency).values():
            cost = EXACT.add(cost, amounts.cost)
        return cost


def totals_without_response(customers: Sequence[SimulatedCustomer]) -> list[SimulatedTotal]:
    """Sum customers by currency."""
    totals = []
    for asset in sorted({each.currency for each in customers}):
        own = [each for each in customers if each.currency == asset]
        totals.append(
            SimulatedTotal(
                currency=asset,
                customers=len(own),
                issued=_sum([each.issued for each in own]),
                live=_sum([each.live for each in own]),
                draft=_sum([each.draft for each in own]),
                winners=sum(each.difference_minor < 0 for each in own),
                losers=sum(each.difference_minor > 0 for each in own),
            )
        )
    return totals


def _sum(billings: Sequence[Billing]) -> Billing:
    return Billing(sum(each.net_minor for each in billings), sum(each.tax_minor for each in billings))
