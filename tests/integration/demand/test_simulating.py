"""A closed month under a draft price book: the live book gives the issued invoices, to the cent."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from billing.closing import reopen
from billing.coupons import define_coupon, grant_coupon
from billing.database import Database
from billing.phases import Thresholds
from billing.progressive import bill_thresholds
from billing.simulating import DraftPrices, simulate
from billing.simulation import Simulation
from billing.tax import FixedRate
from models.values.errors import InvalidValueError, RuleBrokenError
from pricing_engine.coupons import parse_coupon
from pricing_engine.price_book import parse_price_book
from tests.billing_story import BOOK, Company, at, event, repriced

TAX = FixedRate("vat", Decimal("19"))


@pytest.fixture
def company(database: Database) -> Company:
    """Three customers with what makes months differ: advance, coupons, thresholds, late events, a reopened month."""
    company = Company(database, rates=TAX)
    company.found("acme", "globex", "initech")
    book = company.publish()
    company.subscribe("acme", book, {"tokens": "1", "seats": "3", "sso": "1", "support": "1"}, "2026-01-10")
    company.subscribe("globex", book, {"tokens": "1", "calls": "1"}, minimum_spend=Decimal(5))
    company.subscribe("initech", book, {"tokens": "1"}, thresholds=Thresholds((Decimal("0.5"),)))
    with database.writing(company.tenant) as uow:
        coupon = parse_coupon({"key": "welcome", "percent_off": "50", "duration": "once", "features": ["seats"]})
        define_coupon(uow, coupon, None, at("2026-01-01"))
        grant_coupon(uow, "acme", "welcome", at("2026-01-01"), at("2026-01-01"))
    company.ingest([event(f"a{i}", "acme", f"2026-01-{15 + i}T10:00", 500 + i) for i in range(4)], "2026-01-20")
    company.ingest([event(f"i{i}", "initech", f"2026-01-{11 + i}T10:00", 301) for i in range(4)], "2026-01-20")
    with database.writing(company.tenant) as uow:
        assert bill_thresholds(uow, "initech", at("2026-01-20"), at("2026-01-20"), TAX)
    company.close("2026-01", "2026-02-01T01:00")
    company.ingest([event("late", "acme", "2026-01-30T10:00", 777)], "2026-02-03")
    company.ingest([event(f"g{i}", "globex", f"2026-02-{11 + i}T10:00", 5_333) for i in range(4)], "2026-02-20")
    company.close("2026-02", "2026-03-01T01:00")
    company.ingest([event("later", "globex", "2026-02-27T10:00", 1_001)], "2026-03-03")
    with database.writing(company.tenant) as uow:
        reopen(uow, "2026-02", "a late file", "ann", at("2026-03-03T12:00"))
    company.close("2026-02", "2026-03-04")
    company.close("2026-03", "2026-04-01T01:00")
    return company


def simulated(company: Company, document: dict[str, Any], period: str | None = None) -> Simulation:
    with company.database.reading(company.tenant) as uow:
        return simulate(uow, DraftPrices(parse_price_book(document)), period, rates=TAX)


def test_the_live_book_gives_the_issued_invoices_to_the_cent(company: Company) -> None:
    invoices = [each for key in ("acme", "globex", "initech") for each in company.invoices(key)]
    for period in ("2026-01", "2026-02", "2026-03"):
        result = simulated(company, BOOK, period)
        issued = sum(each.total_minor for each in invoices if each.period == period)
        assert issued > 0
        assert sum(each.live.total_minor for each in result.customers) == issued
        assert result.totals[0].issued.total_minor == issued
        assert result.reproduced
        assert all(each.draft == each.live for each in result.customers)


def test_who_began_within_the_month_paid_for_a_part_of_it(company: Company) -> None:
    """acme began on the tenth of January: what it paid then is no price that it decided on."""
    for period, partly in (("2026-01", {"acme"}), ("2026-02", set())):
        result = simulated(company, BOOK, period)
        assert {each.customer for each in result.customers if not each.whole_month} == partly


def test_a_draft_moves_only_what_the_month_billed_first(company: Company) -> None:
    """In February acme pays for its seats, and January's late event at the price of January."""
    result = simulated(company, repriced("tokens", {"model": "unit", "unit_amount": "0.01"}), "2026-02")
    acme, globex = (next(each for each in result.customers if each.customer == key) for key in ("acme", "globex"))
    assert acme.features["tokens"].live == acme.features["tokens"].draft > 0  # The late event.
    assert globex.features["tokens"].draft == Decimal("0.01") * (4 * 5_333 + 1_001)
    assert globex.difference_minor == globex.draft.net_minor - globex.issued.net_minor > 0
    assert ([each.customer for each in result.losers()], result.winners()) == (["globex"], [])

    ahead = simulated(company, repriced("support", {"model": "flat", "amount": "31"}), "2026-03")
    acme = next(each for each in ahead.customers if each.customer == "acme")
    assert acme.difference_minor == -3100  # Billed for April; March's support was billed in February.

    without = {**BOOK, "version": 2, "bundles": [], "features": [f for f in BOOK["features"] if f["key"] != "sso"]}
    acme = next(each for each in simulated(company, without, "2026-03").customers if each.customer == "acme")
    assert acme.not_sold == ("sso",)
    assert acme.features["sso"].draft == 0

    with pytest.raises(RuleBrokenError, match="not closed"):
        simulated(company, BOOK, "2026-04")
    with pytest.raises(InvalidValueError, match="no subscription stands on"):
        simulated(company, {**BOOK, "key": "other"})
