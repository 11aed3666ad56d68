"""From what was learned to pieces of a draft catalog: a tariff, a bundle, a group offer, each with what it should gain.

Tried on customers drawn from the posterior, judged on others. A gain's interval is over the posterior's draws: each
block of customers comes from one draw, so it holds both what is not known of demand and who happens to come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import msgspec
import numpy as np

from models.values.errors import InvalidValueError, RuleBrokenError
from models.values.money import from_minor, round_to_minor
from models.values.quantity import EXACT
from pricing_engine.catalog import Bundle, Feature, SizeDiscount
from pricing_engine.demand.bundle_suggestion import Members, bundle_gain, suggest_bundle
from pricing_engine.demand.customers import Customers, customers_from_quotes, means_by_draw
from pricing_engine.demand.feature_posterior import FeaturePosterior
from pricing_engine.demand.group_offer import GroupOffer, GroupValue, design_group_offer, group_value
from pricing_engine.demand.guardrails import PriceLadder
from pricing_engine.demand.one_core import on_one_core
from pricing_engine.demand.price_basis import Floats
from pricing_engine.demand.tariff_choice import choose
from pricing_engine.demand.tariff_design import Estimate, PriceRange, TariffDesign, design_tariff
from pricing_engine.price_book import PriceBook
from pricing_engine.price_sheet import PRICED_BY_ONE, book_at, list_price, rails_of

_LEAST_CUSTOMERS, _MOST_CUSTOMERS = 2_000, 100_000
_MOST_INVITED = 500
_GROUP_PERCENTS = range(50, 101, 5)
_DRAWS = 100
_DIGITS = 2
_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class TariffDraft:
    """A draft book with a designed tariff. `gain`: profit a customer over the book's prices today, bundles left out."""

    book: PriceBook
    design: TariffDesign
    gain: Estimate


@dataclass(frozen=True, slots=True)
class BundleDraft:
    """A draft book with the best bundle found. `gain`: profit a customer; `takers`: the share that takes it."""

    book: PriceBook
    bundle: Bundle
    gain: Estimate
    takers: float

    @property
    def gains(self) -> bool:
        """True where it is expected to add profit at all."""
        return self.gain.mean > 0

    @property
    def is_worthwhile(self) -> bool:
        """True where the gain is above zero at 95 percent."""
        return self.gain.low > 0


@dataclass(frozen=True, slots=True)
class GroupDraft:
    """A group offer for one selection. `profit`, and `gain` over the list price for each of the invited alone."""

    offer: GroupOffer
    expected: GroupValue
    list_total: Decimal
    profit: Estimate
    gain: Estimate


@dataclass(frozen=True, slots=True)
class _Market:
    """The features whose one price can be designed, in their typical quantities: `units` of each."""

    features: tuple[Feature, ...]
    columns: tuple[int, ...]
    units: tuple[Decimal, ...]
    costs: Floats

    def totals(self) -> tuple[Decimal, ...]:
        """Return what each typical quantity comes to at the list price."""
        return tuple(
            EXACT.multiply(list_price(each), unit) for each, unit in zip(self.features, self.units, strict=True)
        )

    def values(self, customers: Customers) -> Floats:
        """Return the customers' values (n, K) of these features."""
        return np.ascontiguousarray(customers.values[:, list(self.columns)])


def draft_tariff(book: PriceBook, posterior: FeaturePosterior, *, customers: int, seed: int) -> TariffDraft:
    """Design prices and a schedule for what a book sells at one price each, within its rails' floor and ceiling.

    Raises RuleBrokenError where the posterior has no values in money, or the book no such feature that it knows.
    """
    market = _market(book, posterior, least=1)
    fitted, judged = _drawn(posterior, customers, seed)
    values, held_out = market.values(fitted), market.values(judged)
    design = design_tariff(
        values, market.costs, features=[each.key for each in market.features], base=fitted.base,
        held_out=(held_out, judged.base),
        ranges=[_range(book, each, unit) for each, unit in zip(market.features, market.units, strict=True)],
    )  # fmt: skip
    today = market.totals(), _percents(book, len(market.features))
    earned = [
        _profit(held_out, judged.base, market.costs, *tariff) for tariff in ((design.prices, design.percents), today)
    ]
    prices = {
        each.key: EXACT.divide(price, unit).normalize()
        for each, price, unit in zip(market.features, design.prices, market.units, strict=True)
    }
    draft = msgspec.structs.replace(book_at(book, prices), size_discounts=_schedule(design.percents))
    return TariffDraft(draft, design, over_draws(earned[0] - earned[1]))


