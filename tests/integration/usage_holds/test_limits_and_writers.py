"""Hard limits count usage and holds together; sixteen writers at once keep no more than there is."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from billing import usage_holds
from billing.burn_down import InsufficientCreditError
from billing.database import Database
from billing.holds import HoldState
from billing.metering.alerts import Alert, LimitReachedError, alerts_of, raised_alerts, remove_alert, set_alert
from billing.metering.parsing import parse_event
from billing.repositories.usage_holds import UsageHold
from billing.unit_of_work import UnitOfWork
from models.values.canonical_json import canonical_bytes
from models.values.errors import NotFoundError
from models.values.period import Interval
from pricing_engine.catalog import Meter
from tests.billing_story import Company
from tests.integration.ledger.test_concurrency import WRITERS, together
from tests.integration.usage_holds.story import NOW, authorize, balance, company_on, expected, give, settle, used

TOKENS = Meter("tokens", "llm.request", "sum", "tokens")
DAILY = Alert("daily", "acme", TOKENS, Decimal(1000), Interval.DAY, is_limit=True)


@pytest.fixture
def company(database: Database) -> Company:
    company = company_on(database)
    give(company, 1000)
    return company


def test_nothing_is_authorised_beyond_a_limit_and_what_happened_still_counts(company: Company) -> None:
    with company.database.writing(company.tenant) as uow:
        set_alert(uow, DAILY, NOW)
        set_alert(uow, Alert("tells", "acme", TOKENS, Decimal(10)), NOW)
    company.ingest([used(1, 500)], "2026-01-10")
    authorize(company, expected("a", 400))
    for prepaid in (True, False):
        with pytest.raises(LimitReachedError) as refused:
            authorize(company, expected("b", 101, prepaid=prepaid))
    assert (refused.value.field, refused.value.value) == ("event", "1001")
    assert refused.value.rule == "the limit daily is 1000 in all"
    authorize(company, expected("b", 100))
    authorize(company, expected("free", 0))  # Adds nothing to the meter of the limit.
    settle(company, "a", used("a", 5_000))  # It happened: it counts, and the alert of the limit is raised.
    with company.database.reading(company.tenant) as uow:
        assert {each.alert for each in raised_alerts(uow, "acme")} == {"daily", "tells"}
        assert DAILY in alerts_of(uow, "acme")
    with pytest.raises(LimitReachedError):
        authorize(company, expected("c", 1))
    tomorrow = NOW + timedelta(days=1)
    assert authorize(company, expected("c", 1, expires_at=tomorrow + timedelta(1)), tomorrow).reserved


def test_a_limit_is_lifted(company: Company) -> None:
    with company.database.writing(company.tenant) as uow:
        set_alert(uow, DAILY, NOW)
    company.ingest([used(1, 1500)], "2026-01-10")
    with pytest.raises(LimitReachedError):
        authorize(company, expected("a", 1))
    with pytest.raises(NotFoundError), company.database.writing(company.tenant) as uow:
        remove_alert(uow, "bolt", "daily")
    with company.database.writing(company.tenant) as uow:
        remove_alert(uow, "acme", "daily")
        assert alerts_of(uow, "acme") == []
    authorize(company, expected("a", 1))


def test_sixteen_writers_keep_no_more_than_there_is(company: Company) -> None:
    """Each wants 300 tokens, 0.90 or less: the tiers pass by while they wait for each other."""
    works = [
        lambda uow, i=i: usage_holds.authorize(uow, expected(f"h{i}", 600, data={"n": i}), NOW) for i in range(WRITERS)
    ]
    outcomes = together(company.database, works)
    held = [each for each in outcomes if isinstance(each, UsageHold)]
    # 10 dollars: 1,000 tokens for 3.00, then 3,333 for 7.00; so seven times 600 fit, and not eight.
    assert len(held) == 7
    assert sum(isinstance(each, InsufficientCreditError) for each in outcomes) == WRITERS - 7
    free, kept = balance(company)
    assert free + kept == 1000
    assert 972 <= kept <= Decimal("972.00002")

    settling = [lambda uow, key=each.key: _settle(uow, company, key, 600) for each in held]
    ended = together(company.database, settling * 2)
    assert {each.state for each in ended if isinstance(each, UsageHold)} == {HoldState.SETTLED}
    assert len(ended) == 14
    assert balance(company) == (Decimal(28), Decimal(0))


def _settle(uow: UnitOfWork, company: Company, key: str, tokens: int) -> UsageHold:
    event = parse_event(canonical_bytes(used(key, tokens)), NOW)
    return usage_holds.settle(uow, key, event, company.directory, NOW)


def test_one_key_asked_for_by_many_is_one_hold(company: Company) -> None:
    works = [lambda uow: usage_holds.authorize(uow, expected("same", 100), NOW)] * WRITERS
    assert len({each.key for each in together(company.database, works) if isinstance(each, UsageHold)}) == 1
    assert balance(company)[1] == Decimal("30.000001")


def test_sixteen_writers_stay_within_a_limit(company: Company) -> None:
    with company.database.writing(company.tenant) as uow:
        set_alert(uow, DAILY, NOW)
    works = [
        lambda uow, i=i: usage_holds.authorize(uow, expected(f"h{i}", 300, prepaid=False), NOW) for i in range(WRITERS)
    ]
    outcomes = together(company.database, works)
    assert sum(isinstance(each, UsageHold) for each in outcomes) == 3
    assert sum(isinstance(each, LimitReachedError) for each in outcomes) == WRITERS - 3
