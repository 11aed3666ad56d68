"""What granting, using and losing credit means for the ledger, by kind of grant. Pure.

| grant                    | in the ledger                                                             |
|--------------------------|---------------------------------------------------------------------------|
| paid, a currency         | money owed to the customer                                                |
| paid, a custom credit    | units of its own, and the money paid for them, which is earned as they go |
| promotional              | units of its own: nothing is owed; using them lowers a price              |
"""

from __future__ import annotations

from billing.burn_down import Grant, GrantKind, Taking
from billing.carrying import Parts
from billing.posting_rules import (
    CreditUnits,
    Fact,
    PrepaidApplied,
    PrepaidBurn,
    PrepaidExpiry,
    PrepaidGrant,
    PrepaidGrantInvoiced,
    PrepaidRefund,
    PrepaidUse,
    PromotionalApplied,
    PromotionalBurn,
    PromotionalGrant,
)
from models.values.errors import RuleBrokenError


def granted(grant: Grant, *, processor: str | None, taxes: Parts = ()) -> list[Fact]:
    """Hand out a grant. `processor`: who collected the money; None where an invoice asks for it."""
    if grant.kind is GrantKind.PROMOTIONAL:
        return [PromotionalGrant(grant.customer, grant.asset, grant.wallet, grant.units)]
    asset, units = (grant.cost_asset, grant.cost_units) if grant.is_custom else (grant.asset, grant.units)
    bought: Fact = (
        PrepaidGrantInvoiced(grant.customer, asset, grant.wallet, units, taxes)
        if processor is None
        else PrepaidGrant(grant.customer, asset, grant.wallet, processor, units)
    )
    return [bought, *_units(grant, grant.units)]


def burned(taking: Taking, feature: str) -> list[Fact]:
    """Use credit for usage before its invoice; custom credits are earned with their use."""
    grant = taking.grant
    if grant.is_custom:
        if grant.kind is GrantKind.PROMOTIONAL:
            return [PromotionalGrant(grant.customer, grant.asset, grant.wallet, -taking.units)]
        earned = PrepaidUse(grant.customer, grant.cost_asset, grant.wallet, feature, taking.cost_units)
        return [earned, *_units(grant, -taking.units)]
    rule = PrepaidBurn if grant.kind is GrantKind.PAID else PromotionalBurn
    return [rule(grant.customer, grant.asset, grant.wallet, feature, taking.units)]


def applied(taking: Taking) -> list[Fact]:
    """Pay an invoice with credit. Raises RuleBrokenError for a custom credit, which is no money."""
    grant = taking.grant
    if grant.is_custom:
        raise RuleBrokenError("only credit in a currency pays an invoice", field="credit_grant", value=grant.id)
    rule = PrepaidApplied if grant.kind is GrantKind.PAID else PromotionalApplied
    return [rule(grant.customer, grant.asset, grant.wallet, taking.units)]


def given_back(grant: Grant) -> list[Fact]:
    """Take back that credit paid an invoice; `grant` holds it again."""
    rule = PrepaidApplied if grant.kind is GrantKind.PAID else PromotionalApplied
    return [rule(grant.customer, grant.asset, grant.wallet, -grant.units)]


def expired(taking: Taking) -> list[Fact]:
    """End credit unused: breakage where it was paid for."""
    grant = taking.grant
    if grant.kind is GrantKind.PROMOTIONAL:
        return [PromotionalGrant(grant.customer, grant.asset, grant.wallet, -taking.units)]
    asset, units = _money(taking)
    return [PrepaidExpiry(grant.customer, asset, grant.wallet, units), *_units(grant, -taking.units)]


def refunded(taking: Taking, processor: str) -> list[Fact]:
    """Pay unused credit back, or withdraw it where it was promotional."""
    grant = taking.grant
    if grant.kind is GrantKind.PROMOTIONAL:
        return expired(taking)
    asset, units = _money(taking)
    return [PrepaidRefund(grant.customer, asset, grant.wallet, processor, units), *_units(grant, -taking.units)]


def _money(taking: Taking) -> tuple[str, int]:
    grant = taking.grant
    return (grant.cost_asset, taking.cost_units) if grant.is_custom else (grant.asset, taking.units)


def _units(grant: Grant, units: int) -> list[Fact]:
    return [CreditUnits(grant.customer, grant.asset, grant.wallet, units)] if grant.is_custom else []
