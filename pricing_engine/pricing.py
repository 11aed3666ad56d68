"""Pricing a selection: what bundles and the number of features take off, line by line.

The quote and the invoice both call `price_selection`; for the same facts they get the same amounts.

A selection pays the least of
  * its list amounts, less the discount by number of features, and
  * for each bundle, the bundle's price plus the list amounts of what lies outside it,
but never less than the sum of its cost floors. A bundle's price counts every feature of the bundle, one that
is not chosen at its least quantity, so it caps every subset. The discount by number of features counts the k
dearest lines, for the k that makes the total highest: with a schedule that would make an extra feature lower
the whole bill, the extra feature is free instead. Each alternative, and so the least of them, never falls
when a feature or a unit is added.

The discount is shared over all lines in proportion to their list amounts (the relative stand-alone price
method of IFRS 15.76), no line going below its cost floor; lines at their floor leave the rest to the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from itertools import accumulate
from math import gcd
from operator import le
from typing import NamedTuple

import msgspec

from models.values.errors import InvalidValueError, LimitExceededError
from models.values.money import allocate
from models.values.quantity import EXACT
from pricing_engine.catalog import HUNDRED, Catalog
from pricing_engine.tariffs.scaling import decimals_of_all

SHARE_DIGITS = 18
"""Digits behind the point to which a shared discount is divided among lines; the shares sum exactly."""
_MAX_AMOUNT_DIGITS = 120
_NO_LAST = 2**31
"""The last step of a discount schedule goes on for any number of features."""
_ZERO = Decimal(0)


class DiscountKind(StrEnum):
    """Which alternative gave the total."""

    LIST = "list"
    FEATURE_COUNT = "feature_count"
    BUNDLE = "bundle"


class RatedFeature(msgspec.Struct, frozen=True, gc=False):
    """One feature's exact amounts in major units: at its tariff, and what it costs to provide.

    `floor`: the least its line may fall to by discounts (its cost, or zero where a rail allows less).
    """

    list_amount: Decimal
    cost: Decimal
    floor: Decimal


class PricedLine(msgspec.Struct, frozen=True, gc=False):
    """One feature after the discount of the whole selection: list_amount - discount = amount."""

    feature: str
    list_amount: Decimal
    discount: Decimal
    amount: Decimal
    cost: Decimal
    at_floor: bool

    @property
    def margin(self) -> Decimal:
        """What remains over cost."""
        return EXACT.subtract(self.amount, self.cost)


@dataclass(frozen=True, slots=True)
class PricedSelection:
    """The lines, their exact total, and why it is what it is.

    `percent` is the discount of the alternative that was chosen, `key` the bundle's or the number of
    features counted; `floor_bound` tells that cost floors kept the total above that alternative.
    """

    lines: tuple[PricedLine, ...]
    total: Decimal
    kind: DiscountKind
    key: str
    percent: Decimal
    floor_bound: bool


class ScaledSelection(NamedTuple):
    """The exact amounts of a selection as integers of 10^-digits of the major unit, by feature, in line order.

    The fewer digits, the faster: integers that fit in a machine word cost a fraction of longer ones.

    `amounts` and `floors` are those of the chosen features; `least` holds, for features of a bundle, the list amount
    at their least quantity, which counts while they are not chosen.
    """

    digits: int
    amounts: Mapping[str, int]
    floors: Mapping[str, int]
    least: Mapping[str, int]


class Alternative(NamedTuple):
    """One way to price a selection; the cheapest counts."""

    total: int
    kind: DiscountKind
    key: str
    percent: Decimal


class _Step(NamedTuple):
    """One step of the discount by number of features: from `first` to `last` features, the share kept, its percent."""

    first: int
    last: int
    kept: int
    percent: Decimal


class _Bundle(NamedTuple):
    """A bundle's features and the share of their list amounts that is its price."""

    key: str
    features: frozenset[str]
    kept: int
    percent: Decimal


