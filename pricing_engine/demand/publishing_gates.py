"""Gates before prices that no person looks at: what a proposal must pass to come into force by itself.

Rails bound every proposal; they are checked where prices are made. These gates ask whether the model, the log and the
experiment behind a proposal deserve that nobody looks. Each that is not passed is an objection in words.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.values.errors import InvalidValueError
from pricing_engine.demand.evaluation import LEAST_EFFECTIVE_QUOTES, PolicyEvaluation
from pricing_engine.demand.explanation import figure
from pricing_engine.demand.proposal_document import EpochDraft

_DIGITS = 3


@dataclass(frozen=True, slots=True)
class Gates:
    """What is asked for; shares are fractions.

    `largest_risk`: how far the 90 percent interval of the gain over the log may reach below zero, of what the log
    earned. `least_effective_quotes`: what an evaluation by reweighting needs.
    """

    largest_risk: float = 0.05
    least_effective_quotes: float = LEAST_EFFECTIVE_QUOTES

    def __post_init__(self) -> None:
        """Refuse a negative share."""
        if not 0 <= self.largest_risk < 1:
            raise InvalidValueError("must be within 0..1", field="largest_risk", value=self.largest_risk)


def objections(draft: EpochDraft, gates: Gates) -> tuple[str, ...]:
    """Return why a proposal may not come into force without a person; empty where it may."""
    found = [f"list prices are in force: {reason}" for reason in _reasons_for_list_prices(draft)]
    if draft.proposal.fallback:
        return (*found, f"nothing is proposed but list prices: {draft.proposal.fallback}")
    if draft.warnings is None:
        found.append("the model has no card: too few decisions to judge it")
    found += draft.warnings or ()
    effect = draft.proposal.effect
    if effect is not None and effect.proposed < effect.at_list:
        found.append(
            f"within rails it earns less than list prices by the model itself: {_short(effect.proposed)} a quote "
            f"against {_short(effect.at_list)}"
        )
    if any(sheet.holdout == 0 for sheet in draft.sheets.values()):
        found.append("no customers are held out on list prices to compare with")
    if draft.evaluation is None:
        return (*found, f"not evaluated on the log: {draft.not_evaluated}")
    return (*found, *_of_evaluation(draft.evaluation, gates))


def _reasons_for_list_prices(draft: EpochDraft) -> list[str]:
    """Return why a person or an alarm put list prices in force; it takes a person to leave them."""
    return sorted({sheet.fallback for sheet in draft.before.values() if sheet.fallback})


def _of_evaluation(evaluation: PolicyEvaluation, gates: Gates) -> list[str]:
    uplift, earned = evaluation.uplift, evaluation.logged.value
    if uplift.value is None or uplift.low is None or earned is None:
        return [f"the logged quotes do not say what it earns: {uplift.refused}"]
    found = []
    if uplift.value <= 0:
        found.append(f"by the logged quotes it earns no more than they did: {_short(uplift.value)} a quote")
    if uplift.low < -gates.largest_risk * abs(earned):
        found.append(
            f"by the logged quotes it may lose {_short(-uplift.low)} a quote, "
            f"more than {_short(gates.largest_risk * 100)} % of the {_short(earned)} they earned"
        )
    return found


def _short(value: float) -> str:
    return figure(value, _DIGITS)
