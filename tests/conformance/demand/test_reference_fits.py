"""Our conditional logit against published fits: log-likelihood to 1e-3, coefficients to 1e-3 relative.

The figures are those of xlogit, biogeme, mlogit and statsmodels on the same data.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pricing_engine.demand.acceptance import AcceptanceClassifier
from pricing_engine.demand.conditional_logit import ConditionalLogit
from pricing_engine.demand.prior import DemandPrior, NormalBelief
from tests.conformance.demand import public_choice_data as data

REFERENCE: list[tuple[str, Callable[[], data.ChoiceData], float, dict[str, float]]] = [
    (
        "Electricity",
        data.electricity,
        -4958.6491,
        {"pf": -0.6252, "cl": -0.1083, "loc": 1.4422, "wk": 0.9955, "tod": -5.4628, "seas": -5.8400},
    ),
    (
        "Swissmetro",
        data.swissmetro,
        -5331.2520,
        {"cost": -1.0838, "time": -1.2779, "asc_train": -0.7012, "asc_car": -0.1546},
    ),
    ("Train", data.train, -1724.1500, {"price": -0.06736, "time": -1.72055, "change": -0.32634, "comfort": -0.94573}),
    ("Heating", lambda: data.heating(constants=False), -1095.2371, {"ic": -0.00623, "oc": -0.00458}),
    ("Heating with constants", lambda: data.heating(constants=True), -1008.2287, {"ic": -0.00153, "oc": -0.00700}),
    ("ModeCanada", data.mode_canada, -1930.5652, {"cost": -0.04496}),
    (
        "Intercity",
        data.intercity,
        -199.1284,
        {"asc_air": 5.2074, "gc": -0.01550, "ttme": -0.09612, "hinc_air": 0.01329},
    ),
]


@pytest.mark.parametrize(("name", "load", "log_likelihood", "coefficients"), REFERENCE, ids=[r[0] for r in REFERENCE])
def test_the_fit_equals_the_published_one(
    name: str, load: Callable[[], data.ChoiceData], log_likelihood: float, coefficients: dict[str, float]
) -> None:
    sample = load()
    fit = ConditionalLogit().fit(sample.attributes, sample.chosen, sample.situation)
    assert fit.log_likelihood_ == pytest.approx(log_likelihood, abs=1e-3)
    found = dict(zip(sample.names, fit.coef_, strict=True))
    for attribute, value in coefficients.items():
        # Printed figures carry half a unit of their last digit on top of the 1e-3.
        last_digit = 0.5001 * 10.0 ** -len(f"{value}".partition(".")[2])
        assert found[attribute] == pytest.approx(value, rel=1e-3, abs=last_digit), name


def test_a_binary_choice_is_the_same_fit_by_the_acceptance_model() -> None:
    """Dutch trains: the difference of two journeys as one quote; a flat prior gives the same maximum."""
    sample = data.train()
    difference = sample.attributes[1::2] - sample.attributes[0::2]
    flat = NormalBelief(0.0, 1e3)
    prior = DemandPrior(intercept=NormalBelief(0.0, 1e-6), any_worth=flat, log_slope=flat)
    model = AcceptanceClassifier(prior=prior).fit(difference, sample.chosen[1::2])
    slope = np.exp(model.posterior_.shared[-1]) / model.posterior_.basis.unit
    assert model.posterior_.log_likelihood == pytest.approx(-1724.1500, abs=1e-3)
    np.testing.assert_allclose(
        [-slope, *model.posterior_.shared[1:-1]], [-0.06736, -1.72055, -0.32634, -0.94573], rtol=1e-3
    )
