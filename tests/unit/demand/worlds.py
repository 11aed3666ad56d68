"""Small worlds with known demand, from which tests draw quotes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pricing_engine.demand.design import QuoteDesign, quote_design
from pricing_engine.demand.price_basis import Floats


@dataclass(frozen=True)
class World:
    """True logit demand, additive in money: `worth` (G, K) and `intercept` (G,) in log-odds, `slope` (G,)."""

    intercept: Floats
    worth: Floats
    slope: Floats
    typical_price: float = 8.0
    price_spread: float = 0.4

    @property
    def features(self) -> list[str]:
        return [f"feature-{k}" for k in range(self.worth.shape[1])]

    @property
    def segments(self) -> list[str]:
        return [f"segment-{g}" for g in range(len(self.slope))]

    def quotes(self, rng: np.random.Generator, count: int, weights: Floats | None = None) -> QuoteDesign:
        """Draw `count` quotes at random prices; `weights` are the segments' shares."""
        chosen = (rng.random((count, self.worth.shape[1])) < 0.6).astype(float)
        segment = rng.choice(len(self.slope), size=count, p=weights)
        price = self.typical_price * np.exp(rng.normal(0, self.price_spread, count))
        log_odds = self.intercept[segment] + (chosen * self.worth[segment]).sum(1) - self.slope[segment] * price
        accepted = (rng.random(count) < 1 / (1 + np.exp(-log_odds))).astype(float)
        return quote_design(chosen, price, accepted, features=self.features, segment=segment, segments=self.segments)


def world(rng: np.random.Generator, features: int = 5, segments: int = 1, spread: float = 0.2) -> World:
    """Draw a world whose segments differ by `spread`."""
    worth = rng.uniform(0.3, 1.2, features) + spread * rng.standard_normal((segments, features))
    slope = 0.35 * np.exp(0.75 * spread * rng.standard_normal(segments))
    return World(0.5 + spread * rng.standard_normal(segments), worth, slope)
