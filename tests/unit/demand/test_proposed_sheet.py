"""What a quote shows from a proposed sheet, drawn at any point of the jitter, stays inside the rails."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import numpy as np

from pricing_engine.demand.design import quote_design
from pricing_engine.demand.epoch_proposal import propose_epoch
from pricing_engine.demand.guardrails import RailContext, Rails
from pricing_engine.demand.posterior_fit import fit_posterior
from pricing_engine.demand.price_basis import Scale
from pricing_engine.demand.proposed_sheet import price_sheets
from pricing_engine.demand.selections import selections_of
from pricing_engine.price_sheet import shown_price

D = Decimal
AT = datetime(2026, 3, 1, tzinfo=UTC)


def test_every_draw_of_a_proposed_sheet_shows_a_price_inside_the_rails() -> None:
    rng = np.random.default_rng(1)
    chosen, segment = rng.integers(0, 2, (900, 2)).astype(float), rng.integers(0, 2, 900)
    paid = rng.uniform(2, 20, 900)
    accepted = (rng.random(900) < 1 / (1 + np.exp(0.3 * paid - 2 - segment))).astype(float)
    design = quote_design(chosen, paid, accepted, features=["api", "sso"], segment=segment, segments=["eu", "us"])
    posterior = fit_posterior(design, Scale.ADDITIVE)
    rails = Rails(ceiling=D("5.4"), largest_step=D("0.2"), segment_ratio=D("1.1"), minimum_quotes=100)
    fact = RailContext(list_price=D(5), unit_cost=D(1), last_price=D(5), quotes=900)
    contexts = {feature: {"eu": fact, "us": fact} for feature in posterior.features}
    by_feature = dict.fromkeys(posterior.features, rails)
    proposal = propose_epoch(posterior, selections_of(design), contexts, by_feature, epoch=3, seed=5)
    sheets = price_sheets(proposal, by_feature, book_hash="b" * 64, effective_from=AT)
    assert {name: sheet.model_hash for name, sheet in sheets.items()} == dict.fromkeys(
        ("eu", "us"), posterior.content_hash
    )
    draws = [D(step) / 1000 for step in range(-50, 51, 5)]
    for feature in posterior.features:
        shown = {
            name: [shown_price(sheet.price_of(feature), draw).price for draw in draws] for name, sheet in sheets.items()
        }
        for prices in shown.values():
            assert all(price <= D("5.4") and D(5) / D("1.2") <= price <= D(6) for price in prices)
            assert all(price % D("0.01") == 0 for price in prices)
        assert max(map(max, shown.values())) <= D("1.1") * min(map(min, shown.values()))


def test_list_prices_stand_on_a_sheet_without_model_and_jitter() -> None:
    fact = RailContext(list_price=D("9.37"))
    nothing = selections_of(quote_design(np.ones((1, 1)), np.ones(1), np.ones(1), features=["api"]))
    proposal = propose_epoch(None, nothing, {"api": {"eu": fact}}, {"api": Rails()}, epoch=3, seed=5)
    sheet = price_sheets(proposal, {"api": Rails()}, book_hash="b" * 64, effective_from=AT)["eu"]
    price = sheet.price_of("api")
    assert (price.price, price.lowest, price.highest, price.jitter) == (D("9.37"), D("9.37"), D("9.37"), D(0))
    assert (sheet.model_hash, sheet.fallback) == ("", "no model")
