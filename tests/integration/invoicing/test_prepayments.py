"""Wallets pay invoices when they are finalised: after tax, in burn order, within the features they are for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from billing import holds, wallets
from billing.burn_down import Grant, GrantKind
from billing.chart_of_accounts import Account
from billing.close_tasks import CloseOutcome, CloseTask, InTurn
from billing.closing import close
from billing.database import Database
from billing.invoices import InvoiceState
from billing.invoicing import finalise, void
from billing.ledger import balance
from billing.ledger_checks import CHECKS
from billing.settlements import Money, grant_customer_credit
from billing.tax import FixedRate
from billing.upkeep import end_what_is_over
from billing.verification import verify
from billing.wallets import BurnRequest, Wallet
from models.values.errors import InvalidValueError
from tests.billing_story import Company, at, event

CENT = 10**6
JANUARY = at("2026-01-01")
NOW = at("2026-02-10")


@pytest.fixture
def company(database: Database) -> Company:
    company = Company(database, rates=FixedRate("vat", Decimal(20)))
    company.found("acme")
    company.subscribe("acme", company.publish(), {"tokens": "1", "seats": "3"})
    company.ingest([event(1, "acme", "2026-01-15", 1000)], "2026-01-15T01:00")  # 3.00, beside 30.00 for seats.
    return company


def give(company: Company, name: str, cents: int, *, features: tuple[str, ...] | None = None, **more: object) -> None:
    """Open a wallet of that name and put a grant of that name into it."""
    kind = GrantKind(str(more.pop("kind", "paid")))
    given = Grant(name, name, "", "", kind, cents * CENT, JANUARY, 0, units=cents * CENT)
    given = replace(given, **more)  # type: ignore[arg-type]
    with company.database.writing(company.tenant) as uow:
        wallets.open_wallet(uow, Wallet(name, "acme", "USD", features=features), recorded_at=JANUARY)
        processor = "stripe" if kind is GrantKind.PAID else None
        wallets.grant_credit(uow, given, recorded_at=JANUARY, processor=processor)


def left(company: Company, *names: str) -> list[int]:
    """What wallets hold on 10 February, in cents; the books are sound."""
    with company.database.reading(company.tenant) as uow:
        assert verify(uow, CHECKS).is_sound
        held = {each.wallet.id: each.free // CENT for each in wallets.balances(uow, "acme", NOW)}
    return [held[name] for name in names]


def test_promotional_credit_pays_first_and_tax_is_paid_too(company: Company) -> None:
    give(company, "bought", 5000)
    give(company, "given", 1000, kind="promotional")
    company.close("2026-01", "2026-02-01T01:00")
    invoice = company.invoices("acme")[0]
    assert (invoice.net_minor, invoice.tax_minor, invoice.settled_minor) == (3300, 660, 3960)
    assert invoice.state is InvoiceState.PAID
    assert left(company, "given", "bought") == [0, 5000 - 2960]


def test_a_wallet_for_features_pays_for_their_lines_only(company: Company) -> None:
    give(company, "tokens", 1000, features=("tokens",))
    company.close("2026-01", "2026-02-01T01:00")
    assert company.invoices("acme")[0].settled_minor == 360
    assert left(company, "tokens") == [640]


def test_other_credit_pays_what_wallets_leave(company: Company) -> None:
    give(company, "bought", 100)
    with company.database.writing(company.tenant) as uow:
        grant_customer_credit(uow, "acme", "USD", Money("tr", 5000, JANUARY), JANUARY)
    company.close("2026-01", "2026-02-01T01:00")
    with company.database.reading(company.tenant) as uow:
        assert balance(uow, Account("customer_credit", "USD", "acme")) == -(5000 - 3860) * CENT


def test_usage_that_credit_was_used_for_is_not_paid_twice(company: Company) -> None:
    give(company, "bought", 5000)
    with company.database.writing(company.tenant) as uow:
        request = BurnRequest("b", "acme", "USD", "tokens", 360 * CENT, at("2026-01-15"))
        wallets.burn(uow, request, recorded_at=at("2026-01-15"))
    company.close("2026-01", "2026-02-01T01:00")
    assert company.invoices("acme")[0].open_minor == 0
    assert left(company, "bought") == [5000 - 3960]
    with company.database.reading(company.tenant) as uow:
        assert balance(uow, Account("prepaid_usage", "USD", "acme", "tokens")) == 0


def used(company: Company, cents: int, feature: str = "tokens") -> None:
    """Use credit for a feature before its invoice."""
    request = BurnRequest(feature, "acme", "USD", feature, cents * CENT, at("2026-01-15"))
    with company.database.writing(company.tenant) as uow:
        wallets.burn(uow, request, recorded_at=at("2026-01-15"))


def test_what_was_used_for_a_feature_pays_for_that_one(company: Company) -> None:
    give(company, "tokens", 1000, features=("tokens",))
    give(company, "seats", 5000, features=("seats",))
    used(company, 360, "seats")
    company.close("2026-01", "2026-02-01T01:00")
    assert company.invoices("acme")[0].state is InvoiceState.PAID
    assert left(company, "tokens", "seats") == [640, 5000 - 3600]


def test_what_was_used_beyond_what_its_feature_comes_to_pays_for_others_and_a_void_takes_that_back(
    company: Company,
) -> None:
    give(company, "tokens", 1000, features=("tokens",))
    used(company, 500)
    for month, now in (("2026-01", "2026-02-01T01:00"), ("2026-02", "2026-03-01T01:00")):
        company.close(month, now)
        invoice = company.invoices("acme")[-1]
        assert (invoice.settled_minor, left(company, "tokens")) == (500, [500])
        with company.database.writing(company.tenant) as uow:
            assert balance(uow, Account("prepaid_usage", "USD", "acme", "tokens")) == 0
            void(uow, invoice.id, "wrong address", at(now))
            assert balance(uow, Account("prepaid_usage", "USD", "acme", "tokens")) == -500 * CENT


def test_what_is_below_a_minor_unit_stays_in_the_grant(company: Company) -> None:
    give(company, "bought", 10, remaining=10 * CENT + 7, units=10 * CENT + 7)
    company.close("2026-01", "2026-02-01T01:00")
    assert company.invoices("acme")[0].settled_minor == 10
    with company.database.reading(company.tenant) as uow:
        assert wallets.balances(uow, "acme", NOW)[0].free == 7


def test_expired_credit_is_breakage_and_what_rolls_over_pays(company: Company) -> None:
    terms = {"expires_at": at("2026-01-31"), "rollover_units": 300 * CENT, "rollover_days": 30}
    give(company, "bought", 1000, **terms)
    company.close("2026-01", "2026-02-01T01:00")
    assert company.invoices("acme")[0].settled_minor == 300
    with company.database.reading(company.tenant) as uow:
        assert balance(uow, Account("breakage", "USD")) == -700 * CENT
    assert left(company, "bought") == [0]


@pytest.mark.parametrize("expires_first", [False, True])
def test_what_a_void_gives_back_shares_what_may_roll_over(company: Company, *, expires_first: bool) -> None:
    name = "b" * 120
    give(company, name, 7000, expires_at=at("2026-02-08"), rollover_units=3500 * CENT, rollover_days=30)
    company.close("2026-01", "2026-02-01T01:00")
    invoice = company.invoices("acme")[0]
    if expires_first:
        end_what_is_over(company.database, company.tenant, NOW)
        assert left(company, name) == [7000 - 3960]
    with company.database.writing(company.tenant) as uow:
        void(uow, invoice.id, "wrong address", NOW)
    end_what_is_over(company.database, company.tenant, NOW)
    assert left(company, name) == [3500]


def test_what_a_void_of_a_void_gives_back_shares_what_may_roll_over(company: Company) -> None:
    give(company, "bought", 7000, expires_at=at("2026-03-03"), rollover_units=3500 * CENT, rollover_days=30)
    for month, now in (("2026-01", "2026-02-01T01:00"), ("2026-02", "2026-03-01T01:00")):
        company.close(month, now)
        with company.database.writing(company.tenant) as uow:
            void(uow, company.invoices("acme")[-1].id, "wrong address", at(now))
    end_what_is_over(company.database, company.tenant, at("2026-03-04"))
    with company.database.reading(company.tenant) as uow:
        assert [each.free for each in wallets.balances(uow, "acme", at("2026-03-05"))] == [3500 * CENT]


@pytest.mark.parametrize("name", ["bought:rollover:0", "back:in_1:1", "b" * 121])
def test_a_grant_has_no_name_of_what_rolls_over_or_comes_back(company: Company, name: str) -> None:
    with pytest.raises(InvalidValueError, match="credit_grant"):
        give(company, "bought", 1, id=name)


def test_a_void_gives_credit_back_and_the_next_invoice_uses_it(company: Company) -> None:
    expires_at = at("2026-06-01")
    give(company, "given", 1000, kind="promotional", expires_at=expires_at)
    company.close("2026-01", "2026-02-01T01:00")
    invoice = company.invoices("acme")[0]
    with company.database.writing(company.tenant) as uow:
        assert void(uow, invoice.id, "wrong address", NOW).state is InvoiceState.VOID
    assert left(company, "given") == [1000]
    with company.database.reading(company.tenant) as uow:
        (again,) = wallets.balances(uow, "acme", NOW)[0].grants
    assert (again.kind, again.expires_at) == (GrantKind.PROMOTIONAL, expires_at)
    company.close("2026-02", "2026-03-01T01:00")
    assert company.invoices("acme")[1].settled_minor == 1000


def test_held_credit_is_kept_for_its_hold(company: Company) -> None:
    give(company, "bought", 1000)
    until = JANUARY + timedelta(days=90)
    with company.database.writing(company.tenant) as uow:
        holds.hold(uow, holds.Hold("h", "acme", "USD", "tokens", 900 * CENT, JANUARY, until))
    company.close("2026-01", "2026-02-01T01:00")
    assert company.invoices("acme")[0].settled_minor == 100


@pytest.mark.parametrize("upkeep_runs", [False, True])
def test_what_pays_a_draft_pays_it_whenever_it_is_finalised(company: Company, *, upkeep_runs: bool) -> None:
    give(company, "short", 1000, expires_at=at("2026-02-06"))
    give(company, "too-short", 1000, expires_at=at("2026-02-03"))
    company.close("2026-01", "2026-02-01T01:00", grace_days=3)
    if upkeep_runs:
        assert end_what_is_over(company.database, company.tenant, at("2026-02-06T00:01")).grants == 1
    with company.database.writing(company.tenant) as uow:
        (paid,) = finalise(uow, [each.id for each in company.invoices("acme")], at("2026-02-07"))
    assert (paid.total_minor, paid.settled_minor) == (3960, 1000)
    assert end_what_is_over(company.database, company.tenant, at("2026-02-07")).grants == (0 if upkeep_runs else 1)


def test_what_pays_the_invoices_of_a_close_that_is_stopped_pays_them_when_it_goes_on(company: Company) -> None:
    class Stopped(InTurn):
        def run(self, tasks: Sequence[CloseTask], database: Database) -> Iterator[CloseOutcome]:
            raise InterruptedError

    give(company, "short", 1000, expires_at=at("2026-02-01T02:00"))
    with pytest.raises(InterruptedError):
        close(company.database, company.tenant, "2026-01", at("2026-02-01T01:00"), executor=Stopped())
    assert end_what_is_over(company.database, company.tenant, at("2026-02-01T03:00")).grants == 0
    company.close("2026-01", "2026-02-01T04:00")
    assert company.invoices("acme")[0].settled_minor == 1000