class DiscountPlan:
    """A catalog's bundles and schedule, compiled to integers: kept shares over one denominator."""

    def __init__(self, catalog: Catalog) -> None:
        percents = [step.percent for step in catalog.size_discounts] + [bundle.percent for bundle in catalog.bundles]
        digits = decimals_of_all(percents)
        self.denominator: int = 100 * 10**digits
        self.denominator_digits = 2 + digits
        self.bundles = [
            _Bundle(bundle.key, frozenset(bundle.features), self._kept(bundle.percent), bundle.percent)
            for bundle in catalog.bundles
        ]
        steps = catalog.size_discounts
        lasts = [step.features - 1 for step in steps[1:]] + [_NO_LAST]
        self.steps = [
            _Step(step.features, last, self._kept(step.percent), step.percent)
            for step, last in zip(steps, lasts, strict=False)
        ]

    def _kept(self, percent: Decimal) -> int:
        return int(EXACT.multiply(HUNDRED - percent, Decimal(self.denominator // 100)))

    def price(self, rated: Mapping[str, RatedFeature], absent: Mapping[str, Decimal]) -> PricedSelection:
        """Price chosen features, given their exact rated amounts; see the module for the rule.

        `rated`: by feature, in the order of the lines. `absent`: for every feature of a bundle that is not
        chosen, the list amount at its `least_quantity`.
        Raises InvalidValueError for a negative list amount, LimitExceededError beyond the exact range.
        """
        return self.settle(SelectionSums(self, scaled_selection(rated, absent)), rated)

    def settle(self, sums: SelectionSums, rated: Mapping[str, RatedFeature]) -> PricedSelection:
        """Price a selection whose amounts were summed already; `rated` holds the same amounts as decimals."""
        best = sums.least()
        total = max(best.total, sums.floor)
        full, rooms = sums.full_amounts_and_rooms()
        discount, one_unit = sum(full) - total, sums.one
        discounts = _exact_shares(full, rooms, discount) if discount else [0] * len(full)
        if discounts is None:
            finer = 10 ** max(SHARE_DIGITS - sums.digits, 0)
            full, rooms = [amount * finer for amount in full], [room * finer for room in rooms]
            discounts, one_unit = _shares(full, rooms, discount * finer), EXACT.divide(one_unit, finer)
        times = EXACT.multiply
        lines = tuple(
            [
                PricedLine(
                    key,
                    one.list_amount,
                    times(discount, one_unit),
                    times(amount - discount, one_unit),
                    one.cost,
                    discount == room,
                )
                if discount
                else PricedLine(key, one.list_amount, _ZERO, one.list_amount, one.cost, at_floor=False)
                for (key, one), amount, room, discount in zip(rated.items(), full, rooms, discounts, strict=True)
            ]
        )
        return PricedSelection(lines, sums.decimal(total), best.kind, best.key, best.percent, total > best.total)


class SelectionSums:
    """The sums of one selection from which its total, and the total without any few features, follow at once.

    Totals are integers of `one`, a decimal of the major unit: the selection's amounts, finer by the plan's denominator.
    `floor` is the total of the cost floors at that scale.
    """

    def __init__(self, plan: DiscountPlan, scaled: ScaledSelection) -> None:
        amounts, absent = scaled.amounts, scaled.least
        self.amounts, self.floors, self._absent = amounts, scaled.floors, absent
        self._denominator = plan.denominator
        self.digits = scaled.digits
        self.one = Decimal(1).scaleb(-scaled.digits - plan.denominator_digits)
        self.floor = sum(scaled.floors.values()) * plan.denominator
        self._whole = sum(amounts.values())
        self._bundles = []
        for bundle in plan.bundles:
            chosen = bundle.features.intersection(amounts)
            if chosen:
                covered = sum([amounts[key] for key in chosen])
                inside = covered + sum([absent[key] for key in bundle.features - chosen])
                self._bundles.append((bundle, inside, chosen, covered))
        self._steps = [step for step in plan.steps if step.first <= len(amounts)]
        self._prefix: list[int] = [0]
        self._rank: dict[str, int] = {}
        if self._steps:
            ordered = sorted(amounts, key=amounts.__getitem__, reverse=True)
            self._rank = {key: rank for rank, key in enumerate(ordered)}
            self._prefix = [0, *accumulate([amounts[key] for key in ordered])]

    def decimal(self, total: int) -> Decimal:
        """Return a total in major units."""
        return EXACT.multiply(total, self.one)

    def full_amounts_and_rooms(self) -> tuple[list[int], list[int]]:
        """Return each line's amount at the scale of totals, and how far a discount may take it down."""
        denominator, floors = self._denominator, self.floors
        full = [amount * denominator for amount in self.amounts.values()]
        return full, [amount - floors[key] * denominator for key, amount in zip(self.amounts, full, strict=True)]

    def total(self, dropped: frozenset[str] = frozenset()) -> int:
        """Return what the selection costs without `dropped`: the cheapest alternative, or the cost floors."""
        floor = self.floor - self._denominator * sum([self.floors[key] for key in dropped])
        return max(self.least(dropped).total, floor)

    def total_without_each(self) -> dict[str, int]:
        """Return `total({key})` by chosen feature: what most savings ask for, in a few steps each."""
        denominator, steps, floors, rank = self._denominator, self._steps_without_one(), self.floors, self._rank
        bundles = [
            (bundle.kept, bundle.kept * inside, denominator * (self._whole - covered), chosen)
            for bundle, inside, chosen, covered in self._bundles
        ]
        totals: dict[str, int] = {}
        for key, amount in self.amounts.items():
            best = 0
            for kept, upto, inside, beyond in steps:
                total = kept * (inside if rank[key] >= upto else beyond - amount)
                if total > best:
                    best = total
            if not steps:
                best = denominator * (self._whole - amount)
            for kept, inside, outside, chosen in bundles:
                if key not in chosen:
                    total = inside + outside - denominator * amount
                elif len(chosen) > 1:
                    total = inside + kept * (self._absent[key] - amount) + outside
                else:
                    continue
                if total < best:
                    best = total
            floor = self.floor - denominator * floors[key]
            totals[key] = best if best > floor else floor
        return totals

    def _steps_without_one(self) -> list[tuple[int, int, int, int]]:
        """Return the steps that one feature less reaches: the share kept, of how many lines, and two sums.

        The sums are those of as many dearest lines and of one more, which moves up where a dearer one is dropped.
        """
        count, prefix = len(self.amounts) - 1, self._prefix
        reached = [(step.kept, min(step.last, count)) for step in self._steps if step.first <= count]
        if reached:
            reached.insert(0, (self._denominator, self._steps[0].first - 1))
        return [(kept, upto, prefix[upto], prefix[upto + 1]) for kept, upto in reached]

    def least(self, dropped: frozenset[str] = frozenset()) -> Alternative:
        """Return the cheapest alternative for the selection without `dropped`, all of which are chosen."""
        amounts = self.amounts
        whole = self._whole - sum([amounts[key] for key in dropped])
        best = self._by_count(whole, dropped)
        for (key, _, kept, percent), inside, chosen, covered in self._bundles:
            out = chosen & dropped
            if out:
                if len(out) == len(chosen):
                    continue
                lost = sum([amounts[each] for each in out])
                inside += sum([self._absent[each] for each in out]) - lost
                covered -= lost
            total = kept * inside + self._denominator * (whole - covered)
            if total < best.total:
                best = Alternative(total, DiscountKind.BUNDLE, key, percent)
        return best

    def _by_count(self, whole: int, dropped: frozenset[str]) -> Alternative:
        """Return the highest of (1 - d_k) * (the k dearest lines): see the module."""
        count = len(self.amounts) - len(dropped)
        steps = self._steps
        if not steps or steps[0].first > count:
            return Alternative(self._denominator * whole, DiscountKind.LIST, "", _ZERO)
        ranks = sorted([self._rank[key] for key in dropped])
        # Within a step the total rises with k, so only the last k of each step can be the highest.
        counted, percent = steps[0].first - 1, _ZERO
        highest = self._denominator * self._dearest(counted, ranks)
        for first, last, kept, step_percent in steps:
            if first > count:
                break
            upto = last if last < count else count
            total = kept * self._dearest(upto, ranks)
            if total >= highest:
                highest, counted, percent = total, upto, step_percent
        return Alternative(highest, DiscountKind.FEATURE_COUNT, str(counted), percent)

    def _dearest(self, count: int, dropped_ranks: Sequence[int]) -> int:
        """Sum of the `count` dearest lines that are not dropped."""
        upto = count
        out = 0
        for rank in dropped_ranks:
            if rank >= upto:
                break
            upto += 1
            out += self._prefix[rank + 1] - self._prefix[rank]
        return self._prefix[upto] - out


def _exact_shares(amounts: Sequence[int], rooms: Sequence[int], discount: int) -> list[int] | None:
    """Share `discount` over the lines in proportion to their amounts, where nothing is to be rounded.

    That is a percentage off every line, most often. None where it is not whole, or takes a line below its floor.
    """
    whole = sum(amounts)
    common = gcd(discount, whole)
    part, parts = discount // common, whole // common
    shares = [amount * part // parts for amount in amounts]
    return shares if sum(shares) == discount and all(map(le, shares, rooms)) else None


def _shares(amounts: Sequence[int], rooms: Sequence[int], discount: int) -> list[int]:
    """Share `discount` over the lines in proportion to their amounts, each at most its room."""
    shares, rest = [0] * len(amounts), discount
    open_lines = [i for i, room in enumerate(rooms) if room > 0]
    while rest > 0:
        weight = sum([amounts[i] for i in open_lines])
        full = [i for i in open_lines if rest * amounts[i] > rooms[i] * weight]
        if not full:
            for i, share in zip(open_lines, allocate(rest, [amounts[i] for i in open_lines]), strict=True):
                shares[i] = share
            break
        for i in full:
            shares[i] = rooms[i]
            rest -= rooms[i]
        open_lines = [i for i in open_lines if i not in set(full)]
    return shares


def scaled_selection(rated: Mapping[str, RatedFeature], least: Mapping[str, Decimal]) -> ScaledSelection:
    """Scale to the first of SHARE_DIGITS, twice SHARE_DIGITS ... at which every amount is whole."""
    digits = SHARE_DIGITS
    while True:
        try:
            amounts = {key: whole_at(one.list_amount, digits, key) for key, one in rated.items()}
            floors = {key: min(whole_at(one.floor, digits, key), amounts[key]) for key, one in rated.items()}
            return ScaledSelection(
                digits, amounts, floors, {key: whole_at(amount, digits, key) for key, amount in least.items()}
            )
        except TooCoarseError:
            digits += SHARE_DIGITS


class TooCoarseError(Exception):
    """An amount has more digits than the scale tried."""


def whole_at(amount: Decimal, digits: int, key: str) -> int:
    """Return feature `key`'s amount as an integer of 10^-digits.

    Raises TooCoarseError where it is none, InvalidValueError for a negative amount, LimitExceededError beyond the
    exact range.
    """
    shifted = amount.scaleb(digits, EXACT)
    whole = int(shifted)
    if whole < 0 or amount < 0:
        raise InvalidValueError("must be >= 0", field=f"amounts.{key}", value=amount, code="negative_amount")
    if whole != shifted:
        if digits > _MAX_AMOUNT_DIGITS:
            raise LimitExceededError(
                f"at most {_MAX_AMOUNT_DIGITS} decimal places", field=f"amounts.{key}", value=amount
            )
        raise TooCoarseError
    return whole
