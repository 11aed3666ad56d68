"""Why a price is what it is: cost, markup, what each feature is worth, discount, rails, and how sure.

The total splits exactly: cost + markup, and again into one share a feature. Shares follow the features'
posted prices less the discount, so that they are what the customer pays for each; worth and its interval
stand beside, so that anyone can see where price and worth part company.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import numpy as np

from models.values.canonical_json import Json
from models.values.errors import InvalidValueError
from models.values.money import allocate, round_fraction
from models.values.quantity import EXACT, plain
from pricing_engine.demand.feature_posterior import FeaturePosterior
from pricing_engine.demand.guardrails import RailedPrice
from pricing_engine.demand.price_basis import Scale

_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class FeatureShare:
    """One feature in a price: `share` of the total, what it costs, and its worth with a 90 percent interval.

    `worth`: (low, likeliest, high); in money on the additive scale, else the natural log of the factor by
    which the feature lifts willingness to pay. `quotes`: how many quotes that held it stand behind this.
    """

    feature: str
    list_amount: Decimal
    share: Decimal
    unit_cost: Decimal
    worth: tuple[float, float, float]
    quotes: float
    rails: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PriceExplanation:
    """One selection's price for one segment. `total = cost + markup = sum of shares`, exactly."""

    segment: str
    total: Decimal
    cost: Decimal
    markup: Decimal
    list_sum: Decimal
    discount_percent: Decimal
    shares: tuple[FeatureShare, ...]
    acceptance: float
    elasticity: float
    scale: Scale
    quotes: float
    model_hash: str

    def document(self) -> dict[str, Json]:
        """Return the explanation as JSON; amounts are plain decimal strings, estimates have 6 digits."""
        return {
            "segment": self.segment,
            "total": plain(self.total),
            "cost": plain(self.cost),
            "markup": plain(self.markup),
            "list_sum": plain(self.list_sum),
            "discount_percent": plain(self.discount_percent),
            "features": [
                {
                    "feature": share.feature,
                    "list_amount": plain(share.list_amount),
                    "share": plain(share.share),
                    "unit_cost": plain(share.unit_cost),
                    "worth_90": [figure(end) for end in share.worth],
                    "quotes": figure(share.quotes),
                    "rails": list(share.rails),
                }
                for share in self.shares
            ],
            "acceptance": figure(self.acceptance),
            "elasticity": figure(self.elasticity),
            "scale": str(self.scale),
            "quotes": figure(self.quotes),
            "model_hash": self.model_hash,
        }

    def sentences(self) -> list[str]:
        """Return the explanation in words, one sentence a figure."""
        words = [f"The price is {plain(self.total)}: {plain(self.cost)} cost and {plain(self.markup)} markup."]
        if self.discount_percent:
            words.append(
                f"The features list at {plain(self.list_sum)}; "
                f"{len(self.shares)} of them together take {plain(self.discount_percent)} percent off."
            )
        unit = "worth" if self.scale is Scale.ADDITIVE else "lifts willingness to pay by a log factor of"
        for share in self.shares:
            low, likely, high = (figure(end) for end in share.worth)
            rails = f" Rails applied: {', '.join(share.rails)}." if share.rails else ""
            words.append(
                f"{share.feature} is {plain(share.share)} of it; {unit} {likely} "
                f"(90 percent sure between {low} and {high}, {share.quotes:.0f} quotes).{rails}"
            )
        words.append(
            f"At this price {figure(self.acceptance)} of such quotes are expected to be accepted; "
            f"1 percent dearer means {figure(-self.elasticity)} percent fewer."
        )
        return words


def explain_price(
    posterior: FeaturePosterior,
    segment: str,
    prices: Mapping[str, RailedPrice],
    unit_costs: Mapping[str, Decimal],
    *,
    discount_percent: Decimal = Decimal(0),
    minor_digits: int = 2,
) -> PriceExplanation:
    """Explain the price of the selection `prices` (feature -> railed unit price) for one segment.

    The total is rounded half away from zero to `minor_digits`; shares of it go to the features in
    proportion to their prices by largest remainder. Raises InvalidValueError for a feature or segment that
    the model does not know, an empty selection, or a missing cost.
    """
    index = {feature: k for k, feature in enumerate(posterior.features)}
    unknown = sorted(set(prices) - set(index)) + sorted(set(prices) - set(unit_costs))
    if unknown or not prices:
        raise InvalidValueError("needs features with a model and a cost", field="prices", value=unknown)
    demand = posterior.mode()
    g = demand.index_of(segment)
    selection = sorted(prices, key=index.__getitem__)
    listed = [prices[feature].price for feature in selection]
    list_sum = sum(listed, Decimal(0))
    kept = EXACT.divide(EXACT.subtract(_HUNDRED, discount_percent), _HUNDRED)
    minor = _rounded(EXACT.multiply(list_sum, kept), minor_digits)
    total = Decimal(minor).scaleb(-minor_digits, context=EXACT)
    cost = sum((unit_costs[feature] for feature in selection), Decimal(0))
    chosen = np.zeros((1, len(index)))
    columns = [index[feature] for feature in selection]
    chosen[0, columns] = 1.0 / posterior.unit_sizes[columns]
    at, row = np.array([max(float(total), 1e-12)]), np.array([g])
    parts = allocate(minor, listed)
    shares = tuple(
        FeatureShare(
            feature,
            prices[feature].price,
            Decimal(part).scaleb(-minor_digits, context=EXACT),
            unit_costs[feature],
            posterior.worth_interval(g, index[feature]),
            float(posterior.quotes_by_feature[index[feature]]),
            tuple(str(hit.rail) for hit in prices[feature].hits),
        )
        for feature, part in zip(selection, parts, strict=True)
    )
    return PriceExplanation(
        segment,
        total,
        cost,
        EXACT.subtract(total, cost),
        list_sum,
        discount_percent,
        shares,
        float(demand.acceptance(chosen, at, row)[0]),
        float(demand.elasticity(chosen, at, row)[0]),
        posterior.basis.scale,
        float(posterior.quotes_by_segment[g]),
        posterior.content_hash,
    )


def figure(value: float, digits: int = 6) -> str:
    """Print an estimate with a few significant digits, without exponent: it is not money."""
    return plain(Decimal(f"{value:.{digits}g}")) if np.isfinite(value) else str(value)


def _rounded(amount: Decimal, minor_digits: int) -> int:
    return round_fraction(Fraction(amount) * 10**minor_digits)
