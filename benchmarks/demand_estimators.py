"""How fast demand is learnt and priced, beside a peer where there is one; how good a designed tariff is."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from benchmarks.harness import Benchmark, Clock, LegRun, Ratio, Value, run
from pricing_engine.demand.conditional_logit import ConditionalLogit
from pricing_engine.demand.design import quote_design
from pricing_engine.demand.optimum import optimal_prices
from pricing_engine.demand.posterior_fit import fit_posterior
from pricing_engine.demand.price_basis import Scale
from pricing_engine.demand.tariff_design import design_tariff
from tests.conformance.demand.public_choice_data import ChoiceData, electricity

FITS = 15
CUSTOMERS, HELD_OUT, FEATURES = 3_000, 20_000, 10


def _median_fit(clock: Clock, fit: Callable[[ChoiceData], float]) -> float:
    """Fit once to warm up, then time the median of several: `clock.seconds` is that of one fit."""
    sample = electricity()
    log_likelihood = fit(sample)
    times = []
    for _ in range(3 if clock.options.small else FITS):
        started = time.perf_counter()
        fit(sample)
        times.append(time.perf_counter() - started)
    clock.seconds = statistics.median(times)
    return round(log_likelihood, 3)


def ours(clock: Clock) -> object:
    """Electricity, 4,308 choices among 4 suppliers: our conditional logit, inputs checked each time."""

    def fit(sample: ChoiceData) -> float:
        return ConditionalLogit().fit(sample.attributes, sample.chosen, sample.situation).log_likelihood_

    return _median_fit(clock, fit)


def xlogit(clock: Clock) -> object:
    """Fit the same by xlogit as it comes: like ours, with standard errors from second derivatives.

    Told to skip those (`num_hess=False`) it takes about a third of the time.
    """
    from xlogit import MultinomialLogit

    def fit(sample: ChoiceData) -> float:
        model = MultinomialLogit()
        alternatives = np.tile(np.arange(4), len(sample.chosen) // 4)
        model.fit(
            X=sample.attributes,
            y=sample.chosen,
            varnames=list(sample.names),
            alts=alternatives,
            ids=sample.situation,
            verbose=0,
        )
        return float(model.loglikelihood)

    return _median_fit(clock, fit)


def refit(clock: Clock) -> object:
    """Refit a posterior on 100,000 quotes of 10 features in 5 segments, every price its own."""
    rng = np.random.default_rng(1)
    count = 5_000 if clock.options.small else 100_000
    chosen = (rng.random((count, 10)) < 0.5).astype(float)
    segment = rng.integers(0, 5, count)
    price = np.exp(rng.normal(np.log(10), 0.4, count)).round(2)
    log_odds = 1 + chosen @ rng.uniform(0.3, 1.2, 10) - 0.35 * price + rng.normal(0, 0.3, 5)[segment]
    accepted = (rng.random(count) < 1 / (1 + np.exp(-log_odds))).astype(float)
    names, groups = [f"f{k}" for k in range(10)], [f"s{g}" for g in range(5)]
    with clock:
        design = quote_design(chosen, price, accepted, features=names, segment=segment, segments=groups)
        posterior = fit_posterior(design, Scale.ADDITIVE)
    return round(posterior.log_likelihood, 2)


def million_prices(clock: Clock) -> object:
    """Find the optimal price of a million quotes of 10 features in 5 segments."""
    rng = np.random.default_rng(2)
    count = 10_000 if clock.options.small else 1_000_000
    learnt = (rng.random((4_000, 10)) < 0.5).astype(float)
    groups = rng.integers(0, 5, 4_000)
    paid = rng.uniform(4, 16, 4_000)
    accepted = (rng.random(4_000) < 1 / (1 + np.exp(0.3 * paid - 2 - 0.4 * learnt.sum(1)))).astype(float)
    design = quote_design(
        learnt, paid, accepted, features=[f"f{k}" for k in range(10)], segment=groups, segments=list("abcde")
    )
    demand = fit_posterior(design, Scale.ADDITIVE).mode()
    chosen = (rng.random((count, 10)) < 0.5).astype(float)
    cost, segment, highest = chosen.sum(axis=1) * 0.3, rng.integers(0, 5, count), np.full(count, 60.0)
    with clock:
        prices = optimal_prices(demand, chosen, cost, segment, highest)
    return round(float(prices.mean()), 6)


def tariff(clock: Clock) -> object:
    """Design a tariff of 10 features, each irrelevant to 40 percent, and judge it on 20,000 others."""
    rng = np.random.default_rng(3)
    values, costs = _market(rng, CUSTOMERS)
    judged, _ = _market(rng, HELD_OUT)
    with clock:
        design = design_tariff(values, costs, features=[f"f{k}" for k in range(FEATURES)], held_out=(judged, None))
    clock.facts["first_best_share"] = design.first_best_share
    clock.facts["over_component"] = design.profit.mean / design.component_profit.mean
    return [str(price) for price in design.prices]


def _market(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    medians = np.linspace(4, 16, FEATURES)
    common, own = rng.standard_normal((count, 1)), rng.standard_normal((count, FEATURES))
    values = medians * np.exp(0.6 * (np.sqrt(0.3) * common + np.sqrt(0.7) * own))
    return values * (rng.random((count, FEATURES)) >= 0.4), 0.2 * medians


def _fact(name: str) -> Callable[[LegRun], float]:
    return lambda leg: leg.facts[name]


BENCHMARK = Benchmark(
    legs={
        "ours": ours,
        "xlogit": xlogit,
        "refit": refit,
        "million_prices": million_prices,
        "tariff": tariff,
    },
    rows=[
        Ratio(
            "demand.electricity_ratio",
            "ours",
            "xlogit",
            bar=0.25,
            better="lower",
            how="one fit of the Electricity logit, standard errors included, over one of xlogit as it comes",
        ),
        Value(
            "demand.refit_s",
            "refit",
            "s",
            bar=0.5,
            better="lower",
            how="100,000 quotes, 10 features, 5 segments: design and Laplace posterior from a cold start",
        ),
        Value(
            "demand.million_prices_s",
            "million_prices",
            "s",
            bar=1.0,
            better="lower",
            how="optimal prices of a million selections of 10 features, additive scale",
        ),
        Value(
            "demand.tariff_first_best",
            "tariff",
            "share",
            bar=0.470,
            better="higher",
            of=_fact("first_best_share"),
            rounds=1,
            how="10 features, each irrelevant to 40 percent: profit over first-best on 20,000 held-out customers",
        ),
        Value(
            "demand.tariff_over_component",
            "tariff",
            "ratio",
            bar=1.15,
            better="higher",
            of=_fact("over_component"),
            rounds=1,
            how="the same tariff's profit over that of the best single prices",
        ),
        Value("demand.tariff_s", "tariff", "s", bar=2.0, better="lower", how="time to design that tariff"),
    ],
)

if __name__ == "__main__":
    sys.exit(run(BENCHMARK))
