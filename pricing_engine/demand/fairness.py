"""Parity between segments and channels, and attributes that stand in for protected ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import chi2_contingency

from models.values.canonical_json import Json
from models.values.errors import InvalidValueError
from pricing_engine.demand.explanation import figure
from pricing_engine.segmentation import Segmentation

PROXY_ASSOCIATION = 0.3
"""Cramer's V from which an attribute counts as standing in for another: a medium association."""

LEAST_CUSTOMERS = 50
"""With fewer, an association may well be chance."""

SEGMENT = "segment"
"""What the segment itself is called where it is looked at like an attribute."""

_MOST_GROUPS = 10


@dataclass(frozen=True, slots=True)
class Parity:
    """One group's quotes: how many, the mean price against all quotes of the same selections, acceptance."""

    group: str
    quotes: int
    price_index: float
    acceptance: float


@dataclass(frozen=True, slots=True)
class Proxy:
    """An attribute that tells a protected one: Cramer's V, 0 nothing to 1 everything."""

    attribute: str
    stands_for: str
    association: float


@dataclass(frozen=True, slots=True)
class ProxyCheck:
    """What was found, when, looking at how many customers and which protected attributes."""

    checked_at: datetime
    customers: int
    protected: tuple[str, ...]
    found: tuple[Proxy, ...]

    def still_used(self, segmentation: Segmentation) -> ProxyCheck:
        """Return the check without what prices do not follow any more: what is found stays until checked again."""
        used = {SEGMENT, *segmentation.attributes} if segmentation.formed_from else frozenset()
        return replace(self, found=tuple(proxy for proxy in self.found if proxy.attribute in used))

    def document(self) -> dict[str, Json]:
        """Return the check as JSON."""
        return {
            "checked_at": self.checked_at.isoformat(),
            "customers": self.customers,
            "protected": list(self.protected),
            "found": [
                {"attribute": each.attribute, "stands_for": each.stands_for, "association": figure(each.association)}
                for each in self.found
            ],
        }


def read_proxy_check(document: Mapping[str, Any]) -> ProxyCheck:
    """Return the check of a model card."""
    found = [
        Proxy(each["attribute"], each["stands_for"], float(each["association"])) for each in document["found"]
    ]  # fmt: skip
    checked_at = datetime.fromisoformat(document["checked_at"])
    return ProxyCheck(checked_at, document["customers"], tuple(document["protected"]), tuple(found))


def parity(log: pl.DataFrame, by: str) -> tuple[Parity, ...]:
    """Compare groups of decided quotes by `by` (segment or channel), like selections with like.

    The price index is the mean of price / mean price of the same selection: 1.05 is 5 percent dearer than
    the others pay for the same. Raises InvalidValueError for a column that is not there.
    """
    if by not in log.columns:
        raise InvalidValueError("is not a column of the log", field="by", value=by)
    decided = log.filter(pl.col("outcome").is_in(["accepted", "declined"])).sort("quote_id")
    # Sums in NumPy, in one order: a card must not change by the last digit from run to run.
    price = decided["price"].cast(pl.Float64).to_numpy()
    selection = decided.select(pl.col("features").list.sort().list.join("+").rank("dense") - 1).to_series().to_numpy()
    mean = np.bincount(selection, weights=price) / np.bincount(selection)
    index = np.divide(price, mean[selection], out=np.ones(len(price)), where=mean[selection] > 0)
    names, group = np.unique(decided[by].cast(pl.String).to_numpy(), return_inverse=True)
    quotes = np.bincount(group, minlength=len(names))
    indices = np.bincount(group, weights=index, minlength=len(names)) / quotes
    taken = np.bincount(group, weights=(decided["outcome"] == "accepted").to_numpy(), minlength=len(names)) / quotes
    return tuple(
        Parity(str(name), int(count), float(at), float(share))
        for name, count, at, share in zip(names, quotes, indices, taken, strict=True)
    )


def parity_ratio(groups: Sequence[Parity]) -> float:
    """Return the dearest group's price index over the cheapest's; 1 is perfect parity."""
    indices = [group.price_index for group in groups if group.price_index > 0]
    return max(indices) / min(indices) if indices else 1.0


def check_proxies(customers: pl.DataFrame, segmentation: Segmentation, at: datetime) -> ProxyCheck:
    """Return which segments, or attributes they are formed from, tell an attribute that must not set prices.

    `customers`: one row each, texts, null where unknown: `segment`, by which they are priced, and attributes. Raises
    InvalidValueError where none of these is protected, or one is known of too few customers to tell anything.
    """
    protected = sorted(set(customers.columns) & segmentation.protected)
    if not protected:
        raise InvalidValueError("names no attribute that must not set prices", field="attributes")
    for name in protected:
        known = customers[name].count()
        if known < LEAST_CUSTOMERS:
            raise InvalidValueError(f"needs {LEAST_CUSTOMERS} customers of whom it is known", field=name, value=known)
    telling = [SEGMENT, *(name for name in segmentation.attributes if name in customers.columns)]
    grouped = customers.select(SEGMENT, *(_grouped(customers[name]) for name in {*telling[1:], *protected}))
    return ProxyCheck(at, customers.height, tuple(protected), find_proxies(grouped, telling, protected))


def find_proxies(
    customers: pl.DataFrame, attributes: Sequence[str], protected: Sequence[str], least: float = PROXY_ASSOCIATION
) -> tuple[Proxy, ...]:
    """Return the columns that tell a protected one, strongest first, by the customers of whom both are known."""
    found = []
    for name in attributes:
        for other in protected:
            known = customers.select(a=name, b=other).drop_nulls()
            if known.height > 1 and (strength := association(known["a"].to_list(), known["b"].to_list())) >= least:
                found.append(Proxy(name, other, strength))
    return tuple(sorted(found, key=lambda proxy: (-proxy.association, proxy.attribute, proxy.stands_for)))


def _grouped(values: pl.Series) -> pl.Series:
    """Return numbers of many values, like an income or an age, in tenths from the smallest to the largest."""
    numbers = values.cast(pl.Float64, strict=False)
    if numbers.null_count() > values.null_count() or numbers.n_unique() <= _MOST_GROUPS:
        return values
    tenth = (numbers.rank("min") - 1) * _MOST_GROUPS / numbers.count()
    return tenth.floor().cast(pl.String)


def association(first: Sequence[str], second: Sequence[str]) -> float:
    """Return Cramer's V with the small-sample correction of Bergsma (2013).

    Raises InvalidValueError for sequences of unequal length or without two values.
    """
    if len(first) != len(second) or len(first) < 2:
        raise InvalidValueError("needs two values or more, as many of each", field="first", value=len(first))
    rows, row = np.unique(np.asarray(first, dtype=str), return_inverse=True)
    columns, column = np.unique(np.asarray(second, dtype=str), return_inverse=True)
    if len(rows) < 2 or len(columns) < 2:
        return 0.0
    table = np.zeros((len(rows), len(columns)))
    np.add.at(table, (row, column), 1.0)
    count = float(table.sum())
    phi2 = float(chi2_contingency(table, correction=False).statistic) / count
    r, c = table.shape
    corrected = max(phi2 - (r - 1) * (c - 1) / (count - 1), 0.0)
    sides = min(r - (r - 1) ** 2 / (count - 1), c - (c - 1) ** 2 / (count - 1)) - 1
    return float(np.sqrt(corrected / sides)) if sides > 0 else 0.0
