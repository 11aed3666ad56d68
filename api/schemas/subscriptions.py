"""Subscriptions as they are sent: a change that is asked for, and a subscription with all its phases."""

from __future__ import annotations

from typing import Any

import msgspec

from billing.phases import Subscription, agreement_document
from billing.previews import ChangePreview
from billing.repositories.price_books import PriceBookRepository
from billing.repositories.subscriptions import SubscriptionRepository
from billing.subscriptions import Change, Who, cancel, change_selection, pause, resume
from billing.unit_of_work import UnitOfWork
from models.values.errors import InvalidValueError, RuleBrokenError
from models.values.money import currency, from_minor
from models.values.quantity import parse_decimal, plain


class ChangeBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A change from now on. `action`: change (with the whole new `selection`), pause, resume or cancel."""

    action: str
    selection: dict[str, str] | None = None
    at_period_end: bool = False
    reason: str = ""


def change_of(uow: UnitOfWork, subscription: str, body: ChangeBody, who: Who) -> Change:
    """Work out the change that is asked for; nothing is written."""
    found, at = SubscriptionRepository(uow).get(subscription), who.recorded_at
    match body.action:
        case "change":
            phase = found.phase_at(at)
            if body.selection is None:
                raise InvalidValueError("is required to change", field="selection")
            if phase is None:
                raise RuleBrokenError("is not in force", field="subscription", value=subscription)
            book = PriceBookRepository(uow).get(phase.agreement.book_hash).book
            chosen = {key: parse_decimal(text, f"selection.{key}") for key, text in body.selection.items()}
            return change_selection(found, book, chosen, at, who)
        case "pause":
            return pause(found, at, who)
        case "resume":
            return resume(found, at, who)
        case "cancel":
            return cancel(found, at, who, at_period_end=body.at_period_end)
    raise InvalidValueError("must be change, pause, resume or cancel", field="action", value=body.action)


def difference_document(seen: ChangePreview) -> list[dict[str, str]]:
    """Return what a change adds to the next invoices, by currency."""
    return [
        {"amount": plain(from_minor(minor, currency(code))), "currency": code}
        for code, minor in sorted(seen.difference_minor.items())
    ]


def subscription_document(subscription: Subscription) -> dict[str, Any]:
    """Return a subscription with its phases, oldest first."""
    trial = subscription.trial_ends_at
    return {
        "id": subscription.id,
        "customer": subscription.customer,
        "currency": subscription.currency,
        "starts_at": subscription.starts_at.isoformat(),
        "trial_ends_at": None if trial is None else trial.isoformat(),
        "phases": [
            {
                "sequence": phase.sequence,
                "starts_at": phase.starts_at.isoformat(),
                "state": phase.state.value,
                "action": phase.action,
                "price_book": phase.agreement.book_hash,
                "agreement": agreement_document(phase.agreement),
                "actor": phase.actor,
                "reason": phase.reason,
                "recorded_at": phase.recorded_at.isoformat(),
            }
            for phase in subscription.phases
        ],
    }
