"""A customer's prepaid holds keep credit as one: credit pays what was authorised, in whatever order it happens."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from billing import holds, usage_holds, wallets
from billing.burn_down import Grant, GrantKind, InsufficientCreditError
from billing.database import Database
from billing.holds import Hold, HoldState
from billing.repositories.usage_holds import ExpectedUsage, UsageHold, find_usage_hold
from billing.wallets import BurnRequest
from models.values.errors import InvalidValueError
from tests.billing_story import BOOK, Company, at, repriced
from tests.integration.usage_holds.story import (
    CENT,
    HOUR,
    NOW,
    amounts,
    authorize,
    balance,
    company_on,
    expected,
    give,
    settle,
    used,
)

DAY = timedelta(days=1)
DOLLAR = 100 * CENT


def graduated(*tiers: tuple[str | None, str]) -> dict[str, Any]:
    return {
        "model": "graduated",
        "tiers": [{"up_to": up_to, "unit_amount": unit_amount} for up_to, unit_amount in tiers],
    }


TARIFFS: dict[str, dict[str, Any]] = {
    "rising": graduated(("50", "0.1"), ("120", "0.4"), (None, "0.9")),
    "falling": graduated(("50", "0.9"), ("120", "0.4"), (None, "0.1")),
    "first free": graduated(("100", "0"), (None, "0.25")),
    "package": {"model": "package", "package_size": "100", "package_amount": "30"},
    "fine": graduated(("70", "0.0000000033"), (None, "0.0000000077")),
}


def release(company: Company, key: str, now: Any = NOW) -> None:
    with company.database.writing(company.tenant) as uow:
        usage_holds.release(uow, key, now)


def spend(company: Company, now: Any = NOW) -> None:
    """Use up what no hold keeps."""
    with company.database.writing(company.tenant) as uow:
        wallets.burn(
            uow, BurnRequest(f"spent {now}", "acme", "USD", "tokens", 10**15, now), recorded_at=now, partial=True
        )


def paid(ended: UsageHold) -> dict[str, int]:
    return {each.feature: each.units for each in ended.settled if each.feature == "tokens"}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", TARIFFS)
def test_what_was_authorised_is_paid_by_credit_in_whatever_order(database: Database, name: str, seed: int) -> None:
    """Holds of several days and months, some let go, some forgotten, and no free credit left to help out."""
    random = Random(f"{name} {seed}")
    company = company_on(database, repriced("tokens", TARIFFS[name]))
    give(company, 30_000)
    wanted: dict[str, tuple[int, Any]] = {}
    now = at("2026-01-30")
    for number in range(6):
        tokens = random.randint(1, 120)
        authorize(company, expected(f"h{number}", tokens, expires_at=at("2026-03-01")), now)
        wanted[f"h{number}"] = tokens, now
        if random.random() < 0.4:
            now += DAY
    authorize(company, expected("forgotten", 60, expires_at=now + HOUR), now)
    spend(company, now)
    now += 2 * HOUR
    for key in random.sample(sorted(wanted), len(wanted)):
        tokens, authorised_at = wanted[key]
        if random.random() < 0.3:
            release(company, key, now)
            continue
        used_tokens = tokens if random.random() < 0.6 else random.randint(0, tokens)
        ended = settle(company, key, used(key, used_tokens, authorised_at.isoformat()), now)
        for each in ended.settled:
            assert each.units > each.amount * DOLLAR - 1, (key, each)
    assert balance(company)[1] == 0


def test_a_hold_of_last_month_keeps_nothing_for_this_month(database: Database) -> None:
    company = company_on(database)
    give(company, 601)
    authorize(company, expected("jan", 1000, expires_at=at("2026-02-02")), at("2026-01-31"))
    assert amounts(
        authorize(company, expected("feb", 1000, expires_at=at("2026-02-02")), at("2026-02-01")).reserved
    ) == {"tokens": 3}
    assert balance(company)[1] == Decimal("600.000001")
    late = at("2026-02-01T01:00")
    assert paid(settle(company, "jan", used("jan", 2000, "2026-01-31"), late)) == {"tokens": 301 * CENT}
    assert paid(settle(company, "feb", used("feb", 1000, "2026-02-01"), late)) == {"tokens": 3 * DOLLAR}


def test_what_a_hold_keeps_of_a_grant_beyond_its_end_pays_for_another_hold(database: Database) -> None:
    company = company_on(database)
    give(company, 210)
    gift = Grant(
        "gift", "main", "", "", GrantKind.PROMOTIONAL, 3 * DOLLAR, NOW, 0, units=3 * DOLLAR, expires_at=NOW + HOUR
    )
    with company.database.writing(company.tenant) as uow:
        wallets.grant_credit(uow, gift, recorded_at=NOW)
    authorize(company, expected("a", 1000, expires_at=NOW + DAY))  # Keeps the gift, which ends first.
    authorize(company, expected("b", 999, expires_at=NOW + DAY))
    later = NOW + 2 * HOUR
    spend(company, later)
    assert paid(settle(company, "b", used("b", 999), later)) == {"tokens": 999 * DOLLAR * 3 // 1000}
    assert paid(settle(company, "a", used("a", 1000), later)) == {"tokens": 3 * 10**5 + 999 * DOLLAR * 21 // 10_000}


def test_a_postpaid_hold_has_no_part_in_what_prepaid_ones_keep(database: Database) -> None:
    company = company_on(database)
    give(company, 520)
    authorize(company, expected("later", 50_000, prepaid=False))
    assert amounts(authorize(company, expected("a", 1000)).reserved) == {"tokens": 3}
    authorize(company, expected("b", 999))
    spend(company)
    assert paid(settle(company, "b", used("b", 999))) == {"tokens": 999 * DOLLAR * 3 // 1000}


def test_a_close_frees_what_is_over_before_it_expires_grants_and_pays(database: Database) -> None:
    company = company_on(database)
    give(company, 500)
    authorize(company, expected("h", 1500))  # All but 0.95, and nobody ever settles it.
    company.ingest([used(1, 1500)], "2026-01-10")
    company.close("2026-01", "2026-02-02")
    [invoice] = company.invoices("acme")
    assert (invoice.total_minor, invoice.settled_minor) == (405, 405)
    with company.database.reading(company.tenant) as uow:
        assert find_usage_hold(uow, "h").state is HoldState.EXPIRED
    assert balance(company) == (Decimal(95), Decimal(0))


def test_a_hold_that_is_let_go_leaves_the_others_what_they_need(database: Database) -> None:
    company = company_on(database, repriced("tokens", TARIFFS["package"]))
    give(company, 3001)
    authorize(company, expected("a", 60))
    assert amounts(authorize(company, expected("b", 40)).reserved) == {}  # Room in the package that a begins.
    spend(company)
    release(company, "a")
    assert paid(settle(company, "b", used("b", 40))) == {"tokens": 30 * DOLLAR}
    assert balance(company)[1] == 0


def test_credit_that_a_clock_running_ahead_let_go_is_taken_from_what_is_free(database: Database) -> None:
    company = company_on(database)
    give(company, 1000)
    authorize(company, expected("h", 1000))
    ahead = NOW + 2 * HOUR
    with company.database.writing(company.tenant) as uow:
        holds.hold(uow, Hold("other", "acme", "USD", "tokens", DOLLAR, ahead, ahead + DAY))
    assert balance(company) == (Decimal(900), Decimal(100))
    authorize(company, expected("i", 10))
    assert paid(settle(company, "h", used("h", 1000))) == {"tokens": 3 * DOLLAR}
    settled = settle(company, "i", used("i", 10))
    assert (paid(settled), settled.state) == ({"tokens": 21 * 10**5}, HoldState.SETTLED)


def test_data_that_one_of_two_meters_refuses_settles_nothing(database: Database) -> None:
    company = company_on(database)
    give(company, 100)
    authorize(company, expected("h", 1))
    before = balance(company)
    for tokens in ("-1", "many"):
        with pytest.raises(InvalidValueError) as refused:
            settle(company, "h", used("h", tokens))
        assert refused.value.field == "data.tokens"
    assert balance(company) == before


def test_a_new_hold_makes_up_for_what_its_feature_lacks_and_for_no_other(database: Database) -> None:
    """Usage without a hold made the first one dearer: who authorises the same feature keeps that as well."""
    meters = [*BOOK["meters"], {"key": "scans", "event_type": "scan", "aggregation": "count"}]
    features = [*BOOK["features"], {"key": "scans", "name": "Scans", "kind": "metered", "meter": "scans",
                                    "tariff": {"model": "unit", "unit_amount": "1"}}]  # fmt: skip
    features = [{**each, "tariff": TARIFFS["rising"]} if each["key"] == "tokens" else each for each in features]
    company = company_on(
        database, {**BOOK, "meters": meters, "features": features}, {"tokens": "1", "calls": "1", "scans": "1"}
    )
    give(company, 1000)
    authorize(company, expected("a", 10))
    company.ingest([used(1, 200)], "2026-01-10")
    scan = ExpectedUsage("s", "acme", "scan", {}, NOW + HOUR)
    assert [(each.feature, each.units) for each in authorize(company, scan).reserved] == [("scans", DOLLAR)]
    with pytest.raises(InsufficientCreditError):
        authorize(company, expected("b", 1))  # Its 0.90, and 8.00 that a lacks.
