"""Checks beyond the chain: what stands beside the ledger says the same as the ledger.

Each reads one snapshot and names the first row that differs; `billing.verification.verify` runs them.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from billing.burn_down import GrantKind
from billing.chart_of_accounts import Account, promotional
from billing.repositories import accruals, ledger_audit, wallets
from billing.unit_of_work import UnitOfWork
from billing.verification import Check, Finding
from models.values.money import currency, round_to_ledger_units
from models.values.quantity import EXACT


def accruals_are_posted(uow: UnitOfWork) -> Iterator[Finding]:
    """Check that exact accruals sum to what is carried, their units to what is posted, which is the rounded sum."""
    exact: dict[tuple[str, str], Decimal] = {}
    posted: dict[tuple[str, str], int] = {}
    for accrual, units in accruals.every(uow):
        stream = (accrual.customer, accrual.asset)
        for _, amount in accrual.by_feature:
            exact[stream] = EXACT.add(exact.get(stream, Decimal(0)), amount)
        posted[stream] = posted.get(stream, 0) + sum(came_to for _, came_to in units)
    sums = accruals.all_carried(uow)
    for stream in sorted(exact.keys() | sums.keys()):
        row = f"carried_amount {'/'.join(stream)}"
        if stream not in sums or (sums[stream].exact, sums[stream].posted) != (exact.get(stream), posted.get(stream)):
            yield Finding("accruals", row, f"its accruals sum to {exact.get(stream)}, posted {posted.get(stream)}")
        elif sums[stream].posted != round_to_ledger_units(sums[stream].exact, currency(stream[1])):
            yield Finding("accruals", row, "what is posted is not the rounded exact sum")


def accruals_have_journals(uow: UnitOfWork) -> Iterator[Finding]:
    """Check that each accrual that came to units has its journal, of the same units."""
    for key, accrued, journal in accruals.beside_journals(uow):
        if accrued != journal:
            yield Finding("accruals", f"accrual {key}", f"came to {accrued} units, its journal to {journal}")


def grants_are_what_remains(uow: UnitOfWork) -> Iterator[Finding]:
    """Check that a grant holds what it was less what was taken, and keeps what pending holds keep."""
    taken = wallets.taken_by_grant(uow)
    kept = wallets.kept_by_grant(uow)
    for grant in wallets.grants(uow):
        units, cost = taken.pop(grant.id, (0, 0))
        row = f"credit_grant {grant.id}"
        if grant.remaining != grant.units - units or grant.cost_remaining != grant.cost_units - cost:
            yield Finding("wallets", row, f"holds {grant.remaining} of {grant.units}, {units} were taken")
        if grant.held != kept.pop(grant.id, 0):
            yield Finding("wallets", row, f"keeps {grant.held}, its pending holds something else")
    for orphan in sorted({*taken, *kept}):
        yield Finding("wallets", f"credit_grant {orphan}", "is missing")


def wallets_are_posted(uow: UnitOfWork) -> Iterator[Finding]:
    """Check that the ledger's wallet accounts are what grants hold: money owed, and units of credit."""
    expected: dict[Account, int] = {}
    for grant in wallets.grants(uow):
        is_paid = grant.kind is GrantKind.PAID
        if grant.is_custom or not is_paid:
            asset = grant.asset if is_paid else promotional(grant.asset)
            held = Account("units_held", asset, grant.customer, grant.wallet)
            expected[held] = expected.get(held, 0) - grant.remaining
        if is_paid:
            asset, units = (
                (grant.cost_asset, grant.cost_remaining) if grant.is_custom else (grant.asset, grant.remaining)
            )
            owed = Account("wallet", asset, grant.customer, grant.wallet)
            expected[owed] = expected.get(owed, 0) - units
    names = ledger_audit.accounts(uow)
    stored = {
        names[number]: balance
        for number, (balance, _) in ledger_audit.stored_balances(uow).items()
        if names[number].code in {"wallet", "units_held"}
    }
    for account in sorted(expected.keys() | stored.keys()):
        if expected.get(account, 0) != stored.get(account, 0):
            row = f"account {'/'.join(account)}"
            yield Finding(
                "wallets", row, f"stands at {stored.get(account, 0)}, its grants at {expected.get(account, 0)}"
            )


CHECKS: tuple[Check, ...] = (
    accruals_are_posted,
    accruals_have_journals,
    grants_are_what_remains,
    wallets_are_posted,
)
"""The checks of this part, in order."""
