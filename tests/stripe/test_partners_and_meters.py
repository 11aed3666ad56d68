"""Partners paid through Stripe Connect and usage mirrored into its meters: through the same outbox, once each."""

from __future__ import annotations

from datetime import timedelta

import pytest

from billing import ledger
from billing.chart_of_accounts import Account
from billing.collection import CustomerToBill
from billing.database import Database
from billing.ledger_collection import LedgerCollection
from billing.posting_rules import PartnerShareAsPrincipal, journal
from billing.repositories import journals
from billing.stripe.meter_mirror import Mirrored, mirror_usage
from billing.stripe.partner_payouts import PartnerPayout, pay_partners
from models.values.errors import InvalidValueError
from pricing_engine.catalog import Meter
from tests.billing_story import Company, event
from tests.stripe.bridge import Bridge, settings_for
from tests.stripe.company import balance
from tests.stripe_twin import customers
from tests.stripe_twin.clock import MovableClock
from tests.stripe_twin.fault_proxy import Breakage, FaultProxy
from tests.stripe_twin.form import Params
from tests.stripe_twin.twin import StoredFailure, Twin

_TRANSFERS, _METER_EVENTS = "POST /v1/transfers", "POST /v1/billing/meter_events"
_NONE = timedelta(0)
_ACME = [CustomerToBill("acme", "ACME GmbH")]
TOKENS = Meter("tokens", "llm.request", "sum", "tokens")
PEAK = Meter("peak", "llm.request", "max", "tokens")


@pytest.fixture
def owing(embedded: Database, twin: Twin, proxy: tuple[FaultProxy, str], clock: MovableClock) -> Bridge:
    """We owe bob 12.345 USD and 1.2345 KWD; the bridge goes through the fault proxy."""
    shares = [("USD", 12_345_000), ("KWD", 1_234_500_000)]
    with embedded.writing("default") as uow:
        facts = [PartnerShareAsPrincipal("bob", asset, "chat", units) for asset, units in shares]
        ledger.post(uow, [journal("share", clock.now(), *facts)], recorded_at=clock.now())
    bridge = Bridge(embedded, clock, settings_for(proxy[1], timeout_seconds=2.0))
    bridge.listener = LedgerCollection(clock.now)  # type: ignore[assignment]
    return bridge


def _pay(bridge: Bridge, account: str, partner: str = "bob") -> list[PartnerPayout]:
    with bridge.database.writing("default") as uow:
        journals.lock(uow)
        return pay_partners(uow, {partner: account}, now=bridge.clock.now())


def _owed(bridge: Bridge, asset: str) -> int:
    with bridge.database.reading("default") as uow:
        return -ledger.balance(uow, Account("partner_payable", asset, "bob"))


@pytest.fixture
def account(twin: Twin) -> str:
    return str(customers.create_connected(twin.account, Params({}))["id"])


def test_a_partner_is_paid_what_is_owed_and_the_ledger_knows(owing: Bridge, twin: Twin, account: str) -> None:
    queued = _pay(owing, account)
    assert queued == [PartnerPayout("bob", "KWD", 1_230), PartnerPayout("bob", "USD", 12)]
    assert _pay(owing, account) == [], "what is on its way is not owed"
    assert _pay(owing, account, "eve") == []
    owing.drain()
    sent = {transfer["currency"]: transfer["amount"] for transfer in twin.account.all("transfer")}
    assert sent == {"usd": 12, "kwd": 1_230}
    assert (_owed(owing, "USD"), _owed(owing, "KWD")) == (345_000, 4_500_000)
    assert balance(owing.database, "processor_clearing", detail="stripe") == -12
    assert _pay(owing, account) == []


@pytest.mark.parametrize("breakage", [Breakage.CUT_AFTER_COMMIT, Breakage.CUT_BEFORE_SENDING, Breakage.SERVER_ERROR])
@pytest.mark.parametrize("hours", [0, 25])
def test_a_partner_is_paid_once_whatever_breaks_and_however_late(
    owing: Bridge, twin: Twin, proxy: tuple[FaultProxy, str], account: str, breakage: Breakage, hours: int
) -> None:
    proxy[0].plan(breakage, _TRANSFERS, times=2)
    _pay(owing, account)
    owing.drain(_NONE)
    owing.clock.advance(hours * 3_600)
    owing.drain()
    assert len(twin.account.all("transfer")) == 2
    assert (_owed(owing, "USD"), _owed(owing, "KWD")) == (345_000, 4_500_000)


