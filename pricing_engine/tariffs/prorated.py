"""Tiers by level, amounts by time: seats that came mid-period fill a tier whole but cost their part of the period.

graduated: every change of the level prices the units it moves through each tier, at the share of the period that
the change is in force (prorated / full); a decrease gives back from the top. An increase that is in force for no part
of the period fills no tier, nor does its end empty one. Quantities keep 24 decimal places, amounts are differences of
the exact running sum, so that their sum is as exact as its digits allow. Flat amounts of every tier that the level
entered are due whole. A level that ends below zero costs nothing.
volume: the unprorated level picks the tier, the prorated units are priced.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from models.values.errors import InvalidValueError
from models.values.money import round_fraction
from pricing_engine.tariffs.drafts import LineDraft
from pricing_engine.tariffs.measure import Measure, ProratedChange
from pricing_engine.tariffs.table import SegmentTable
from pricing_engine.tariffs.table_pricer import required_units


@dataclass(frozen=True, slots=True)
class ProratedGraduatedPricer:
    """Prices changes of a level through graduated tiers, in the order they happened."""

    table: SegmentTable

    def lines(self, measure: Measure) -> list[LineDraft]:
        """Return each tier's prorated units at its price, and the flat amounts of the tiers entered."""
        if measure.changes is None:
            raise InvalidValueError(
                "a prorated graduated price needs events with full and prorated",
                field="usage.events",
                code="prorated_events_required",
            )
        table = self.table
        quantities, highest, level = self._walk(measure.changes)
        if highest <= table.free_up_to:
            return table.lines(0)
        if level < 0:
            return []
        lines: list[LineDraft] = []
        exact, drafted = Fraction(0), 0
        for i in range(table.tier_of(highest) + 1):
            piece = table.pieces[i]
            if piece.unit_amount is not None:
                exact += quantities[i] * table.rates[i]
                amount = round_fraction(exact) - drafted
                drafted += amount
                lines.append(LineDraft(piece.unit_component, round_fraction(quantities[i]), piece.unit_amount, amount))
            if piece.flat_amount is not None:
                lines.append(LineDraft(piece.flat_component, table.unit_one, piece.flat_amount, piece.flat_scaled))
        return lines

    def _walk(self, changes: Iterable[ProratedChange]) -> tuple[list[Fraction], int, int]:
        """Return the prorated units of each tier, the highest level reached, and the last one."""
        table = self.table
        quantities = [Fraction(0)] * len(table.pieces)
        level = highest = 0
        for change in changes:
            counts = change.prorated or (change.full < 0 <= level + change.full)
            if change.full and counts:
                low, high = sorted((level, level + change.full))
                share = Fraction(change.prorated, abs(change.full))
                for i in range(bisect_left(table.edges, low), table.tier_of(max(high, 0)) + 1):
                    end = table.edges[i] if i < len(table.edges) else high
                    inside = min(high, end) - max(low, table.starts[i])
                    quantities[i] += max(inside, 0) * share
                level += change.full
                highest = max(highest, level)
        return quantities, highest, level


@dataclass(frozen=True, slots=True)
class ProratedVolumePricer:
    """Prices prorated units in the tier of the full ones."""

    table: SegmentTable

    def lines(self, measure: Measure) -> list[LineDraft]:
        """Return the units of the period at the price of the level's tier."""
        units = required_units(measure)
        if measure.full_units is None:
            raise InvalidValueError(
                "a prorated volume price needs the level that picks the tier",
                field="usage.full_units",
                code="full_units_required",
            )
        table = self.table
        if measure.full_units <= table.free_up_to:
            return table.lines(0)
        i = table.tier_of(measure.full_units)
        piece, quantity, lines = table.pieces[i], max(units - table.starts[i], 0), []
        if piece.unit_amount is not None:
            lines.append(LineDraft(piece.unit_component, quantity, piece.unit_amount, table.rates[i] * quantity))
        if piece.flat_amount is not None:
            lines.append(LineDraft(piece.flat_component, table.unit_one, piece.flat_amount, piece.flat_scaled))
        return lines
