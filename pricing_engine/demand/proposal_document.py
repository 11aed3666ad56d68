"""An epoch's proposal as a sealed document: the sheets to publish, and for people what changes and why.

It is sealed as a whole, so that what is published is what was proposed and approved: no price can be altered on the
way, no segment left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from models.values.canonical_json import Json
from models.values.errors import InvalidValueError
from models.values.quantity import plain
from pricing_engine.demand.epoch_proposal import EpochProposal, ProfitEffect, ProposedPrice
from pricing_engine.demand.evaluation import PolicyEvaluation, PolicyValue
from pricing_engine.demand.explanation import figure
from pricing_engine.demand.feature_posterior import FeaturePosterior
from pricing_engine.demand.guardrails import RailHit
from pricing_engine.demand.price_basis import Scale
from pricing_engine.price_sheet import PriceSheet, parse_price_sheet, price_sheet_document
from pricing_engine.sealing import Disclosure, Opened, Section

PROPOSAL_KIND = "alacarte.epoch_proposal.v1"
_SHEETS = "sheets/"


@dataclass(frozen=True, slots=True)
class EpochDraft:
    """One epoch's sheets by segment as proposed, those they would follow, and the proposal they come from.

    `warnings`: what its model's card warns of, None for a model without a card. `evaluation`: what the logged quotes
    would have earned at these prices, None where nobody can tell and `not_evaluated` says why.
    """

    book_key: str
    sheets: Mapping[str, PriceSheet]
    before: Mapping[str, PriceSheet]
    proposal: EpochProposal
    posterior: FeaturePosterior | None
    warnings: tuple[str, ...] | None = None
    evaluation: PolicyEvaluation | None = None
    not_evaluated: str = ""

    def changes(self) -> list[dict[str, Json]]:
        """Return each price before and after, what the model wanted, which rails moved it, and what it rests on."""
        ordered = sorted(self.proposal.prices, key=lambda price: (price.segment, price.feature))
        return [self._change(price) for price in ordered]

    def document(self) -> dict[str, Json]:
        """Return what concerns the whole epoch; estimates have 6 digits."""
        first = next(iter(self.sheets.values()))
        effect = self.proposal.effect
        return {
            "book": self.book_key,
            "price_book": first.book_hash,
            "epoch": first.epoch,
            "model": first.model_hash,
            "fallback": first.fallback,
            "holdout": plain(first.holdout),
            "effect": None if effect is None else _effect_document(effect),
            "warnings": None if self.warnings is None else list(self.warnings),
            "evaluation": None if self.evaluation is None else _evaluation_document(self.evaluation),
            "not_evaluated": self.not_evaluated,
        }

    def sections(self) -> list[Section]:
        """Split for sealing; all of it is for the company's own people."""
        sections = [Section("proposal", Disclosure.AUDITOR, {**self.document(), "segments": sorted(self.sheets)})]
        sections += [
            Section(f"{_SHEETS}{segment}", Disclosure.AUDITOR, price_sheet_document(sheet))
            for segment, sheet in self.sheets.items()
        ]
        return [*sections, Section("changes", Disclosure.AUDITOR, self.changes())]

    def _change(self, price: ProposedPrice) -> dict[str, Json]:
        return {
            "segment": price.segment,
            "feature": price.feature,
            "before": plain(self.before[price.segment].price_of(price.feature).price),
            "after": plain(price.railed.price),
            "wanted": plain(price.candidate),
            "rails": [{"rail": str(hit.rail), "bound": _bound(hit)} for hit in price.railed.hits],
            **self._limited_supply(price),
            **_evidence(self.posterior, price.segment, price.feature),
        }

    def _limited_supply(self, price: ProposedPrice) -> dict[str, Json]:
        """Return what is short of a feature; nothing where supply is ample, or not limited."""
        short = self.proposal.shortage_of(price.feature)
        if short is None:
            return {}
        until = self.sheets[price.segment].effective_from + timedelta(days=short.supply.days)
        return {
            "limited_supply": {
                "left": short.supply.left,
                "wanted": figure(short.wanted),
                "until": f"{until:%Y-%m-%d}",
                "unit_value": figure(short.unit_value),
            }
        }


def _bound(hit: RailHit) -> str:
    """Return a bound with as many digits as a candidate has: one that does not divide evenly has no last one."""
    return plain(Decimal(f"{hit.bound:.12g}"))


def _evidence(posterior: FeaturePosterior | None, segment: str, feature: str) -> dict[str, Json]:
    """Return how many quotes stand behind a price, and the feature's worth with a 90 percent interval if in money."""
    quotes = 0.0 if posterior is None else posterior.quotes_behind(segment, feature)
    if posterior is None or quotes == 0 or posterior.basis.scale is not Scale.ADDITIVE:
        return {"quotes": figure(quotes)}
    g, k = posterior.segments.index(segment), posterior.features.index(feature)
    return {"quotes": figure(quotes), "worth_90": [figure(end) for end in posterior.worth_interval(g, k)]}


def _effect_document(effect: ProfitEffect) -> dict[str, Json]:
    return {
        "profit_at_list": figure(effect.at_list),
        "profit_wanted": figure(effect.wanted),
        "profit_proposed": figure(effect.proposed),
        "given_up": {str(rail): figure(lost) for rail, lost in effect.given_up.items()},
    }


def _evaluation_document(evaluation: PolicyEvaluation) -> dict[str, Json]:
    return {
        "logged": _value_document(evaluation.logged),
        "estimates": {str(each.estimator): _value_document(each) for each in evaluation.estimates},
        "uplift": _value_document(evaluation.uplift),
    }


def _value_document(value: PolicyValue) -> dict[str, Json]:
    found = value.low, value.value, value.high
    interval: list[Json] | None = [figure(end) for end in found if end is not None] or None
    return {"profit_90": interval, "refused": value.refused, "effective_quotes": figure(value.effective_quotes)}


def proposed_sheets(opened: Opened) -> dict[str, PriceSheet]:
    """Return the sheets of an opened proposal by segment. Raises SealBrokenError, InvalidValueError."""
    head: Mapping[str, Any] = opened.content("proposal")
    sheets = {segment: parse_price_sheet(opened.content(f"{_SHEETS}{segment}")) for segment in head["segments"]}
    if any(sheet.segment != segment for segment, sheet in sheets.items()):
        raise InvalidValueError("a sheet is for another segment", field="proposal.sheets", value=sorted(sheets))
    return sheets