@pytest.mark.parametrize("commits", [True, False])
def test_a_stored_failure_of_a_transfer_is_looked_up(owing: Bridge, twin: Twin, account: str, *, commits: bool) -> None:
    twin.failures.append(StoredFailure(_TRANSFERS, commits=commits))
    _pay(owing, account)
    assert owing.drain().adopted == int(commits)
    assert len(twin.account.all("transfer")) == 2
    assert _owed(owing, "USD") == 345_000


# Meters.


@pytest.fixture
def used(embedded: Database, twin: Twin, proxy: tuple[FaultProxy, str], clock: MovableClock) -> Bridge:
    """Usage of three days; the clock stands at noon of the first of June."""
    company = Company(embedded)
    company.found("acme")
    company.publish()
    days = [("2026-05-30T10:00", "0.0000001"), ("2026-05-31T10:00", "700"), ("2026-06-01T10:00", "5")]
    company.ingest([event(number, "acme", *day) for number, day in enumerate(days)], "2026-06-01T11:00")
    return Bridge(embedded, clock, settings_for(proxy[1], timeout_seconds=2.0))


def _mirror(bridge: Bridge, meter: Meter = TOKENS) -> Mirrored:
    with bridge.database.writing("default") as uow:
        return mirror_usage(uow, meter, "llm_tokens", _ACME, now=bridge.clock.now())


def _received(twin: Twin) -> list[tuple[int, str]]:
    found = twin.account.all("billing.meter_event")
    return sorted((each["timestamp"] // 86_400, each["payload"]["value"]) for each in found)


def test_whole_days_are_mirrored_once_and_late_usage_as_the_difference(used: Bridge, twin: Twin) -> None:
    assert _mirror(used) == Mirrored(sent=2)
    assert _mirror(used) == Mirrored()
    used.drain()
    first = _received(twin)
    assert [value for _, value in first] == ["0.0000001", "700"]
    Company(used.database).ingest([event("late", "acme", "2026-05-31T11:00", 50)], "2026-06-01T12:00")
    assert _mirror(used) == Mirrored(sent=1)
    used.drain()
    assert _received(twin) == sorted([*first, (first[1][0], "50")])


def test_what_is_corrected_downwards_is_said_and_not_sent(used: Bridge, twin: Twin) -> None:
    _mirror(used)
    used.drain()
    bare = {name: value for name, value in event("c", "acme", "2026-05-31T10:00").items() if name != "data"}
    Company(used.database).ingest([{**bare, "correctsid": "e1", "cancels": True}], "2026-06-01T12:00")
    assert _mirror(used) == Mirrored(too_high=1)


@pytest.mark.parametrize("breakage", [Breakage.CUT_AFTER_COMMIT, Breakage.CUT_BEFORE_SENDING, Breakage.DUPLICATE])
def test_usage_counts_once_whatever_breaks(
    used: Bridge, twin: Twin, proxy: tuple[FaultProxy, str], breakage: Breakage
) -> None:
    proxy[0].plan(breakage, _METER_EVENTS, times=2)
    _mirror(used)
    assert used.drain().dead == 0
    assert [value for _, value in _received(twin)] == ["0.0000001", "700"]


def test_a_stored_failure_that_counted_is_known_by_its_identifier(used: Bridge, twin: Twin) -> None:
    twin.failures.append(StoredFailure(_METER_EVENTS, commits=True))
    _mirror(used)
    assert used.drain().dead == 0
    assert [value for _, value in _received(twin)] == ["0.0000001", "700"]


def test_a_maximum_is_not_mirrored(used: Bridge) -> None:
    with pytest.raises(InvalidValueError, match="only a sum or a count"):
        _mirror(used, PEAK)


def test_nothing_older_than_stripe_takes_is_sent(used: Bridge, twin: Twin) -> None:
    used.clock.advance(timedelta(days=34).total_seconds())
    assert _mirror(used) == Mirrored(sent=1), "of the three days only the last is young enough"
    assert used.drain().dead == 0
