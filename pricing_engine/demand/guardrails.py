"""Guard rails: the hard bounds a price passes after the optimizer, in exact decimals.

A price that leaves `project` is either inside every rail and on the price ladder, or it is the list price
that a person set, with the reason recorded: too little data, or rails that contradict each other. There is
no third outcome, so no optimizer, posterior or bug upstream can carry a price across a rail.

Bounds that do not divide evenly are rounded inwards, so a rail is never broken by a last digit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from enum import StrEnum

from models.values.errors import InvalidValueError
from models.values.quantity import EXACT, parse_decimal

_ZERO, _ONE = Decimal(0), Decimal(1)
_UP = Context(prec=60, rounding=ROUND_CEILING)
_DOWN = Context(prec=60, rounding=ROUND_FLOOR)


class Rail(StrEnum):
    """The rails, in the order in which they are applied."""

    MINIMUM_DATA = "minimum_data"
    FLOOR = "floor"
    CEILING = "ceiling"
    STEP_30_DAYS = "step_30_days"
    STEP = "step"
    SEGMENT_RATIO = "segment_ratio"
    LADDER = "ladder"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class PriceLadder:
    """The prices that may be shown: `ending` plus whole multiples of `step`, none below zero.

    `PriceLadder(Decimal(1), Decimal("0.99"))` has the rungs 0.99, 1.99, 2.99 ...
    """

    step: Decimal = Decimal("0.01")
    ending: Decimal = _ZERO

    def __post_init__(self) -> None:
        """Refuse with InvalidValueError unless 0 <= ending < step."""
        parse_decimal(self.step, "ladder.step")
        parse_decimal(self.ending, "ladder.ending", minimum=_ZERO)
        if self.step <= 0 or self.ending >= self.step:
            raise InvalidValueError("needs 0 <= ending < step", field="ladder", value=f"{self.ending}/{self.step}")

    def at_least(self, price: Decimal) -> Decimal:
        """Return the lowest rung >= `price`."""
        return self._rung(max(self._position(price, _UP), _ZERO))

    def at_most(self, price: Decimal) -> Decimal | None:
        """Return the highest rung <= `price`, None where every rung is higher."""
        position = self._position(price, _DOWN)
        return self._rung(position) if position >= 0 else None

    def nearest(self, price: Decimal) -> Decimal:
        """Return the rung nearest to `price`; a tie goes to the lower one."""
        below, above = self.at_most(price), self.at_least(price)
        if below is None:
            return above
        return below if EXACT.subtract(price, below) <= EXACT.subtract(above, price) else above

    def count_between(self, low: Decimal, high: Decimal) -> int:
        """Return how many rungs lie in [low, high]."""
        first = max(self._position(low, _UP), _ZERO)
        return max(int(self._position(high, _DOWN) - first) + 1, 0)

    def rung(self, start: Decimal, steps: int) -> Decimal:
        """Return the rung `steps` above the lowest rung >= `start`."""
        return EXACT.add(self.at_least(start), EXACT.multiply(Decimal(steps), self.step))

    def _position(self, price: Decimal, direction: Context) -> Decimal:
        exact = direction.divide(EXACT.subtract(price, self.ending), self.step)
        return exact.to_integral_value(rounding=direction.rounding)

    def _rung(self, position: Decimal) -> Decimal:
        return EXACT.add(EXACT.multiply(position, self.step), self.ending)


@dataclass(frozen=True, slots=True)
class Rails:
    """What a person allows the model to do with one price. Shares are fractions: 0.1 is 10 percent.

    `floor_margin`: least margin over unit cost, as a share of the cost. `floor`, `ceiling`: absolute
    bounds. `largest_step`, `largest_step_30_days`: a price may rise by at most this share and fall to at
    least 1/(1 + share), against the last epoch and against every price of the last 30 days.
    `segment_ratio`: dearest over cheapest segment of one feature, at most. `minimum_quotes`: with fewer
    quotes behind it the price stays at the list price. `jitter`: half-width of the exploration draw around
    the price, on the log scale.
    """

    floor_margin: Decimal = _ZERO
    floor: Decimal | None = None
    ceiling: Decimal | None = None
    largest_step: Decimal | None = Decimal("0.1")
    largest_step_30_days: Decimal | None = Decimal("0.3")
    segment_ratio: Decimal | None = Decimal("1.25")
    ladder: PriceLadder = field(default_factory=PriceLadder)
    minimum_quotes: int = 200
    jitter: Decimal = Decimal("0.05")

    def __post_init__(self) -> None:
        """Refuse with InvalidValueError a negative bound, a ratio below one, or a floor above the ceiling."""
        for name in ("floor_margin", "floor", "ceiling", "largest_step", "largest_step_30_days", "jitter"):
            bound = getattr(self, name)
            if bound is not None:
                parse_decimal(bound, f"rails.{name}", minimum=_ZERO)
        if self.segment_ratio is not None:
            parse_decimal(self.segment_ratio, "rails.segment_ratio", minimum=_ONE)
        if self.jitter >= 1:
            raise InvalidValueError("must be below 1", field="rails.jitter", value=self.jitter)
        if isinstance(self.minimum_quotes, bool) or self.minimum_quotes < 0:
            raise InvalidValueError("must be >= 0", field="rails.minimum_quotes", value=self.minimum_quotes)
        if self.floor is not None and self.ceiling is not None and self.floor > self.ceiling:
            raise InvalidValueError("must not exceed the ceiling", field="rails.floor", value=self.floor)


@dataclass(frozen=True, slots=True)
class RailContext:
    """The facts the rails need about one price of one segment, in major units.

    `lowest_30_days`, `highest_30_days`: the extreme published prices of the last 30 days, None without
    history. `lowest_other_segment`, `highest_other_segment`: the settled prices of the feature's other
    segments. `quotes`: how many quotes stand behind the candidate.
    """

    list_price: Decimal
    unit_cost: Decimal = _ZERO
    last_price: Decimal | None = None
    lowest_30_days: Decimal | None = None
    highest_30_days: Decimal | None = None
    lowest_other_segment: Decimal | None = None
    highest_other_segment: Decimal | None = None
    quotes: int = 0

    def __post_init__(self) -> None:
        """Refuse with InvalidValueError a negative or non-finite amount."""
        for name in (
            "list_price",
            "unit_cost",
            "last_price",
            "lowest_30_days",
            "highest_30_days",
            "lowest_other_segment",
            "highest_other_segment",
        ):
            amount = getattr(self, name)
            if amount is not None:
                parse_decimal(amount, f"rail_context.{name}", minimum=_ZERO)


@dataclass(frozen=True, slots=True)
class RailHit:
    """One rail that moved the price: from `before` to `after`, because of `bound`."""

    rail: Rail
    bound: Decimal
    before: Decimal
    after: Decimal


@dataclass(frozen=True, slots=True)
class RailedPrice:
    """The price that may be published, the range its jitter may use, and every rail that was hit.

    `lowest` and `highest` are rungs of the ladder inside all rails; they equal `price` where the list
    price stands in for the model.
    """

    price: Decimal
    hits: tuple[RailHit, ...]
    lowest: Decimal
    highest: Decimal

    @property
    def is_list_price(self) -> bool:
        """True where the model had no say: too little data, or rails in conflict."""
        return any(hit.rail in (Rail.MINIMUM_DATA, Rail.CONFLICT) for hit in self.hits)


@dataclass(frozen=True, slots=True)
class _Bound:
    rail: Rail
    low: Decimal | None
    high: Decimal | None


def project(candidate: Decimal, rails: Rails, context: RailContext) -> RailedPrice:
    """Return the allowed price nearest to `candidate`, with every rail that moved it.

    Each rail clamps in turn, so a hit's `before` and `after` say what that rail alone did, and the profits
    given up add up. Raises InvalidValueError for a candidate that is negative or no finite decimal.
    """
    price = parse_decimal(candidate, "candidate", minimum=_ZERO)
    if context.quotes < rails.minimum_quotes:
        return _list_price(Rail.MINIMUM_DATA, Decimal(rails.minimum_quotes), price, context)
    bounds = _bounds(rails, context)
    allowed = _allowed(bounds, rails.ladder)
    if allowed is None:
        return _list_price(Rail.CONFLICT, context.list_price, price, context)
    lowest, highest = allowed
    hits: list[RailHit] = []
    for bound in bounds:
        edge = _broken_edge(price, bound)
        if edge is not None:
            hits.append(RailHit(bound.rail, edge, price, edge))
            price = edge
    on_ladder = max(rails.ladder.nearest(price), lowest)
    if highest is not None:
        on_ladder = min(on_ladder, highest)
    if on_ladder != price:
        hits.append(RailHit(Rail.LADDER, on_ladder, price, on_ladder))
    jitter_low, jitter_high = _jitter_range(on_ladder, rails)
    top = jitter_high if highest is None else min(highest, jitter_high)
    return RailedPrice(on_ladder, tuple(hits), max(lowest, jitter_low), top)


def rail_bounds(rails: Rails, context: RailContext) -> dict[Rail, tuple[Decimal | None, Decimal | None]]:
    """Return the lowest and highest price each rail allows by itself, None for unbounded, in the order of application.

    Where the list price stands whatever is wanted, that rail alone bounds the price, to the list price. What depends on
    other prices, and the ladder, is left to `project`.
    """
    if context.quotes < rails.minimum_quotes:
        return {Rail.MINIMUM_DATA: (context.list_price, context.list_price)}
    bounds = _bounds(rails, context)
    if _allowed(bounds, rails.ladder) is None:
        return {Rail.CONFLICT: (context.list_price, context.list_price)}
    return {bound.rail: (bound.low, bound.high) for bound in bounds if bound.rail is not Rail.SEGMENT_RATIO}


def project_segments(
    candidates: Mapping[str, Decimal], rails: Rails, contexts: Mapping[str, RailContext]
) -> dict[str, RailedPrice]:
    """Project one feature's prices of all segments together, so that the segment ratio holds between them.

    The ratio confines all segments, jitter included, to one window [m, ratio * m]; m lies where it moves
    the outermost prices least. A segment at its list price is not moved, the others make room for it.
    Raises InvalidValueError when a candidate has no context.
    """
    missing = sorted(candidates.keys() ^ contexts.keys())
    if missing:
        raise InvalidValueError("each segment needs a candidate and a context", field="segments", value=missing)
    alone = {name: project(candidates[name], rails, contexts[name]) for name in sorted(candidates)}
    ratio = rails.segment_ratio
    if ratio is None or len(alone) <= 1:
        return alone
    base = _ratio_base(alone, rails, ratio, contexts)
    if base is None:
        return {
            name: railed
            if railed.is_list_price
            else _list_price(Rail.CONFLICT, ratio, candidates[name], contexts[name])
            for name, railed in alone.items()
        }
    return {
        name: railed
        if railed.is_list_price
        else project(candidates[name], rails, _confined(contexts[name], base, EXACT.multiply(base, ratio)))
        for name, railed in alone.items()
    }


def _list_price(rail: Rail, bound: Decimal, candidate: Decimal, context: RailContext) -> RailedPrice:
    hit = RailHit(rail, bound, candidate, context.list_price)
    return RailedPrice(context.list_price, (hit,), context.list_price, context.list_price)


def _bounds(rails: Rails, context: RailContext) -> list[_Bound]:
    """All bounds in force, in the order of application."""
    margin_floor = EXACT.multiply(context.unit_cost, EXACT.add(_ONE, rails.floor_margin))
    bounds = [
        _Bound(Rail.FLOOR, margin_floor if rails.floor is None else max(margin_floor, rails.floor), None),
        _Bound(Rail.CEILING, None, rails.ceiling),
        _step(Rail.STEP_30_DAYS, rails.largest_step_30_days, context.highest_30_days, context.lowest_30_days),
        _step(Rail.STEP, rails.largest_step, context.last_price, context.last_price),
    ]
    if rails.segment_ratio is not None:
        factor = EXACT.subtract(rails.segment_ratio, _ONE)
        bounds.append(_step(Rail.SEGMENT_RATIO, factor, context.highest_other_segment, context.lowest_other_segment))
    return bounds


def _step(rail: Rail, share: Decimal | None, highest: Decimal | None, lowest: Decimal | None) -> _Bound:
    """Bound to [highest / (1 + share), lowest * (1 + share)]."""
    if share is None:
        return _Bound(rail, None, None)
    factor = EXACT.add(_ONE, share)
    low = None if highest is None else _UP.divide(highest, factor)
    high = None if lowest is None else EXACT.multiply(lowest, factor)
    return _Bound(rail, low, high)


def _allowed(bounds: list[_Bound], ladder: PriceLadder) -> tuple[Decimal, Decimal | None] | None:
    """Lowest and highest rung inside every bound (highest None: unbounded); None where there is none."""
    lowest = ladder.at_least(max((bound.low for bound in bounds if bound.low is not None), default=_ZERO))
    highs = [bound.high for bound in bounds if bound.high is not None]
    if not highs:
        return lowest, None
    highest = ladder.at_most(min(highs))
    return None if highest is None or highest < lowest else (lowest, highest)


def _broken_edge(price: Decimal, bound: _Bound) -> Decimal | None:
    if bound.low is not None and price < bound.low:
        return bound.low
    if bound.high is not None and price > bound.high:
        return bound.high
    return None


def _jitter_range(price: Decimal, rails: Rails) -> tuple[Decimal, Decimal]:
    """Rungs within price * exp(-jitter) .. price * exp(jitter); `price` is itself a rung, so never empty."""
    factor = rails.jitter.exp(_DOWN)
    low = rails.ladder.at_least(_UP.divide(price, factor))
    high = rails.ladder.at_most(EXACT.multiply(price, factor))
    return low, price if high is None else high


def _ratio_base(
    alone: Mapping[str, RailedPrice], rails: Rails, ratio: Decimal, contexts: Mapping[str, RailContext]
) -> Decimal | None:
    """Return the rung m for which every segment fits into [m, ratio * m], None where no rung does."""
    lows: list[Decimal] = []
    highs: list[Decimal] = []
    for name, railed in alone.items():
        allowed = None if railed.is_list_price else _allowed(_bounds(rails, contexts[name]), rails.ladder)
        low, high = (railed.price, railed.price) if allowed is None else allowed
        lows.append(low)
        highs += [] if high is None else [high]
    prices = [railed.price for railed in alone.values()]
    cheapest, dearest = min(prices), _UP.divide(max(prices), ratio)
    first = rails.ladder.at_least(_UP.divide(max(lows), ratio))
    last = rails.ladder.at_most(min(highs)) if highs else None
    if highs and (last is None or last < first):
        return None
    if dearest <= cheapest:  # Nothing needs to move: choose among the windows that hold all prices.
        unmoved = rails.ladder.at_least(dearest), rails.ladder.at_most(cheapest)
        if unmoved[1] is not None and unmoved[0] <= unmoved[1]:
            first = max(first, unmoved[0])
            last = unmoved[1] if last is None else min(last, unmoved[1])
    base = max(rails.ladder.nearest(_UP.divide(EXACT.add(cheapest, dearest), Decimal(2))), first)
    return base if last is None else min(base, last)


def _confined(context: RailContext, base: Decimal, top: Decimal) -> RailContext:
    lowest, highest = context.lowest_other_segment, context.highest_other_segment
    return replace(
        context,
        lowest_other_segment=base if lowest is None else min(lowest, base),
        highest_other_segment=top if highest is None else max(highest, top),
    )
