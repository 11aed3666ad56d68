"""What is priced: quantities in billable units, scaled to integers, of the period from its start."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from pricing_engine.tariffs.drafts import LineDraft


@dataclass(frozen=True, slots=True)
class ProratedChange:
    """A change of a level: by how many units, and how many of them the rest of the period makes of it."""

    full: int
    prorated: int


@dataclass(frozen=True, slots=True)
class Measure:
    """Integers of the tariff's unit scale (`event_amounts`: of its amount scale). None: not given.

    groups: units by the properties they share. in_service: the part of the period in service, as (days, of days).
    """

    units: int | None = None
    full_units: int | None = None
    event_count: int | None = None
    values: tuple[int, ...] | None = None
    event_amounts: tuple[int, ...] | None = None
    running_total: tuple[int, ...] | None = None
    changes: tuple[ProratedChange, ...] | None = None
    buckets: tuple[int, ...] | None = None
    groups: tuple[tuple[dict[str, str], int], ...] | None = None
    in_service: tuple[int, int] | None = None


class Pricer(Protocol):
    """A compiled price shape."""

    def lines(self, measure: Measure) -> list[LineDraft]:
        """Return the price by component. Raises InvalidValueError where the usage lacks what the shape needs."""
        ...


def after_allowance(values: Iterable[int], allowance: int) -> list[int]:
    """Take an allowance off quantities, earliest first."""
    left = allowance
    remaining = []
    for value in values:
        taken = min(left, value)
        left -= taken
        remaining.append(value - taken)
    return remaining
