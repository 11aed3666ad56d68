"""Partner shares paid out to connected accounts (Stripe Connect), through the same outbox as everything else.

What a partner is owed stands in the ledger, less what is on its way. Payouts of one partner and currency run one
after the other, and the ledger posts each once Stripe has made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from billing import ledger
from billing.repositories import stripe_outbox as outbox
from billing.stripe.currencies import stripe_currency, wire_amount
from billing.stripe.operations import Aggregate, Kind, fitting
from billing.unit_of_work import UnitOfWork
from models.values.ids import MAX_KEY_CHARS
from models.values.money import currency

_PAYABLE = "partner_payable"


class PartnerPayout(NamedTuple):
    """A payout that was queued, in minor units."""

    partner: str
    currency: str
    amount_minor: int


def pay_partners(uow: UnitOfWork, destinations: Mapping[str, str], *, now: datetime) -> list[PartnerPayout]:
    """Queue what partners are owed; `destinations`: the connected account by partner. Again at once pays nothing.

    The caller holds the ledger's lock. What lies below a minor unit, or Stripe's step, waits for the next payout.
    """
    queued = []
    for account, balance in sorted(ledger.balances(uow, code=_PAYABLE).items()):
        if account.party not in destinations:
            continue
        money = stripe_currency(account.asset)
        owed = -balance // currency(account.asset).units_per_minor
        owed -= _on_its_way(uow, account.party, account.asset)
        payable = owed - owed % money.step_minor
        if payable > 0:
            enqueue_transfer(uow, account.party, destinations[account.party], payable, account.asset, now=now)
            queued.append(PartnerPayout(account.party, account.asset, payable))
    return queued


def enqueue_transfer(
    uow: UnitOfWork, partner: str, destination: str, amount_minor: int, code: str, *, now: datetime
) -> None:
    """Pay an amount out to a partner's connected account. Raises InvalidValueError unless it is above zero."""
    aggregate_id = _payouts_of(partner, code)
    number = outbox.next_seq(uow, Aggregate.TRANSFER, aggregate_id)
    params = {
        "ref": f"{uow.tenant}/{aggregate_id}/{number}",
        "partner": partner,
        "destination": destination,
        "amount": wire_amount(code, amount_minor),
        "currency": code,
    }
    outbox.append(uow, Aggregate.TRANSFER, aggregate_id, [(Kind.TRANSFER, params)], now=now)


def _on_its_way(uow: UnitOfWork, partner: str, code: str) -> int:
    waiting = outbox.unfinished(uow, Aggregate.TRANSFER, _payouts_of(partner, code))
    return stripe_currency(code).from_wire(sum(operation.params["amount"] for operation in waiting))


def _payouts_of(partner: str, code: str) -> str:
    return fitting(f"{code}/{partner}", MAX_KEY_CHARS)
