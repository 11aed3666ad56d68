"""Demand on the wire: model cards, curves, simulated months and proposed epochs.

What is exact is a decimal string of its own digits; estimates are decimal strings of six digits.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal, TypedDict

import msgspec

from billing.epoch_proposals import EpochState, KeptProposal
from billing.repositories.demand_models import ModelHead
from billing.repositories.price_books import StoredSheet
from billing.simulation import Interval, SimulatedCustomer, SimulatedTotal, Simulation
from models.values.money import currency, from_minor
from models.values.quantity import EXACT, plain
from pricing_engine.catalog import Feature
from pricing_engine.demand.explanation import figure
from pricing_engine.demand.take_curve import TakeCurve
from pricing_engine.price_sheet import list_price

_LARGEST_INTEGER = 2**31 - 1


class ProposalBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How to propose: from which model (default: the newest), how many are held out, with which draw."""

    model: Annotated[int, msgspec.Meta(ge=1, le=_LARGEST_INTEGER)] | None = None
    holdout: str = "0.05"
    seed: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST_INTEGER)] = 0


class StopBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Why list prices come back."""

    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class SimulationBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A draft price book, under the key of the book that it would replace, and the closed month to try it on.

    `demand`: say what to expect where customers respond as the newest model has it. `largest`: how many of those who
    pay less and of those who pay more are named.
    """

    price_book: dict[str, Any]
    period: str | None = None
    demand: bool = False
    largest: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 100


class DemandModelView(TypedDict):
    """A fitted model. `warnings` and `card` are null where there were too few decisions to judge it."""

    book: str
    version: int
    content_hash: str
    learned_from: str
    learned_until: str
    silence_is_refusal: bool
    fitted_at: str
    warnings: list[str] | None


class DemandModelPage(TypedDict):
    """A book's models, the newest first."""

    items: list[DemandModelView]
    next_cursor: str | None


class ModelCardView(TypedDict):
    """A fitted model with its card."""

    model: DemandModelView
    card: dict[str, Any] | None


class SeenPriceView(TypedDict):
    """A posted price: how many were quoted it, and how many of them took the feature."""

    price: str
    quoted: int
    taken: int


class CurvePointView(TypedDict):
    """The take rate at a price, most probable, with its 90 percent band."""

    price: str
    low: str
    mode: str
    high: str


class CurveView(TypedDict):
    """One adaptive feature's take rate by price. `curve` is empty where data are too few; `lacking` says which."""

    feature: str
    name: str
    list_price: str
    quotes: int
    minimum_quotes: int
    lacking: Literal["", "quotes", "prices"]
    seen: list[SeenPriceView]
    curve: list[CurvePointView]


class CurveList(TypedDict):
    """The adaptive features of the version in force."""

    book: str
    version: int
    currency: str
    items: list[CurveView]


class IntervalView(TypedDict):
    """An estimate with its 90 percent interval."""

    low: str
    mean: str
    high: str


class SimulatedTotalView(TypedDict):
    """All customers of one currency, net. `cost`: of everything billed; expectations are those of the demand model."""

    currency: str
    customers: int
    issued: str
    live: str
    draft: str
    change: str
    cost: str
    live_margin: str
    draft_margin: str
    pay_less: int
    pay_more: int
    responding: int
    expected: IntervalView | None
    expected_margin: IntervalView | None


class SimulatedCustomerView(TypedDict):
    """One customer's month, net: at the prices in force and at the draft's."""

    customer: str
    segment: str
    currency: str
    live: str
    draft: str
    change: str
    not_sold: list[str]
    expected: IntervalView | None


class SimulationView(TypedDict):
    """A closed month under a draft. `reproduced`: rated again at today's prices it equals its invoices to the cent.

    `warnings`: what the card of the model behind the expectations warns of; null without a model, or where it has none.
    """

    period: str
    draft: str
    reproduced: bool
    model: str | None
    warnings: list[str] | None
    totals: list[SimulatedTotalView]
    pay_less: list[SimulatedCustomerView]
    pay_more: list[SimulatedCustomerView]


class ProposalView(TypedDict):
    """A proposed epoch. `objections`: why no machine may publish it; a person may."""

    id: str
    book: str
    epoch: int
    state: Literal["open", "published", "stale"]
    objections: list[str]
    proposed_by: str
    proposed_at: str
    published_by: str | None
    published_at: str | None


class ProposalPage(TypedDict):
    """A book's proposed epochs, the newest first."""

    items: list[ProposalView]
    next_cursor: str | None


class WholeProposalView(TypedDict):
    """A proposed epoch with what it rests on, each price before and after with its reasons, and the sealed document."""

    proposal: ProposalView
    epoch: dict[str, Any]
    changes: list[dict[str, Any]]
    sealed: dict[str, Any]


class SheetInForceView(TypedDict):
    """A price sheet that came into force. `fallback`: why it holds list prices."""

    segment: str
    epoch: int
    sheet_hash: str
    model: str | None
    fallback: str
    effective_from: str


