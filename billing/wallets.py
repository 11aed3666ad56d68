"""Wallets: credit granted, used, expired and paid back. Holds on credit are in `billing.holds`.

Every function runs in the caller's unit of work, takes the ledger's lock first and is idempotent by its key.
`at` is when it happens, `recorded_at` when we write it down. Units are ledger units of the wallet's asset.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from billing import credit_facts, ledger
from billing.burn_down import Grant, GrantKind, InsufficientCreditError, Taking, plan_burn, rolled_over, take, total
from billing.carrying import Parts
from billing.metering.sets import members
from billing.posting_rules import Fact, journal
from billing.repositories import journals
from billing.repositories import wallets as rows
from billing.repositories.closes import CloseRepository
from billing.repositories.invoices import InvoiceRepository
from billing.repositories.wallets import BURN, GRANT, WALLET
from billing.unit_of_work import UnitOfWork
from billing.webhooks.announcements import wallet_low
from billing.webhooks.events import announce
from models.column_types import utc_text
from models.values.errors import ConflictError, InvalidValueError, NotFoundError
from models.values.ids import check_external_id
from models.values.money import currency

_OURS = re.compile(r":rollover:\d+$|^back:in_", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wallet:
    """Credit of one customer in one asset. `features`: None for all. Lower `priority` pays first.

    When less than `top_up_below` units are free, `top_up_units` more are due; both or neither.
    """

    id: str
    customer: str
    asset: str
    priority: int = 0
    features: tuple[str, ...] | None = None
    top_up_below: int | None = None
    top_up_units: int | None = None


@dataclass(frozen=True, slots=True)
class WalletBalance:
    """What a wallet holds at an instant: free units, units held, and the grants behind them."""

    wallet: Wallet
    free: int
    held: int
    grants: tuple[Grant, ...]


def open_wallet(uow: UnitOfWork, wallet: Wallet, *, recorded_at: datetime) -> bool:
    """Open a wallet and return whether it is new; the same one again changes nothing.

    Raises ConflictError where its id is another wallet's.
    """
    currency(wallet.asset)
    if (wallet.top_up_below is None) != (wallet.top_up_units is None):
        raise InvalidValueError("needs both a threshold and an amount, or neither", field="top_up")
    journals.lock(uow)
    existing = rows.wallets(uow, WALLET.c.id == wallet.id)
    if not existing:
        features = None if wallet.features is None else list(wallet.features)
        columns = {name: getattr(wallet, name) for name in Wallet.__slots__ if name != "features"}
        rows.add_wallet(uow, **columns, features=features, recorded_at=recorded_at)
    elif _wallet(existing[0]) != wallet:
        raise ConflictError("is another wallet", field="wallet", value=wallet.id, code="wallet_conflict")
    return not existing


def grant_credit(
    uow: UnitOfWork, grant: Grant, *, recorded_at: datetime, processor: str | None = None, taxes: Parts = ()
) -> Grant:
    """Hand out credit once by `grant.id` and return it with its number.

    Of `grant`, `sequence`, `customer`, `asset` and `features` are taken from the wallet; `remaining` is `units`,
    `cost_remaining` is `cost_units`. `processor`: who collected the money for paid credit; None where an invoice
    asks for it.
    Raises NotFoundError (wallet), InvalidValueError (units, an id of ours), ConflictError (id used for another grant).
    """
    if _OURS.search(check_external_id(grant.id, "credit_grant")):
        rule = "is the form of what rolls over (...:rollover:0) or comes back (back:in_...)"
        raise InvalidValueError(rule, field="credit_grant", value=grant.id, code="reserved_id")
    is_whole = (grant.units, grant.cost_units, 0) == (grant.remaining, grant.cost_remaining, grant.held)
    if grant.units <= 0 or grant.cost_units < 0 or not is_whole:
        raise InvalidValueError("a new grant is whole and more than nothing", field="units", value=grant.units)
    journals.lock(uow)
    wallet = _the_wallet(uow, grant.wallet)
    earlier = rows.grants(uow, GRANT.c.id == grant.id)
    sequence = earlier[0].sequence if earlier else rows.next_sequence(uow)
    features = None if wallet.features is None else frozenset(wallet.features)
    whole = replace(
        grant,
        sequence=sequence,
        customer=wallet.customer,
        asset=wallet.asset,
        features=features,
        wallet_priority=wallet.priority,
    )
    if earlier:
        as_new = replace(earlier[0], remaining=grant.units, held=0, cost_remaining=grant.cost_units)
        if as_new != whole:
            raise ConflictError("is another grant", field="credit_grant", value=grant.id, code="grant_conflict")
        return earlier[0]
    facts = credit_facts.granted(whole, processor=processor, taxes=taxes)
    _post(uow, f"grant:{grant.id}", grant.starts_at, facts, recorded_at)
    rows.add_grant(uow, whole, recorded_at)
    return whole


def find_grant(uow: UnitOfWork, grant_id: str) -> Grant | None:
    """Return a grant as it stands, or None."""
    return next(iter(rows.grants(uow, GRANT.c.id == grant_id)), None)


@dataclass(frozen=True, slots=True)
class BurnRequest:
    """Credit asked for: `units` of `asset`, for usage of `feature` at `at`.

    `key`: unique for ever; the same request again takes nothing more.
    """

    key: str
    customer: str
    asset: str
    feature: str
    units: int
    at: datetime

    @property
    def memo(self) -> str:
        """What the journal says was asked for."""
        return f"{self.units} for {self.feature}"


def burn(uow: UnitOfWork, request: BurnRequest, *, recorded_at: datetime, partial: bool = False) -> int:
    """Take credit in burn order and return how many units were taken; a request served before returns what it took.

    Raises InsufficientCreditError where there is less than asked for, unless `partial`: then takes what there is
    (where there is nothing, nothing is remembered of it). ConflictError for a key used for another request.
    """
    if request.units <= 0:
        raise InvalidValueError("must be more than nothing", field="units", value=request.units)
    journals.lock(uow)
    earlier = taken_before(uow, request)
    if earlier is not None:
        return earlier
    rows.lock_wallets(uow, request.customer)
    takings = plan_burn(
        rows.grants_of(uow, request.customer, request.asset), request.units, request.feature, request.at
    )
    if total(takings) < request.units and not partial:
        raise InsufficientCreditError.of(request.customer, request.asset, total(takings), request.units)
    write_burn(uow, request, takings, recorded_at)
    return total(takings)


def taken_before(uow: UnitOfWork, request: BurnRequest) -> int | None:
    """Return what this request took when it was served, None if it was not. Raises ConflictError, as `burn`."""
    earlier = rows.burns(uow, BURN.c.key == request.key)
    if not earlier:
        return None
    posted = ledger.find(uow, f"burn:{request.key}")
    same = posted is not None and (posted.draft.memo, posted.draft.effective_at) == (request.memo, request.at)
    if not same or rows.grants(uow, GRANT.c.id == earlier[0].credit_grant)[0].customer != request.customer:
        raise ConflictError("is another burn", field="burn", value=request.key, code="burn_conflict")
    return int(sum(row.units for row in earlier))


def write_burn(uow: UnitOfWork, request: BurnRequest, takings: Sequence[Taking], recorded_at: datetime) -> None:
    """Take and post what was planned under the locks."""
    facts = []
    for taking in takings:
        facts += credit_facts.burned(taking, request.feature)
    if facts:
        rows.take(uow, request.key, "burn", takings, request.at)
        _post(uow, f"burn:{request.key}", request.at, facts, recorded_at, request.memo)
        announce_low(uow, request.key, takings, request.at, recorded_at)


def expire_credit(uow: UnitOfWork, *, at: datetime, recorded_at: datetime) -> list[Taking]:
    """End every grant that has expired by `at`, but for what holds keep; roll over what may roll over.

    A grant that pays an invoice yet to be finalised is left until then: see `prepayments.plan`.
    """
    journals.lock(uow)
    takings: list[Taking] = []
    gone: list[Taking] = []
    over = rows.grants(uow, GRANT.c.expires_at <= at, GRANT.c.remaining > GRANT.c.held)
    drafts = InvoiceRepository(uow).drafts_from({grant.customer for grant in over})
    closing = [month.finalise_from for month in CloseRepository(uow).all() if month.state == "closing"]
    for grant in over:
        to_pay = [*closing, *drafts.get((grant.customer, grant.asset), ())]
        if grant.expires_at is not None and not any(map(grant.in_force, to_pay)):
            kept, lapsed = _expire(uow, grant, grant.expires_at, recorded_at)
            takings += [*kept, *lapsed]
            gone += lapsed
    announce_low(uow, f"expiry:{utc_text(at)}", gone, at, recorded_at)
    return takings


def refund_credit(
    uow: UnitOfWork, key: str, grant_id: str, *, units: int, processor: str, at: datetime, recorded_at: datetime
) -> None:
    """Pay unused credit of one grant back, or withdraw it where it was promotional. Once by `key`.

    Raises NotFoundError, InsufficientCreditError.
    """
    journals.lock(uow)
    if rows.burns(uow, BURN.c.key == key):
        return
    grants = rows.grants(uow, GRANT.c.id == grant_id)
    if not grants:
        raise NotFoundError("no such grant", field="credit_grant", value=grant_id)
    if not 0 < units <= grants[0].free:
        raise InsufficientCreditError.of(grants[0].customer, grants[0].asset, grants[0].free, units)
    taking = take(grants[0], units)
    rows.take(uow, key, "refund", [taking], at)
    _post(uow, f"credit-refund:{key}", at, credit_facts.refunded(taking, processor), recorded_at)
    announce_low(uow, key, [taking], at, recorded_at)


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """Unused credit that goes back: `units` of a grant, None: all that is free, of money what is whole minor units.

    `key`: unique for ever. `processor`: who paid bought credit back; None where it was promotional.
    """

    key: str
    grant: str
    units: int | None = None
    processor: str | None = None


def withdraw_credit(uow: UnitOfWork, withdrawal: Withdrawal, *, at: datetime, recorded_at: datetime) -> Grant:
    """Take unused credit of one grant back, bought credit as its processor paid it back, and return what it is then.

    The same key again changes nothing. Raises NotFoundError, InvalidValueError (processor), InsufficientCreditError,
    ConflictError for a key that took something else.
    """
    journals.lock(uow)
    grant = find_grant(uow, withdrawal.grant)
    if grant is None:
        raise NotFoundError("no such grant", field="credit_grant", value=withdrawal.grant)
    key = f"withdrawal:{withdrawal.key}"
    earlier = rows.burns(uow, BURN.c.key == key)
    if earlier:
        taken = (earlier[0].credit_grant, withdrawal.units or earlier[0].units)
        if taken != (grant.id, earlier[0].units):
            raise ConflictError("is another withdrawal", field="key", value=withdrawal.key, code="burn_conflict")
        return grant
    if (grant.kind is GrantKind.PAID) != (withdrawal.processor is not None):
        raise InvalidValueError("names who paid bought credit back, and only for it", field="processor")
    money = currency(grant.asset)
    whole = grant.free if grant.kind is GrantKind.PROMOTIONAL else grant.free - grant.free % money.units_per_minor
    units = max(whole, 1) if withdrawal.units is None else withdrawal.units
    refund_credit(uow, key, grant.id, units=units, processor=withdrawal.processor or "", at=at, recorded_at=recorded_at)
    return find_grant(uow, grant.id) or grant


def balances(uow: UnitOfWork, customer: str, at: datetime) -> list[WalletBalance]:
    """Return what each wallet of a customer holds at `at`, in the order in which they pay."""
    found = []
    for row in rows.wallets(uow, WALLET.c.customer == customer):
        wallet = _wallet(row)
        grants = rows.grants(uow, GRANT.c.wallet == wallet.id, GRANT.c.remaining > 0)
        live = tuple(grant for grant in grants if grant.in_force(at))
        found.append(WalletBalance(wallet, sum(g.free for g in live), sum(g.held for g in grants), live))
    return found


def free_credit(uow: UnitOfWork, customer: str, asset: str, feature: str, at: datetime) -> int:
    """Return the units that a customer may use for `feature` now."""
    return sum(grant.free for grant in rows.grants_of(uow, customer, asset) if grant.pays_for(feature, at))


def due_top_ups(uow: UnitOfWork, customer: str, at: datetime) -> list[WalletBalance]:
    """Return the wallets that have fallen below their top-up threshold."""
    return [
        balance
        for balance in balances(uow, customer, at)
        if balance.wallet.top_up_below is not None and balance.free < balance.wallet.top_up_below
    ]


def announce_low(uow: UnitOfWork, by: str, takings: Sequence[Taking], at: datetime, recorded_at: datetime) -> None:
    """Tell of each wallet that these takings brought below its threshold; `by` names them.

    What a grant holds that has yet to begin was not there before.
    """
    taken: Counter[str] = Counter()
    for taking in takings:
        if taking.grant.starts_at <= at:
            taken[taking.grant.wallet] += taking.units
    watched = rows.wallets(uow, members(uow, WALLET.c.id, taken), WALLET.c.top_up_below.is_not(None)) if taken else []
    for customer in sorted({row.customer for row in watched}):
        low = [each for each in due_top_ups(uow, customer, at) if each.wallet.id in taken]
        fallen = [each for each in low if each.free + taken[each.wallet.id] >= (each.wallet.top_up_below or 0)]
        announce(uow, [wallet_low(each, by) for each in fallen], recorded_at)


def _expire(
    uow: UnitOfWork, grant: Grant, expires_at: datetime, recorded_at: datetime
) -> tuple[list[Taking], list[Taking]]:
    """End what is free of a grant; return what lives on and what is gone.

    As holds on it end, a grant may expire in pieces; each has its own key.
    """
    piece = f"{grant.id}:{grant.units - grant.remaining}"
    living_on = rolled_over(grant, rows.rolled_over(uow, grant.origin or grant.id)) if grant.rollover_units else None
    kept, lapsed = [], []
    if living_on is not None:
        kept = [take(grant, living_on.units)]
        rows.take(uow, f"rollover:{piece}", "rollover", kept, expires_at)
        rows.add_grant(uow, replace(living_on, sequence=rows.next_sequence(uow)), recorded_at)
        left, cost_left = grant.remaining - kept[0].units, grant.cost_remaining - kept[0].cost_units
        grant = replace(grant, remaining=left, cost_remaining=cost_left)
    if grant.free > 0:
        lapsed = [take(grant, grant.free)]
        rows.take(uow, f"expiry:{piece}", "expiry", lapsed, expires_at)
        _post(uow, f"expiry:{piece}", expires_at, credit_facts.expired(lapsed[0]), recorded_at)
    return kept, lapsed


def _the_wallet(uow: UnitOfWork, wallet: str) -> Wallet:
    found = rows.wallets(uow, WALLET.c.id == wallet)
    if not found:
        raise NotFoundError("no such wallet", field="wallet", value=wallet)
    return _wallet(found[0])


def _wallet(row: Row[Any]) -> Wallet:
    features = None if row.features is None else tuple(row.features)
    return Wallet(row.id, row.customer, row.asset, row.priority, features, row.top_up_below, row.top_up_units)


def _post(uow: UnitOfWork, key: str, at: datetime, facts: list[Fact], recorded_at: datetime, memo: str = "") -> None:
    draft = journal(key, at, *facts, memo=memo)
    if draft.legs:
        ledger.post(uow, [draft], recorded_at=recorded_at)
