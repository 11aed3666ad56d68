"""Entitlements on the wire: quantities are decimal strings, null where there is nothing to count."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from billing.entitlements import Entitlement
from models.values.quantity import plain


class EntitlementView(msgspec.Struct):
    """Whether a customer may use a feature now, why, and what is left of it.

    `kind`: switch, quantity or metered. `reason`: subscribed, paused or not_subscribed. `quantity`: units bought.
    `used` of `included` units since the allowance began, `left` until one costs something, or of those bought; null:
    nothing limits it. `resets_at`: when the next allowance begins.
    """

    feature: str
    kind: str
    entitled: bool
    reason: str
    subscriptions: list[str]
    quantity: str | None
    used: str | None
    included: str | None
    left: str | None
    resets_at: str | None


class EntitlementList(msgspec.Struct):
    """Every feature that the customer has or could have, in catalog order."""

    items: list[EntitlementView]


def entitlement_view(entitlement: Entitlement) -> EntitlementView:
    """Show an entitlement."""
    given = entitlement.allowance
    return EntitlementView(
        feature=entitlement.feature,
        kind=entitlement.kind.value,
        entitled=entitlement.is_entitled,
        reason=entitlement.reason.value,
        subscriptions=[*entitlement.subscriptions],
        quantity=_text(entitlement.quantity),
        used=_text(entitlement.used),
        included=None if given is None else _text(given.included),
        left=_text(entitlement.left),
        resets_at=None if given is None else given.period.end.isoformat(),
    )


def _text(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)
