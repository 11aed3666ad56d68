"""How long a quote takes in process: the price alone, the whole explained and sealed, and a large catalog."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from benchmarks.harness import Benchmark, Clock, LegRun, Value, run
from pricing_engine.price_book import PriceBook, parse_price_book
from pricing_engine.price_sheet import list_price_sheet
from pricing_engine.quote_document import QUOTE_KIND, QuoteIdentity, quote_sections
from pricing_engine.quoting import CompiledBook, QuoteFacts, QuoteHead, price_quote
from pricing_engine.sealing import new_signer, seal
from pricing_engine.selection import Chosen, selection_of

AT = datetime(2026, 9, 1, tzinfo=UTC)
SALT = b"a salt of thirty-two bytes length"
CALLS = 400


def book(features: int, rules: int) -> PriceBook:
    """Return a book of metered features with five graduated tiers each, a bundle, a schedule, requirements."""
    tiers = [
        {
            "up_to": str(10 ** (step + 2)) if step < 4 else None,
            "unit_amount": str(Decimal("0.01") - step * Decimal("0.001")),
        }
        for step in range(5)
    ]
    return parse_price_book(
        {
            "key": "bench",
            "version": 1,
            "currency": "USD",
            "effective_from": "2026-01-01T00:00:00Z",
            "meters": [{"key": "events", "event_type": "event", "aggregation": "count"}],
            "features": [
                {
                    "key": f"f{number}",
                    "name": f"Feature {number}",
                    "kind": "metered",
                    "meter": "events",
                    "unit_cost": "0.0001",
                    "tariff": {"model": "graduated", "tiers": tiers},
                }
                for number in range(features)
            ],
            "rules": [
                {"rule": "requires", "feature": f"f{number + 1}", "needs": [f"f{number}"]} for number in range(rules)
            ],
            "bundles": [
                {
                    "key": "half",
                    "name": "Half",
                    "features": [f"f{n}" for n in range(max(features // 2, rules + 1))],
                    "percent": "12",
                }
            ],
            "size_discounts": [{"features": 3, "percent": "5"}, {"features": 10, "percent": "10"}],
        }
    )


def selection(of: PriceBook) -> dict[str, Chosen]:
    """Choose every feature, each in another tier."""
    return selection_of({feature.key: str(1000 + 37 * n) for n, feature in enumerate(of.features)}, of)


def _median_call(clock: Clock, call: Callable[[], Any]) -> None:
    for _ in range(CALLS // 10):
        call()
    times = []
    with clock:
        for _ in range(CALLS):
            started = time.perf_counter()
            call()
            times.append(time.perf_counter() - started)
    clock.facts["median_s"] = statistics.median(times)


def price(clock: Clock) -> object:
    """Price 20 features with 5 tiers each, nothing explained."""
    small = book(20, 0)
    compiled = CompiledBook(small)
    quantities = {key: chosen.quantity for key, chosen in selection(small).items()}
    _median_call(clock, lambda: compiled.total(quantities))
    return str(compiled.total(quantities))


def sealed(clock: Clock) -> object:
    """Price, explain, hash and sign the same 20 features."""
    small = book(20, 0)
    compiled, signer, chosen = CompiledBook(small), new_signer(), selection(small)
    facts = QuoteFacts(list_price_sheet(small, "0" * 64, "default", 0, AT), chosen)
    head = QuoteHead("q", "default", "acme", "default", "direct", AT, AT + timedelta(days=14))
    identity = QuoteIdentity(head, "0" * 64, "0" * 64, "", small.money)

    def one_quote() -> str:
        document = seal(QUOTE_KIND, quote_sections(identity, price_quote(compiled, facts)), SALT, signer)
        return str(document["hash"])

    _median_call(clock, one_quote)
    return one_quote()


def large(clock: Clock) -> object:
    """Check and price 200 features under 60 rules, explained."""
    wide = book(200, 60)
    compiled = CompiledBook(wide)
    sheet = list_price_sheet(wide, "0" * 64, "default", 0, AT)
    given = {key: str(chosen.quantity) for key, chosen in selection(wide).items()}

    def one_quote() -> str:
        return str(price_quote(compiled, QuoteFacts(sheet, selection_of(given, wide))).total)

    _median_call(clock, one_quote)
    return one_quote()


def _median_of(factor: float) -> Callable[[LegRun], float]:
    return lambda leg: leg.facts["median_s"] * factor


BENCHMARK = Benchmark(
    legs={"price": price, "sealed": sealed, "large": large},
    rows=[
        Value(
            "quote.price_us",
            "price",
            "us",
            bar=50.0,
            better="lower",
            of=_median_of(1e6),
            how="the total of 20 features with 5 tiers, a bundle and a schedule, book compiled, in process",
        ),
        Value(
            "quote.sealed_ms",
            "sealed",
            "ms",
            bar=1.0,
            better="lower",
            of=_median_of(1e3),
            how="the same selection priced, explained line by line, hashed and signed, in process",
        ),
        Value(
            "quote.large_ms",
            "large",
            "ms",
            bar=10.0,
            better="lower",
            of=_median_of(1e3),
            how="200 features under 60 rules: checked, priced and explained, in process",
        ),
    ],
)

if __name__ == "__main__":
    sys.exit(run(BENCHMARK))
