"""Each gate keeps prices from coming into force unseen for its own reason, and none without one."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from msgspec import structs

from models.values.errors import InvalidValueError
from pricing_engine.demand.epoch_proposal import EpochProposal, ProfitEffect
from pricing_engine.demand.evaluation import Estimator, PolicyEvaluation, PolicyValue
from pricing_engine.demand.proposal_document import EpochDraft
from pricing_engine.demand.publishing_gates import Gates, objections
from pricing_engine.price_sheet import PriceSheet

SHEET = PriceSheet(
    book_hash="0" * 64,
    segment="default",
    epoch=3,
    effective_from=datetime(2026, 1, 1, tzinfo=UTC),
    prices=(),
    model_hash="1" * 64,
    holdout=Decimal("0.05"),
)


def value(low: float, mean: float, high: float) -> PolicyValue:
    return PolicyValue(Estimator.DOUBLY_ROBUST, mean, low, high, 2_000.0)


def evaluated(uplift: PolicyValue) -> PolicyEvaluation:
    """An evaluation of a log that earned 2 a quote."""
    return PolicyEvaluation(value(1.9, 2.0, 2.1), (), uplift, 0.1, 0)


GOOD = EpochDraft(
    book_key="gateway",
    sheets={"default": SHEET},
    before={"default": SHEET},
    proposal=EpochProposal(3, (), "1" * 64, None),
    posterior=None,
    warnings=(),
    evaluation=evaluated(value(-0.05, 0.1, 0.25)),
)
UNKNOWN = PolicyValue(Estimator.DOUBLY_ROBUST, None, None, None, 12.0, "only 12 effective quotes")


def test_what_passes_every_gate_needs_no_person() -> None:
    assert objections(GOOD, Gates()) == ()


@pytest.mark.parametrize(
    ("draft", "objection"),
    [
        (replace(GOOD, warnings=None), "the model has no card"),
        (replace(GOOD, warnings=("predictions are off",)), "predictions are off"),
        (
            replace(GOOD, proposal=EpochProposal(3, (), "1" * 64, ProfitEffect(3.18, 7.17, 3.16, {}))),
            "earns less than list prices by the model itself: 3.16 a quote against 3.18",
        ),
        (replace(GOOD, sheets={"default": structs.replace(SHEET, holdout=Decimal(0))}), "no customers are held out"),
        (replace(GOOD, before={"default": structs.replace(SHEET, fallback="stopped")}), "in force: stopped"),
        (replace(GOOD, evaluation=None, not_evaluated="needs 50 quotes"), "not evaluated on the log: needs 50"),
        (replace(GOOD, evaluation=evaluated(UNKNOWN)), "do not say what it earns: only 12"),
        (replace(GOOD, evaluation=evaluated(value(-0.05, 0.0, 0.05))), "earns no more than they did"),
        (replace(GOOD, evaluation=evaluated(value(-0.11, 0.1, 0.3))), "may lose 0.11 a quote, more than 5 %"),
        (replace(GOOD, proposal=replace(GOOD.proposal, fallback="no model")), "nothing is proposed but list prices"),
    ],
)
def test_each_gate_gives_its_reason_and_no_other(draft: EpochDraft, objection: str) -> None:
    [found] = objections(draft, Gates())
    assert objection in found


def test_a_risk_that_was_allowed_is_no_objection() -> None:
    risky = replace(GOOD, evaluation=evaluated(value(-0.11, 0.1, 0.3)))
    assert objections(risky, Gates(largest_risk=0.06)) == ()
    with pytest.raises(InvalidValueError, match=r"within 0\.\.1"):
        Gates(largest_risk=-0.1)