class EpochInForceView(TypedDict):
    """The sheets of an epoch, one a segment."""

    book: str
    sheets: list[SheetInForceView]


def model_view(model: ModelHead) -> DemandModelView:
    """Show a model."""
    return {
        "book": model.book_key,
        "version": model.version,
        "content_hash": model.content_hash,
        "learned_from": model.learned_from.isoformat(),
        "learned_until": model.learned_until.isoformat(),
        "silence_is_refusal": model.silence_is_refusal,
        "fitted_at": model.recorded_at.isoformat(),
        "warnings": None if model.warnings is None else [*model.warnings],
    }


def curve_view(feature: Feature, curve: TakeCurve) -> CurveView:
    """Show what is known of a feature."""
    lacking: Any = curve.lacking
    return {
        "feature": feature.key,
        "name": feature.name,
        "list_price": plain(list_price(feature)),
        "quotes": curve.quotes,
        "minimum_quotes": feature.rails.minimum_quotes,
        "lacking": lacking,
        "seen": [{"price": plain(each.price), "quoted": each.quoted, "taken": each.taken} for each in curve.seen],
        "curve": [
            {
                "price": figure(point.price),
                "low": figure(point.low),
                "mode": figure(point.mode),
                "high": figure(point.high),
            }
            for point in curve.curve
        ],
    }


def simulation_view(found: Simulation, warnings: tuple[str, ...] | None, largest: int) -> SimulationView:
    """Show a simulated month with its model's `warnings`, and the `largest` changes by customer."""
    return {
        "period": found.period,
        "draft": found.draft,
        "reproduced": found.reproduced,
        "model": found.model_hash or None,
        "warnings": None if warnings is None else [*warnings],
        "totals": [_total_view(total, found.cost(total.currency)) for total in found.totals],
        "pay_less": [_customer_view(each) for each in found.winners()[:largest]],
        "pay_more": [_customer_view(each) for each in found.losers()[:largest]],
    }


def proposal_view(kept: KeptProposal, state: EpochState) -> ProposalView:
    """Show where a proposed epoch stands."""
    return {
        "id": kept.id,
        "book": kept.book_key,
        "epoch": kept.epoch,
        "state": state.value,  # type: ignore[typeddict-item]
        "objections": [*kept.objections],
        "proposed_by": kept.proposed_by,
        "proposed_at": kept.proposed_at.isoformat(),
        "published_by": kept.published_by,
        "published_at": None if kept.published_at is None else kept.published_at.isoformat(),
    }


def whole_proposal_view(kept: KeptProposal, state: EpochState) -> WholeProposalView:
    """Show all of a proposed epoch."""
    return {
        "proposal": proposal_view(kept, state),
        "epoch": kept.content("proposal"),
        "changes": [*kept.content("changes")],
        "sealed": dict(kept.document),
    }


def epoch_view(book: str, sheets: list[StoredSheet]) -> EpochInForceView:
    """Show what came into force."""
    return {
        "book": book,
        "sheets": [
            {
                "segment": each.sheet.segment,
                "epoch": each.sheet.epoch,
                "sheet_hash": each.sheet_hash,
                "model": each.sheet.model_hash or None,
                "fallback": each.sheet.fallback,
                "effective_from": each.sheet.effective_from.isoformat(),
            }
            for each in sheets
        ],
    }


def _total_view(total: SimulatedTotal, cost: Decimal) -> SimulatedTotalView:
    live, draft = (from_minor(each.net_minor, currency(total.currency)) for each in (total.live, total.draft))
    return {
        "currency": total.currency,
        "customers": total.customers,
        "issued": _money(total.issued.net_minor, total.currency),
        "live": plain(live),
        "draft": plain(draft),
        "change": plain(EXACT.subtract(draft, live)),
        "cost": plain(cost),
        "live_margin": plain(EXACT.subtract(live, cost)),
        "draft_margin": plain(EXACT.subtract(draft, cost)),
        "pay_less": total.winners,
        "pay_more": total.losers,
        "responding": total.responding,
        "expected": _interval_view(total.expected),
        "expected_margin": _interval_view(total.expected_margin),
    }


def _customer_view(customer: SimulatedCustomer) -> SimulatedCustomerView:
    return {
        "customer": customer.customer,
        "segment": customer.segment,
        "currency": customer.currency,
        "live": _money(customer.live.net_minor, customer.currency),
        "draft": _money(customer.draft.net_minor, customer.currency),
        "change": _money(customer.difference_minor, customer.currency),
        "not_sold": [*customer.not_sold],
        "expected": _interval_view(customer.expected),
    }


def _interval_view(interval: Interval | None) -> IntervalView | None:
    if interval is None:
        return None
    return {"low": figure(interval.low), "mean": figure(interval.mean), "high": figure(interval.high)}


def _money(minor: int, asset: str) -> str:
    return plain(from_minor(minor, currency(asset)))
