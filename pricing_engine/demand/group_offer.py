"""Group offers: the price falls for everyone as pledges reach thresholds.

Each of n invited names the highest price at which they are in. With m_t the number in at the price of tier
t (prices falling, so m_1 <= m_2 <= ...), the offer closes at the last tier with m_t >= its threshold, and
everyone in at that price pays it; below the first threshold nothing is sold. Given m_t, the newcomers at
the next price are binomial, so the expected profit is exact by recursion, without simulation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from models.values.errors import InvalidValueError
from pricing_engine.demand.price_basis import Floats

_MAX_INVITED = 2_000

CostOf = Callable[[Floats], Floats]
"""Total cost (m,) of serving m customers; where it bends, a group is worth more than its members."""


@dataclass(frozen=True, slots=True)
class GroupTier:
    """With at least `pledges` in, everyone pays `price` (major units)."""

    pledges: int
    price: Decimal


@dataclass(frozen=True, slots=True)
class GroupOffer:
    """Tiers in order; thresholds rise and prices fall, so a pledge never makes anyone pay more."""

    tiers: tuple[GroupTier, ...]

    def __post_init__(self) -> None:
        """Refuse with InvalidValueError tiers that are none, or whose prices do not fall as pledges rise."""
        pledges, prices = [tier.pledges for tier in self.tiers], [tier.price for tier in self.tiers]
        if not self.tiers or pledges[0] < 1 or prices[-1] < 0:
            raise InvalidValueError("needs a tier, pledges >= 1 and prices >= 0", field="group_offer.tiers")
        if any(a >= b for a, b in pairwise(pledges)) or any(a <= b for a, b in pairwise(prices)):
            raise InvalidValueError("pledges must rise and prices fall", field="group_offer.tiers", value=pledges)

    def price_at(self, pledges: int) -> Decimal | None:
        """Return the price with that many pledges, None below the first threshold."""
        reached = [tier.price for tier in self.tiers if tier.pledges <= pledges]
        return reached[-1] if reached else None


@dataclass(frozen=True, slots=True)
class GroupValue:
    """Expected profit (major units), chance that the offer closes, expected customers."""

    profit: float
    closes: float
    customers: float


def group_value(offer: GroupOffer, acceptance: Sequence[float], invited: int, cost_of: CostOf) -> GroupValue:
    """Return what an offer is worth, exactly; `acceptance`: P(in) at each tier's price, not falling.

    Raises InvalidValueError for chances that fall with the price or more than 2,000 invited.
    """
    chances = [0.0, *acceptance]
    if len(acceptance) != len(offer.tiers) or any(a > b for a, b in pairwise(chances)):
        raise InvalidValueError("needs one chance a tier, rising as prices fall", field="acceptance")
    if chances[-1] > 1 or not 1 <= invited <= _MAX_INVITED:
        raise InvalidValueError(f"must be 1 to {_MAX_INVITED}", field="invited", value=invited)
    count = np.arange(invited + 1)
    cost = cost_of(count.astype(np.float64))
    profit = closes = customers = 0.0
    # Chance that no later tier is reached, given m in at this one: backwards from the last.
    stays = np.ones(invited + 1)
    for t in range(len(offer.tiers) - 1, -1, -1):
        tier = offer.tiers[t]
        ends_here = binom.pmf(count, invited, chances[t + 1]) * stays * (count >= tier.pledges)
        profit += float(ends_here @ (float(tier.price) * count - cost))
        closes += float(ends_here.sum())
        customers += float(ends_here @ count)
        joining = (chances[t + 1] - chances[t]) / (1.0 - chances[t]) if chances[t] < 1 else 0.0
        not_reached = stays * (count < tier.pledges)
        newcomers = binom.pmf(count[None, :] - count[:, None], invited - count[:, None], joining)
        stays = newcomers @ not_reached
    return GroupValue(profit, closes, customers)


def design_group_offer(
    prices: Sequence[Decimal], acceptance: Sequence[float], invited: int, cost_of: CostOf
) -> tuple[GroupOffer, GroupValue]:
    """Return the offer of one or two tiers, out of candidate `prices`, with the largest expected profit.

    `acceptance`: P(in) at each candidate price. A tier's threshold is the least number at which closing
    there beats not closing, and a second tier's also the number at which its price beats the first's.
    Raises InvalidValueError without candidates.
    """
    if not prices or len(prices) != len(acceptance):
        raise InvalidValueError("needs one chance a candidate price", field="prices", value=len(prices))
    ladder = sorted(zip(prices, acceptance, strict=True), key=lambda pair: -pair[0])
    count = np.arange(invited + 1, dtype=np.int64)
    cost = cost_of(count.astype(np.float64))
    best: tuple[GroupOffer, GroupValue] | None = None
    for i, (dear, few) in enumerate(ladder):
        first = _least(count, float(dear) * count - cost, 0.0)
        singles = [((GroupTier(first, dear),), (few,))] if first else []
        pairs = [
            ((GroupTier(first, dear), GroupTier(second, cheap)), (few, many))
            for cheap, many in ladder[i + 1 :]
            if first and many > few and cheap < dear
            for second in _seconds(count, cost, first, float(dear), float(cheap), few / many)
        ]
        for tiers, chances in [*singles, *pairs]:
            offer = GroupOffer(tiers)
            value = group_value(offer, chances, invited, cost_of)
            if best is None or value.profit > best[1].profit:
                best = offer, value
    if best is None:
        raise InvalidValueError("no candidate price covers its cost at any number", field="prices", value=prices[0])
    return best


def _least(count: NDArray[np.int64], profit: Floats, above: float) -> int:
    reached = np.flatnonzero((profit >= above) & (count > 0))
    return int(count[reached[0]]) if len(reached) else 0


def _seconds(count: NDArray[np.int64], cost: Floats, first: int, dear: float, cheap: float, share: float) -> list[int]:
    """Return the least m > first at which m customers at `cheap` earn more than the share of them at `dear`."""
    at_dear = np.round(count * share).astype(np.intp)
    otherwise = np.where(at_dear >= first, dear * at_dear - cost[at_dear], 0.0)
    better = np.flatnonzero((cheap * count - cost >= otherwise) & (count > first))
    return [int(better[0])] if len(better) else []