def draft_bundle(book: PriceBook, posterior: FeaturePosterior, *, customers: int, seed: int) -> BundleDraft:
    """Suggest one bundle on top of a book's list prices and schedule. Raises RuleBrokenError as `draft_tariff`."""
    market = _market(book, posterior, least=2)
    fitted, judged = _drawn(posterior, customers, seed)
    prices, percents = market.totals(), _percents(book, len(market.features))
    keys = [each.key for each in market.features]

    def completed(members: Members) -> Members | None:
        together = book.completed(keys[member] for member in members)
        if together is None or not together.issubset(keys):
            return None
        return tuple(number for number, key in enumerate(keys) if key in together)

    found = suggest_bundle(
        market.values(fitted), market.costs, prices, percents, features=keys, base=fitted.base, completed=completed
    )
    members = tuple(keys.index(key) for key in found.features)
    gain, takers = bundle_gain(
        market.values(judged), market.costs, prices, percents, members, found.percent, base=judged.base
    )
    names = [book.feature(key).name for key in found.features]
    bundle = Bundle(_free_key(book), " + ".join(names), found.features, found.percent)
    draft = msgspec.structs.replace(book, bundles=(*book.bundles, bundle))
    return BundleDraft(draft, bundle, over_draws(gain), float(takers.mean()))


@on_one_core
def draft_group_offer(
    book: PriceBook,
    posterior: FeaturePosterior,
    selection: Mapping[str, Decimal],
    *,
    invited: int,
    setup_cost: Decimal = Decimal(0),
    seed: int,
) -> GroupDraft:
    """Design a price that falls as pledges for a selection come in; `setup_cost` is paid once if anyone gets it.

    Raises InvalidValueError for a feature that is not sold at one price or not known to the posterior, or for more than
    500 invited.
    """
    if not 1 <= invited <= _MOST_INVITED:
        raise InvalidValueError(f"must be 1 to {_MOST_INVITED}", field="invited", value=invited)
    total, unit_cost = _list_total(book, posterior, selection)
    prices = _candidates(book, total)
    chances = _acceptance(posterior, selection, prices, seed)
    once = float(setup_cost)

    def cost_of(count: Floats) -> Floats:
        return np.asarray(count * float(unit_cost) + once * (count > 0))

    offer, expected = design_group_offer(prices, [float(each) for each in chances.mean(axis=0)], invited, cost_of)
    at_tier = [prices.index(tier.price) for tier in offer.tiers]
    profits = np.array([group_value(offer, [*draw[at_tier]], invited, cost_of).profit for draw in chances])
    listed = chances[:, prices.index(max(prices))]
    alone = invited * listed * (float(max(prices)) - float(unit_cost)) - once * (1.0 - (1.0 - listed) ** invited)
    gains = np.where(np.isclose(profits, alone, rtol=1e-9), 0.0, profits - alone)  # No gain is no last digit of one.
    return GroupDraft(offer, expected, total, _quantiles(profits), _quantiles(gains))


def over_draws(terms: Floats) -> Estimate:
    """Return the mean of `terms` (n,), one a customer, with a 90 percent interval over the draws behind them."""
    return _quantiles(means_by_draw(terms))


def _quantiles(values: Floats) -> Estimate:
    """Return mean and interval, widened to hold the mean where a few draws carry it: then it holds over 90 percent."""
    mean = float(values.mean())
    low, high = np.quantile(values, [0.05, 0.95])
    return Estimate(min(float(low), mean), mean, max(float(high), mean))


def _drawn(posterior: FeaturePosterior, customers: int, seed: int) -> tuple[Customers, Customers]:
    """Draw customers to fit on, and as many to judge on."""
    if not _LEAST_CUSTOMERS <= customers <= _MOST_CUSTOMERS:
        raise InvalidValueError(f"must be {_LEAST_CUSTOMERS} to {_MOST_CUSTOMERS}", field="customers", value=customers)
    fitted, judged = (np.random.default_rng([seed, part]) for part in range(2))
    return customers_from_quotes(posterior, customers, fitted), customers_from_quotes(posterior, customers, judged)


def _market(book: PriceBook, posterior: FeaturePosterior, *, least: int) -> _Market:
    features = [each for each in book.features if _is_designed(each) and each.key in posterior.features]
    if len(features) < least:
        raise RuleBrokenError(
            f"sells too few features at one price that the model knows: {len(features)}, {least} needed",
            field="book", value=book.key, code="nothing_to_design",
        )  # fmt: skip
    columns = tuple(posterior.features.index(each.key) for each in features)
    units = tuple(Decimal(repr(float(posterior.unit_sizes[column]))) for column in columns)
    costs = np.array([float(each.unit_cost) * float(unit) for each, unit in zip(features, units, strict=True)])
    return _Market(tuple(features), columns, units, costs)


