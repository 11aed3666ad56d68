"""From an epoch's proposal to the price sheets that carry it, one a segment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from pricing_engine.demand.epoch_proposal import EpochProposal
from pricing_engine.demand.guardrails import Rails
from pricing_engine.price_sheet import PriceSheet, SheetPrice


def price_sheets(
    proposal: EpochProposal,
    rails: Mapping[str, Rails],
    *,
    book_hash: str,
    effective_from: datetime,
    holdout: Decimal = Decimal(0),
) -> dict[str, PriceSheet]:
    """Return segment -> unsigned sheet, prices by feature key; `rails` are those of the proposal.

    `holdout`: share of customers who stay on list prices. A sheet of list prices names no model and says why.
    """
    by_segment: dict[str, list[SheetPrice]] = {}
    for price in sorted(proposal.prices, key=lambda one: (one.segment, one.feature)):
        ladder = rails[price.feature].ladder
        by_segment.setdefault(price.segment, []).append(
            SheetPrice(
                feature=price.feature,
                price=price.railed.price,
                lowest=price.railed.lowest,
                highest=price.railed.highest,
                ladder_step=ladder.step,
                ladder_ending=ladder.ending,
                jitter=price.jitter,
                rails=tuple(str(hit.rail) for hit in price.railed.hits),
            )
        )
    return {
        segment: PriceSheet(
            book_hash=book_hash,
            segment=segment,
            epoch=proposal.epoch,
            effective_from=effective_from,
            prices=tuple(prices),
            model_hash=proposal.model_hash,
            holdout=holdout,
            fallback=proposal.fallback,
        )
        for segment, prices in by_segment.items()
    }
