"""Wallets and grants as they are asked for and shown: amounts are decimal strings in whole minor units."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypedDict

import msgspec

from api.amounts import minor_of
from billing import audit, wallets
from billing.audit import Actor
from billing.burn_down import Grant, GrantKind
from billing.credit_series import MAX_TIMES, grant_series
from billing.repositories import journals
from billing.repositories.customers import CustomerRepository
from billing.unit_of_work import UnitOfWork
from billing.wallets import Wallet, WalletBalance
from models.values.errors import InvalidValueError, NotFoundError
from models.values.ids import check_external_id, check_key
from models.values.money import currency, from_ledger_units
from models.values.period import Interval, parse_instant
from models.values.quantity import plain

_Priority = Annotated[int, msgspec.Meta(ge=-1000, le=1000)]
_Days = Annotated[int, msgspec.Meta(ge=0, le=3660)]
_Times = Annotated[int, msgspec.Meta(ge=2, le=MAX_TIMES)]


class WalletBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A wallet to open. `features`: all if absent. Lower `priority` pays first. Top-up: both members or neither."""

    id: str
    currency: str
    priority: _Priority = 0
    features: list[str] | None = None
    top_up_below: str | None = None
    top_up: str | None = None


class GrantBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Credit to grant, once by `id`. Times are RFC 3339.

    `processor`: who collected the money, for paid credit. `cost` in `cost_currency`: what paid units of a custom
    credit were bought for. At expiry up to `rollover` lives on for `rollover_days`. `every` and `times`: promotional
    credit that is granted so often, as `id`, `id:2`, `id:3` and so on, starts and expiries an interval apart.
    """

    id: str
    amount: str
    kind: Literal["paid", "promotional"] = "paid"
    processor: str | None = None
    priority: _Priority = 0
    starts_at: str | None = None
    expires_at: str | None = None
    cost: str | None = None
    cost_currency: str | None = None
    rollover: str | None = None
    rollover_days: _Days = 0
    every: Interval | None = None
    times: _Times | None = None


class WithdrawalBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Unused credit to take back: `amount`, all of it if absent. `processor`: who paid bought credit back."""

    amount: str | None = None
    processor: str | None = None


class GrantView(TypedDict):
    """A grant as it stands; `held` of what remains is kept for usage that was authorised."""

    id: str
    wallet: str
    kind: str
    amount: str
    remaining: str
    held: str
    priority: int
    starts_at: str
    expires_at: str | None


class WalletView(TypedDict):
    """A wallet and what it holds: `free` may be used now."""

    id: str
    customer: str
    currency: str
    priority: int
    features: list[str] | None
    top_up_below: str | None
    top_up: str | None
    free: str
    held: str
    grants: list[GrantView]


class WalletList(TypedDict):
    """A customer's wallets, in the order in which they pay."""

    items: list[WalletView]


def open_for(uow: UnitOfWork, customer: str, body: WalletBody, by: Actor) -> dict[str, Any]:
    """Open a wallet, once by id, and show it. Raises NotFoundError (customer), what `billing.wallets` raises."""
    CustomerRepository(uow).get(customer)
    features = None if body.features is None else tuple(check_key(each, "features") for each in body.features)
    below = None if body.top_up_below is None else _units(body.top_up_below, body.currency, "top_up_below")
    units = None if body.top_up is None else _units(body.top_up, body.currency, "top_up")
    wallet = Wallet(check_external_id(body.id, "id"), customer, body.currency, body.priority, features, below, units)
    is_new = wallets.open_wallet(uow, wallet, recorded_at=by.at)
    after = wallet_document(_balance(uow, customer, wallet.id, by.at))
    if is_new:
        audit.record(uow, by, "wallet.open", ("wallet", wallet.id), after=after)
    return after


