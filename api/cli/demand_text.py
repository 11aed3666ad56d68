"""What `alacarte demand` prints: models, cards, proposals and sheets in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from billing.demand_watch import Watched, drift_sentence
from billing.epoch_proposals import KeptProposal
from billing.repositories.demand_models import StoredModel
from billing.repositories.price_books import StoredSheet
from models.values.quantity import plain
from pricing_engine.demand.evaluation import PolicyValue
from pricing_engine.demand.explanation import figure
from pricing_engine.demand.model_card import ElasticityRow, elasticity_table
from pricing_engine.demand.proposal_document import EpochDraft
from pricing_engine.demand.quote_log import logged_quotes, outcome_counts

_DIGITS = 3


def fit_lines(model: StoredModel, log: pl.DataFrame) -> list[str]:
    """Return what was learned."""
    posterior = model.posterior
    quotes = logged_quotes(log, features=posterior.features, units=posterior.units)
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in outcome_counts(log).items() if count)
    pairs = [f"{posterior.features[first]} + {posterior.features[second]}" for first, second in posterior.pairs]
    return [
        f"{log.height} quotes: {outcomes}; learned from {len(quotes.price)} of them",
        f"scale: {posterior.basis.scale}, by evidence",
        *_elasticities(elasticity_table(posterior, quotes, np.random.default_rng(0))),
        *([f"worth more or less together: {', '.join(pairs)}"] if pairs else []),
        *segment_lines(model.card or {}),
        *warning_lines(model),
        f"model {model.version} of {model.book_key}: {model.content_hash}",
    ]


def card_lines(card: Mapping[str, Any], model: StoredModel) -> list[str]:
    """Return a card in words; `--json` has every figure."""
    effect, data, drift = card["price_effect"], card["data"], card["drift"]
    return [
        f"model {model.version} of {model.book_key}: {card['model_hash']}",
        f"quotes from {data['first_quote'][:10]} to {data['last_quote'][:10]}: "
        + ", ".join(f"{count} {outcome}" for outcome, count in data["outcomes"].items() if count),
        *(["quotes that ran out of time count as declined"] if model.silence_is_refusal else []),
        f"scale: {card['scale']}",
        f"calibration on quotes that taught nothing: off by {_rounded(card['calibration']['expected_error'])}, "
        f"of which chance {_rounded(card['calibration'].get('by_chance', '0'))}; "
        f"slope {_rounded(card['calibration']['slope'])}",
        f"drift: {len(drift['alarms'])} alarms in {len(drift['z'])} windows",
        f"effect of price on log odds: {_rounded(effect['effect'])} "
        f"({_rounded(effect['low'])} to {_rounded(effect['high'])})",
        f"confounding: {card['confounding']['verdict']}",
        *[
            f"elasticity of {row['segment']}: {_rounded(row['elasticity_90'][1])}, 90 % "
            f"{_rounded(row['elasticity_90'][0])} to {_rounded(row['elasticity_90'][2])}, "
            f"{_rounded(row['quotes'])} quotes"
            for row in card["elasticities"]
        ],
        *segment_lines(card),
        *warning_lines(model),
    ]


def segment_lines(card: Mapping[str, Any]) -> list[str]:
    """Return which segments are told apart from nobody, and what the check for proxies found."""
    undeclared = [f"{segment} ({quotes} quotes)" for segment, quotes in card.get("undeclared_segments", {}).items()]
    lines = [f"priced as default, not declared in the price book: {', '.join(undeclared)}"] if undeclared else []
    check = card.get("proxies")
    if check is None:
        return lines
    found = [
        f"{each['attribute']} tells {each['stands_for']} ({_rounded(each['association'])})" for each in check["found"]
    ]
    return [
        *lines,
        f"segments of {check['customers']} customers checked on {check['checked_at'][:10]} for "
        f"{', '.join(check['protected'])}: {', '.join(found) or 'nothing tells them'}",
    ]


def warning_lines(model: StoredModel) -> list[str]:
    """Return what speaks against a model, and what follows from that."""
    if model.warnings is None:
        return ["warning: too few decisions for a model card"]
    held = [f"prices stay at the list: {model.distrust}"] if model.distrust else []
    return [*[f"warning: {warning}" for warning in model.warnings], *held]


def proposal_lines(draft: EpochDraft) -> list[str]:
    """Return what a proposal would change, and why."""
    epoch = draft.document()
    lines = [
        f"{draft.book_key}, epoch {epoch['epoch']}, " + (f"model {epoch['model']}" if epoch["model"] else "no model")
    ]
    if epoch["fallback"]:
        lines.append(f"list prices: {epoch['fallback']}")
    segment = None
    for change in draft.changes():
        if change["segment"] != segment:
            segment = change["segment"]
            lines.append(f"{segment}:")
        lines.append("  " + _change_line(change))
    effect = draft.proposal.effect
    if effect is not None:
        lines.append(
            f"expected profit a quote, by this draw: {_short(effect.at_list)} at list prices, "
            f"{_short(effect.proposed)} as proposed, {_short(effect.wanted)} without rails"
        )
        lines += [f"  given up to {rail}: {_short(lost)}" for rail, lost in effect.given_up.items()]
    return lines


def evaluation_lines(draft: EpochDraft) -> list[str]:
    """Return what the logged quotes would have earned at the proposed prices, or why nobody can tell."""
    found = draft.evaluation
    if found is None:
        return [f"not evaluated on the log: {draft.not_evaluated}"] if draft.not_evaluated else []
    return [
        f"earned a quote by the log: {_value(found.logged)}",
        *[f"  as proposed, {estimate.estimator.replace('_', ' ')}: {_value(estimate)}" for estimate in found.estimates],
    ]


def objection_lines(proposal: KeptProposal) -> list[str]:
    """Return what speaks against publishing without a person."""
    return [f"needs a person: {objection}" for objection in proposal.objections]


def watch_lines(found: Watched) -> list[str]:
    """Return what a look at demand found and did."""
    lines = [] if found.model is None or found.drift is None else [drift_sentence(found.model, found.drift)]
    if found.proposal is not None:
        epoch = found.proposal.content("proposal")
        prices = [each for each in found.proposal.content("changes") if each["before"] != each["after"]]
        lines.append(f"proposal {found.proposal.id}: epoch {epoch['epoch']}, {len(prices)} prices move")
        lines += objection_lines(found.proposal)
    if found.is_alarmed:
        lines.append("acceptance left the model: list prices are back")
    return [*lines, *sheet_lines(found.sheets), *([found.waits] if found.waits else [])]


def sheet_lines(sheets: Sequence[StoredSheet]) -> list[str]:
    """Return what was put in force."""
    lines = []
    for stored in sheets:
        sheet = stored.sheet
        source = f"model {sheet.model_hash}" if sheet.model_hash else f"list prices: {sheet.fallback}"
        lines.append(f"{sheet.segment}: epoch {sheet.epoch}, sheet {stored.sheet_hash}, {source}")
    return lines


def _change_line(change: Mapping[str, Any]) -> str:
    rails = "; ".join(f"{hit['rail']} at {_price(hit['bound'])}" for hit in change["rails"])
    worth = change.get("worth_90")
    short = change.get("limited_supply")
    reasons = [
        f"wanted {_rounded(change['wanted'])}",
        *([_shortage(short)] if short else []),
        *([f"rails: {rails}"] if rails else []),
        *([f"worth {_rounded(worth[1])}, 90 % {_rounded(worth[0])} to {_rounded(worth[2])}"] if worth else []),
        f"{_rounded(change['quotes'])} quotes",
    ]
    kept = change["before"] == change["after"]
    moved = f"stays {change['after']}" if kept else f"{change['before']} -> {change['after']}"
    return f"{change['feature']}: {moved} ({', '.join(reasons)})"


def _shortage(short: Mapping[str, Any]) -> str:
    """Say why a price is to be the one at which supply lasts."""
    return (
        f"limited supply: {short['left']} left, about {float(short['wanted']):.0f} wanted until {short['until']}, "
        f"a unit kept earns {_rounded(short['unit_value'])} later"
    )


def _elasticities(rows: Sequence[ElasticityRow]) -> list[str]:
    return [
        f"elasticity of {row.segment}: {_short(row.elasticity[1])}, "
        f"90 % {_short(row.elasticity[0])} to {_short(row.elasticity[2])}, {row.quotes:.0f} quotes"
        for row in rows
    ]


def _value(value: PolicyValue) -> str:
    if value.value is None or value.low is None or value.high is None:
        return f"refused, {value.refused}"
    return f"{_short(value.value)}, 90 % {_short(value.low)} to {_short(value.high)}"


def _price(text: str) -> str:
    """Shorten a price to six significant digits; it is money, so not by way of a float."""
    return plain(Decimal(f"{Decimal(text):.6g}"))


def _rounded(text: str) -> str:
    """Shorten an estimate that is kept with more digits."""
    return _short(float(text))


def _short(value: float) -> str:
    return figure(value, _DIGITS)
