"""The run-out price: where more would be wanted than is left, a unit costs what it would earn later.

Stock that has to last some days may be sold at `left / days` a day. The value of a unit is the least that, added to its
cost, makes the best prices ask for no more than that: zero where supply is ample. Values of several features are found
together, as the minimum of a convex function: profit at the best prices plus the worth of what may be sold, a day (the
dual of the fluid problem, Gallego & van Ryzin 1994).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import polars as pl
from scipy.optimize import minimize

from models.values.errors import InvalidValueError
from pricing_engine.demand.epoch_market import EpochMarket
from pricing_engine.demand.price_basis import Floats
from pricing_engine.demand.quote_log import QuoteOutcome, outcome_counts

_HIGHEST_OVER_LIST = 4.0
_DAY = timedelta(days=1)
_RECENT = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Supply:
    """What is left of one limited feature, in whole units, and how many days it should last."""

    left: int
    days: int

    def __post_init__(self) -> None:
        """Refuse less than nothing, and less than a day."""
        if self.left < 0 or self.days < 1:
            raise InvalidValueError("needs left >= 0 and days >= 1", field="supply", value=f"{self.left}/{self.days}")


@dataclass(frozen=True, slots=True)
class Stock:
    """What is left by limited feature, and how many quotes a day are decided by segment."""

    supplies: Mapping[str, Supply] = field(default_factory=dict)
    quotes_a_day: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shortage:
    """A limited feature of which more would be wanted than is left.

    `wanted`: units within its days at the prices that would be best were there enough. `unit_value`: what a unit kept
    is expected to earn later, above its cost, in major units.
    """

    feature: str
    supply: Supply
    wanted: float
    unit_value: float


def decided_a_day(log: pl.DataFrame, until: datetime) -> dict[str, float]:
    """Return how many quotes of each segment a day brings to a decision, by those of the last 30 days before `until`.

    A younger log counts for as long as it is. Open quotes are expected to be decided in the share in which the log's
    others were: what runs out of time takes no stock. The log has the columns of `quote_log`.
    """
    asked = log.filter(pl.col("outcome") != str(QuoteOutcome.HONOURED), pl.col("quoted_at") < until)
    if not asked.height:
        return {}
    first: datetime = asked["quoted_at"].min()  # type: ignore[assignment]
    since = max(first, until - _RECENT)
    counts = outcome_counts(log)
    decided = counts[QuoteOutcome.ACCEPTED] + counts[QuoteOutcome.DECLINED]
    share = decided / max(decided + counts[QuoteOutcome.EXPIRED], 1)
    days = max((until - since) / _DAY, 1.0)
    recent = asked.filter(pl.col("quoted_at") >= since)["segment"].value_counts()
    return {segment: count * share / days for segment, count in sorted(recent.iter_rows())}


def with_shortages(
    markets: Sequence[EpochMarket], segments: Sequence[str], priced: Sequence[str], stock: Stock
) -> tuple[list[EpochMarket], tuple[Shortage, ...]]:
    """Return the markets of an epoch with the worth of what is left in their costs, and which features are short.

    `segments` are those of `markets`, `priced` their features. With ample supply the markets are returned as they are.
    """
    limited = [k for k, feature in enumerate(priced) if feature in stock.supplies]
    quotes = np.array([stock.quotes_a_day.get(segment, 0.0) for segment in segments])
    if not limited or not quotes.any():
        return list(markets), ()
    supplies = [stock.supplies[priced[k]] for k in limited]
    a_day = np.array([supply.left / supply.days for supply in supplies])
    list_price = markets[0].list_price[limited]

    def valued(values: Floats) -> list[EpochMarket]:
        """Return the markets where a unit of each limited feature costs so many list prices more."""
        each = np.zeros(len(priced))
        each[limited] = values * list_price
        return [market.with_unit_values(each) for market in markets]

    def sold(priced_markets: Sequence[EpochMarket]) -> tuple[float, Floats]:
        """Return profit and units sold a day at the best prices."""
        best = [market.optimum() for market in priced_markets]
        profit = [market.profit(prices) for market, prices in zip(priced_markets, best, strict=True)]
        units = [market.units_sold(prices)[limited] for market, prices in zip(priced_markets, best, strict=True)]
        return float(quotes @ np.array(profit)), np.asarray(quotes @ np.array(units))

    _, wanted = sold(markets)
    if not np.any(wanted > a_day):
        return list(markets), ()
    scale = float(quotes.sum() * list_price.mean())

    def dual(values: Floats) -> tuple[float, Floats]:
        profit, units = sold(valued(values))
        return (profit + values * list_price @ a_day) / scale, (a_day - units) * list_price / scale

    bounds = [(0.0, _HIGHEST_OVER_LIST)] * len(limited)
    found = np.asarray(minimize(dual, np.zeros(len(limited)), jac=True, method="L-BFGS-B", bounds=bounds).x)
    short = tuple(
        Shortage(priced[k], supply, float(wanted[i] * supply.days), float(found[i] * list_price[i]))
        for i, (k, supply) in enumerate(zip(limited, supplies, strict=True))
        if found[i] > 0
    )
    return valued(found), short