def _is_designed(feature: Feature) -> bool:
    return feature.tariff.model in PRICED_BY_ONE and list_price(feature) > 0


def _range(book: PriceBook, feature: Feature, unit: Decimal) -> PriceRange:
    """Return what may be asked for a feature's typical quantity: its ladder and rails, times the quantity."""
    if not feature.adaptive:
        # Nobody set a ladder: three significant digits of today's price.
        step = Decimal(1).scaleb(list_price(feature).adjusted() - _DIGITS)
        return PriceRange(PriceLadder(EXACT.multiply(step, unit)), EXACT.multiply(feature.unit_cost, unit))
    rails = rails_of(book, feature)
    margin_floor = EXACT.multiply(feature.unit_cost, EXACT.add(Decimal(1), rails.floor_margin))
    lowest = margin_floor if rails.floor is None else max(margin_floor, rails.floor)
    ladder = PriceLadder(EXACT.multiply(rails.ladder.step, unit), EXACT.multiply(rails.ladder.ending, unit))
    highest = None if rails.ceiling is None else EXACT.multiply(rails.ceiling, unit)
    return PriceRange(ladder, EXACT.multiply(lowest, unit), highest)


def _percents(book: PriceBook, count: int) -> tuple[Decimal, ...]:
    """Return a book's discount in percent by number of features 1..count."""
    steps = sorted((each.features, each.percent) for each in book.size_discounts)
    return tuple(
        max((percent for features, percent in steps if features <= size), default=Decimal(0))
        for size in range(1, count + 1)
    )


def _schedule(percents: Sequence[Decimal]) -> tuple[SizeDiscount, ...]:
    """Return the steps at which the discount grows."""
    before = [Decimal(0), *percents]
    return tuple(
        SizeDiscount(size, percent)
        for size, (percent, earlier) in enumerate(zip(percents, before, strict=False), 1)
        if percent > earlier
    )


def _profit(
    values: Floats, base: Floats, costs: Floats, prices: Sequence[Decimal], percents: Sequence[Decimal]
) -> Floats:
    shown, discounts = np.array([float(each) for each in prices]), np.array([float(each) for each in percents]) / 100
    return choose(values, shown, discounts, base).profit(shown, costs)


def _free_key(book: PriceBook) -> str:
    taken = {each.key for each in book.bundles}
    return next(key for number in range(1, len(taken) + 2) if (key := f"suggested-{number}") not in taken)


def _list_total(
    book: PriceBook, posterior: FeaturePosterior, selection: Mapping[str, Decimal]
) -> tuple[Decimal, Decimal]:
    """Return what a selection comes to at list prices, and what it costs."""
    total = cost = Decimal(0)
    for key, quantity in selection.items():
        feature = book.feature(key)
        if not _is_designed(feature) or key not in posterior.features or quantity <= 0:
            raise InvalidValueError(
                "needs a quantity above zero of a feature that is sold at one price and known to the model",
                field=f"selection.{key}", value=quantity,
            )  # fmt: skip
        total = EXACT.add(total, EXACT.multiply(list_price(feature), quantity))
        cost = EXACT.add(cost, EXACT.multiply(feature.unit_cost, quantity))
    if not selection:
        raise InvalidValueError("needs a feature", field="selection")
    return total, cost


def _candidates(book: PriceBook, total: Decimal) -> list[Decimal]:
    """Return the prices to try: whole percents of the list total, in whole minor units."""
    minor = [
        round_to_minor(EXACT.divide(EXACT.multiply(total, Decimal(percent)), _HUNDRED), book.money)
        for percent in _GROUP_PERCENTS
    ]
    return sorted({from_minor(each, book.money) for each in minor if each > 0})


def _acceptance(
    posterior: FeaturePosterior, selection: Mapping[str, Decimal], prices: Sequence[Decimal], seed: int
) -> Floats:
    """Return P(accept) by draw and price (D, P), segments in the shares of their quotes."""
    rng, share = np.random.default_rng(seed), posterior.quotes_by_segment / posterior.quotes
    one = np.array([float(selection.get(feature, 0)) for feature in posterior.features]) / posterior.unit_sizes
    asked = np.array([float(price) for price in prices])
    chances = np.zeros((_DRAWS, len(prices)))
    for draw in range(_DRAWS):
        demand = posterior.draw(rng)
        for g, weight in enumerate(share):
            segment = np.full(len(prices), g, dtype=np.int64)
            chances[draw] += weight * demand.acceptance(np.tile(one, (len(prices), 1)), asked, segment)
    return chances
