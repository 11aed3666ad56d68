"""Random price books and selections that obey their rules."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from pricing_engine.price_book import PriceBook, parse_price_book
from pricing_engine.selection import Chosen, selection_of

MAX_FEATURES = 6


def amounts(most: int = 10_000) -> st.SearchStrategy[str]:
    """Decimal strings from 0 to most / 100 with up to six digits behind the point."""
    return st.builds(
        lambda number, digits: str(Decimal(number).scaleb(-digits)), st.integers(0, most * 100), st.integers(2, 6)
    )


@st.composite
def tariffs(draw: st.DrawFn) -> dict[str, Any]:
    """Tariffs whose amount never falls as units grow."""
    model = draw(st.sampled_from(["flat", "unit", "graduated", "package"]))
    match model:
        case "flat":
            return {"model": "flat", "amount": draw(amounts())}
        case "unit":
            return {"model": "unit", "unit_amount": draw(amounts(500))}
        case "package":
            return {
                "model": "package",
                "package_size": str(draw(st.integers(1, 50))),
                "package_amount": draw(amounts(2000)),
                "free_units": str(draw(st.integers(0, 20))),
            }
        case _:
            edges = sorted(draw(st.sets(st.integers(1, 200), min_size=1, max_size=3)))
            tiers = [{"up_to": str(edge), "unit_amount": draw(amounts(500))} for edge in edges]
            return {"model": "graduated", "tiers": [*tiers, {"up_to": None, "unit_amount": draw(amounts(500))}]}


@st.composite
def price_books(draw: st.DrawFn) -> PriceBook:
    """Books of two to six features with costs, bundles, a schedule and requirements."""
    count = draw(st.integers(2, MAX_FEATURES))
    keys = [f"f{i}" for i in range(count)]
    features = []
    for key in keys:
        kind = draw(st.sampled_from(["switch", "quantity", "metered"]))
        feature: dict[str, Any] = {"key": key, "name": key.upper(), "kind": kind, "tariff": draw(tariffs())}
        feature["unit_cost"] = draw(st.one_of(st.just("0"), amounts(50)))
        if kind == "metered":
            feature["meter"] = "events"
        if draw(st.booleans()):
            feature["rails"] = {"below_cost": "introductory offer"}
        features.append(feature)
    bundles = [
        {
            "key": f"b{number}",
            "name": "B",
            "features": draw(st.lists(st.sampled_from(keys), min_size=1, unique=True)),
            "percent": str(draw(st.integers(0, 100))),
        }
        for number in range(draw(st.integers(0, 2)))
    ]
    steps = sorted(draw(st.sets(st.integers(1, count), max_size=3)))
    percents = sorted(draw(st.lists(st.integers(0, 95), min_size=len(steps), max_size=len(steps))))
    return parse_price_book(
        {
            "key": "book",
            "version": 1,
            "currency": "USD",
            "effective_from": "2026-01-01T00:00:00Z",
            "meters": [{"key": "events", "event_type": "event", "aggregation": "count"}],
            "features": features,
            "rules": draw(_requirements(keys, bundles)),
            "bundles": bundles,
            "size_discounts": [
                {"features": step, "percent": str(percent)} for step, percent in zip(steps, percents, strict=True)
            ],
        }
    )


@st.composite
def _requirements(draw: st.DrawFn, keys: list[str], bundles: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Requirements that point to earlier features, so without cycles, and that no bundle breaks."""
    rules = []
    for number in range(1, len(keys)):
        needed = keys[draw(st.integers(0, number - 1))]
        broken = any(keys[number] in bundle["features"] and needed not in bundle["features"] for bundle in bundles)
        if draw(st.integers(0, 3)) == 0 and not broken:
            rules.append({"rule": "requires", "feature": keys[number], "needs": [needed]})
    return rules


@st.composite
def selections(draw: st.DrawFn, book: PriceBook) -> dict[str, Chosen]:
    """A selection of one or more features that obeys the book's rules."""
    chosen = draw(st.lists(st.sampled_from([feature.key for feature in book.features]), min_size=1, unique=True))
    wanted = set(chosen)
    while True:
        missing = {need for rule in book.rules if rule.feature in wanted for need in rule.needs} - wanted  # type: ignore[union-attr]
        if not missing:
            break
        wanted |= missing
    quantities: dict[str, object] = {}
    for feature in book.features:
        if feature.key in wanted:
            least = 1 if feature.kind != "metered" else 0
            quantities[feature.key] = True if feature.kind == "switch" else str(draw(st.integers(least, 400)))
    return selection_of(quantities, book)


@st.composite
def books_and_selections(draw: st.DrawFn) -> tuple[PriceBook, dict[str, Chosen]]:
    """A book and a selection from it."""
    book = draw(price_books())
    return book, draw(selections(book))