def grant_to(uow: UnitOfWork, customer: str, wallet: str, body: GrantBody, by: Actor) -> dict[str, Any]:
    """Grant credit to a customer's wallet, once by id, and show it, or the first of a series; it begins now if unsaid.

    Raises NotFoundError (customer, wallet), InvalidValueError, what `billing.wallets` raises.
    """
    CustomerRepository(uow).get(customer)
    journals.lock(uow)
    asset = _balance(uow, customer, wallet, by.at).wallet.asset
    kind = GrantKind(body.kind)
    if (kind is GrantKind.PAID) != (body.processor is not None):
        raise InvalidValueError("names who collected the money for paid credit, and only for it", field="processor")
    known = wallets.find_grant(uow, check_external_id(body.id, "id"))
    begins = by.at if known is None else known.starts_at
    starts_at = begins if body.starts_at is None else parse_instant(body.starts_at, "starts_at")
    expires_at = None if body.expires_at is None else parse_instant(body.expires_at, "expires_at")
    if expires_at is not None and expires_at <= starts_at:
        raise InvalidValueError("must be later than the start", field="expires_at", value=body.expires_at)
    if (body.rollover is None) != (body.rollover_days == 0) or (body.rollover is not None and expires_at is None):
        raise InvalidValueError("needs an amount, days and an expiry, or none of them", field="rollover")
    if (body.every is None) != (body.times is None):
        raise InvalidValueError("needs an interval and a number of times, or neither", field="every")
    if body.every is not None and kind is GrantKind.PAID:
        raise InvalidValueError("repeats promotional credit: paid credit is granted when it is paid", field="every")
    units = _units(body.amount, asset, "amount")
    cost, cost_units = _cost(body, is_needed="." in asset and kind is GrantKind.PAID)
    grant = Grant(
        body.id,
        wallet,
        customer,
        asset,
        kind,
        units,
        starts_at,
        0,
        units=units,
        priority=body.priority,
        expires_at=expires_at,
        cost_asset=cost,
        cost_units=cost_units,
        cost_remaining=cost_units,
        rollover_units=0 if body.rollover is None else _units(body.rollover, asset, "rollover"),
        rollover_days=body.rollover_days,
    )
    if body.processor is not None:
        check_key(body.processor, "processor")
    series = [grant] if body.every is None else [*grant_series(grant, body.every, body.times or 1)]
    is_new = any(wallets.find_grant(uow, each.id) is None for each in series)
    granted = [wallets.grant_credit(uow, each, recorded_at=by.at, processor=body.processor) for each in series]
    after = grant_document(granted[0])
    if is_new:
        audit.record(uow, by, "credit.grant", ("credit_grant", body.id), after=after)
    return after


def withdraw_from(
    uow: UnitOfWork, customer: str, wallet: str, grant: str, body: WithdrawalBody, key: str, by: Actor
) -> dict[str, Any]:
    """Take unused credit of a grant back, once by `key`, and show what the grant is then.

    Raises NotFoundError (customer, wallet, grant), what `billing.wallets` raises.
    """
    CustomerRepository(uow).get(customer)
    journals.lock(uow)
    asset = _balance(uow, customer, wallet, by.at).wallet.asset
    known = wallets.find_grant(uow, grant)
    if known is None or known.wallet != wallet:
        raise NotFoundError("no such grant", field="credit_grant", value=grant)
    processor = None if body.processor is None else check_key(body.processor, "processor")
    units = None if body.amount is None else _units(body.amount, asset, "amount")
    withdrawal = wallets.Withdrawal(key, grant, units, processor)
    after = grant_document(wallets.withdraw_credit(uow, withdrawal, at=by.at, recorded_at=by.at))
    of = ("credit_grant", grant)
    audit.record_change(uow, by, "credit.withdraw", of, before=grant_document(known), after=after)
    return after


def wallet_document(balance: WalletBalance) -> dict[str, Any]:
    """Show a wallet with its live grants."""
    wallet = balance.wallet
    below, top_up = wallet.top_up_below, wallet.top_up_units
    return {
        "id": wallet.id,
        "customer": wallet.customer,
        "currency": wallet.asset,
        "priority": wallet.priority,
        "features": None if wallet.features is None else [*wallet.features],
        "top_up_below": None if below is None else _major(below, wallet.asset),
        "top_up": None if top_up is None else _major(top_up, wallet.asset),
        "free": _major(balance.free, wallet.asset),
        "held": _major(balance.held, wallet.asset),
        "grants": [*map(grant_document, balance.grants)],
    }


def grant_document(grant: Grant) -> dict[str, Any]:
    """Show a grant."""
    return {
        "id": grant.id,
        "wallet": grant.wallet,
        "kind": grant.kind.value,
        "amount": _major(grant.units, grant.asset),
        "remaining": _major(grant.remaining, grant.asset),
        "held": _major(grant.held, grant.asset),
        "priority": grant.priority,
        "starts_at": grant.starts_at.isoformat(),
        "expires_at": None if grant.expires_at is None else grant.expires_at.isoformat(),
    }


def _balance(uow: UnitOfWork, customer: str, wallet: str, at: datetime) -> WalletBalance:
    for balance in wallets.balances(uow, customer, at):
        if balance.wallet.id == wallet:
            return balance
    raise NotFoundError("no such wallet", field="wallet", value=wallet)


def _cost(body: GrantBody, *, is_needed: bool) -> tuple[str, int]:
    if is_needed != (body.cost is not None) or (body.cost is None) != (body.cost_currency is None):
        raise InvalidValueError("cost and cost_currency go with paid custom credit, and only with it", field="cost")
    if body.cost is None or body.cost_currency is None:
        return "", 0
    return body.cost_currency, _units(body.cost, body.cost_currency, "cost")


def _units(text: str, code: str, field: str) -> int:
    """Read an amount of more than nothing; nothing is rounded."""
    money = currency(code)
    minor = minor_of(text, field, money)
    if minor <= 0:
        raise InvalidValueError("must be more than nothing", field=field, value=text, code="below_minimum")
    return minor * money.units_per_minor


def _major(units: int, code: str) -> str:
    return plain(from_ledger_units(units, currency(code)))
