"""Designs of `alacarte demand`: a tariff, a bundle, a group offer, from what the newest model learned.

See `api.cli.demand` for their options. A tariff or bundle is written as a draft catalog: `alacarte simulate` tries it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from api.catalog_file import write_catalog
from api.cli.demand_text import warning_lines
from api.cli.progress import step
from api.cli.workspace import now_in, open_workspace
from billing.demand_models import trusted_model, window_of
from billing.publishing import next_version
from billing.repositories.price_books import PriceBookRepository
from billing.whole_files import write_whole
from models.values.errors import InvalidValueError
from models.values.quantity import parse_decimal, plain
from pricing_engine.demand.catalog_drafts import draft_bundle, draft_group_offer, draft_tariff
from pricing_engine.demand.explanation import figure
from pricing_engine.demand.feature_posterior import FeaturePosterior
from pricing_engine.demand.learning import in_money
from pricing_engine.demand.tariff_design import Estimate
from pricing_engine.price_book import PriceBook
from pricing_engine.price_sheet import list_price

Drafted = tuple[dict[str, Any], list[str], PriceBook | None]
"""What a design says as JSON and in words, and the draft book that holds it."""


def design_tariff(options: argparse.Namespace) -> int:
    """Design feature prices and a discount schedule."""

    def work(book: PriceBook, posterior: FeaturePosterior) -> Drafted:
        found = draft_tariff(book, posterior, customers=options.customers, seed=options.seed)
        prices = {key: list_price(found.book.feature(key)) for key in found.design.features}
        document = {
            "prices": {key: plain(price) for key, price in prices.items()},
            "size_discounts": [
                {"features": each.features, "percent": plain(each.percent)} for each in found.book.size_discounts
            ],
            "gain_a_customer": _estimate(found.gain),
            "profit_a_customer": _estimate(found.design.profit),
            "first_best_share": figure(found.design.first_best_share),
        }
        lines = [f"{key}: {plain(list_price(book.feature(key)))} -> {plain(price)}" for key, price in prices.items()]
        lines += [
            f"{each.features} features or more: {plain(each.percent)} % off" for each in found.book.size_discounts
        ]
        return document, [*lines, _gain_line(found.gain)], found.book

    return _run(options, work)


def suggest_bundle(options: argparse.Namespace) -> int:
    """Suggest the bundle that adds most."""

    def work(book: PriceBook, posterior: FeaturePosterior) -> Drafted:
        found = draft_bundle(book, posterior, customers=options.customers, seed=options.seed)
        document = {
            "features": [*found.bundle.features],
            "percent": plain(found.bundle.percent),
            "gain_a_customer": _estimate(found.gain),
            "takers": figure(found.takers),
            "worthwhile": found.is_worthwhile,
        }
        together = f"{', '.join(found.bundle.features)} together at {plain(found.bundle.percent)} % off"
        if not found.gains:
            return document, [f"no bundle: the best found adds no profit ({together})", _gain_line(found.gain)], None
        lines = [
            together,
            f"taken by {figure(found.takers * 100, 3)} % of customers",
            _gain_line(found.gain),
            *([] if found.is_worthwhile else ["not worthwhile: the gain may well be none"]),
        ]
        return document, lines, found.book

    return _run(options, work)


def group_offer(options: argparse.Namespace) -> int:
    """Design a price that falls as pledges come in."""
    selection = _selection(options.selection)
    setup_cost = parse_decimal(options.setup_cost, "setup_cost", minimum=Decimal(0))

    def work(book: PriceBook, posterior: FeaturePosterior) -> Drafted:
        found = draft_group_offer(
            book, posterior, selection, invited=options.invited, setup_cost=setup_cost, seed=options.seed
        )
        tiers = [{"pledges": tier.pledges, "price": plain(tier.price)} for tier in found.offer.tiers]
        document = {
            "selection": {key: plain(quantity) for key, quantity in selection.items()},
            "list_total": plain(found.list_total),
            "tiers": tiers,
            "closes": figure(found.expected.closes),
            "customers": figure(found.expected.customers),
            "profit": _estimate(found.profit),
            "gain": _estimate(found.gain),
        }
        lines = [f"from {each['pledges']} pledges on, {each['price']} for everyone" for each in tiers]
        lines += [
            f"alone at list price: {plain(found.list_total)}",
            f"closes in {figure(found.expected.closes * 100, 3)} % of cases, "
            f"with {figure(found.expected.customers, 3)} customers expected",
            f"expected profit: {_said(found.profit)}; over list prices for each alone: {_said(found.gain)}",
        ]
        return document, lines, None

    return _run(options, work)


def _run(options: argparse.Namespace, work: Callable[[PriceBook, FeaturePosterior], Drafted]) -> int:
    if options.seed < 0:
        raise InvalidValueError("must be >= 0", field="seed", value=options.seed)
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow, step("designing"):
        book = PriceBookRepository(uow).one_in_force(options.book, now_in(settings, uow)).book
        model = trusted_model(uow, book.key, options.model)
        posterior = in_money(window_of(model).read(uow, book), model.posterior)
        document, lines, draft = work(book, posterior)
        if draft is not None:
            draft = next_version(uow, draft, now_in(settings, uow))
    warnings = None if model.warnings is None else list(model.warnings)
    head = {
        "model": model.version,
        "scale": str(model.posterior.basis.scale),
        "warnings": warnings,
        "currency": book.currency,
    }
    if options.json:
        print(json.dumps({**head, **document}, ensure_ascii=False, indent=2))
    else:
        print("\n".join([*lines, *warning_lines(model)]))
    _write(draft, getattr(options, "out", None), is_told=not options.json)
    return 0


def _write(draft: PriceBook | None, out: Path | None, *, is_told: bool) -> None:
    if draft is None or out is None:
        return
    write_whole(out, [write_catalog(draft).encode()])
    if is_told:
        print(f"try it on last month with: alacarte simulate {out}")


def _selection(pairs: Sequence[str]) -> Mapping[str, Decimal]:
    selection: dict[str, Decimal] = {}
    for pair in pairs:
        key, _, quantity = pair.partition("=")
        if key in selection:
            raise InvalidValueError("feature stands twice", field="selection", value=key)
        selection[key] = parse_decimal(quantity or "1", f"selection.{key}", minimum=Decimal(0))
    return selection


def _gain_line(gain: Estimate) -> str:
    return f"expected gain in profit a customer: {_said(gain)}"


def _said(estimate: Estimate) -> str:
    return f"{figure(estimate.mean, 3)}, 90 % {figure(estimate.low, 3)} to {figure(estimate.high, 3)}"


def _estimate(estimate: Estimate) -> dict[str, str]:
    return {"low": figure(estimate.low), "mean": figure(estimate.mean), "high": figure(estimate.high)}
