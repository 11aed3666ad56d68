"""Parity between segments and channels, and attributes that stand in for protected ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.stats import chi2_contingency

from models.values.errors import InvalidValueError

PROXY_ASSOCIATION = 0.3
"""Cramer's V from which an attribute counts as standing in for another: a medium association."""


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


def find_proxies(
    attributes: Mapping[str, Sequence[str]], protected: Mapping[str, Sequence[str]], least: float = PROXY_ASSOCIATION
) -> tuple[Proxy, ...]:
    """Return attributes that tell a protected attribute of the same customers, strongest first.

    All sequences hold one value a customer. Raises InvalidValueError where lengths differ.
    """
    found = [
        Proxy(name, other, strength)
        for name, values in attributes.items()
        for other, secret in protected.items()
        if (strength := association(values, secret)) >= least
    ]
    return tuple(sorted(found, key=lambda proxy: (-proxy.association, proxy.attribute)))


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
