"""What prepaid credit pays of an invoice when it is finalised: after tax, before the customer's other credit.

First what credit was used for before (`wallets.burn`, a settled hold): for its feature, then, where that comes to
less, for whatever else there is. Then what grants hold free, in burn order. A wallet that is limited to features pays
for their lines only, tax included. Whole minor units are taken; what a grant has below them stays in it. A void gives
the same back as new grants on the same terms, which share what may roll over with the grant they come from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time

from billing import credit_facts, ledger
from billing.burn_down import Grant, Taking, burn_order, take, total
from billing.carrying import Parts
from billing.invoices import Invoice
from billing.journals import JournalDraft
from billing.metering.sets import members
from billing.posting_rules import Fact, PrepaidUsageApplied, journal
from billing.repositories import journals
from billing.repositories import wallets as rows
from billing.repositories.settlements import Settlement
from billing.repositories.wallets import BURN, GRANT, WALLET
from billing.unit_of_work import UnitOfWork
from billing.wallets import announce_low
from models.values.money import currency

_USED = "prepaid_usage"


@dataclass(frozen=True, slots=True)
class Prepayment:
    """What pays one invoice: ledger units `used` before it was made, by feature, and what is taken from grants now."""

    invoice: Invoice
    used: Parts
    takings: tuple[Taking, ...]

    @property
    def used_minor(self) -> int:
        """What was used before."""
        return sum(units for _, units in self.used) // currency(self.invoice.currency).units_per_minor

    @property
    def taken_minor(self) -> int:
        """What is taken from grants."""
        return total(self.takings) // currency(self.invoice.currency).units_per_minor

    @property
    def amount_minor(self) -> int:
        """All that is paid."""
        return self.used_minor + self.taken_minor


def prepay(
    uow: UnitOfWork, invoices: Sequence[Invoice], recorded_at: datetime
) -> tuple[list[Invoice], list[Settlement], list[JournalDraft]]:
    """Let prepaid credit pay finalised invoices in the order given; the ledger's lock is held.

    Returns the invoices with what is settled of them, the settlements, and the journals to be posted with theirs.
    """
    customers = sorted({each.customer for each in invoices})
    rows.lock_wallets_of(uow, customers)
    grants = {
        grant.id: grant
        for grant in rows.grants(uow, members(uow, WALLET.c.customer, customers), GRANT.c.remaining > GRANT.c.held)
    }
    used: dict[tuple[str, str], Counter[str]] = {}
    for account, state in journals.account_states(uow, journals.accounts_of(uow, _USED, customers)).items():
        used.setdefault((account.party, account.asset), Counter())[account.detail] = -state.balance
    paid: list[Invoice] = []
    settlements: list[Settlement] = []
    drafts: list[JournalDraft] = []
    for invoice in invoices:
        mine = used.get((invoice.customer, invoice.currency), Counter())
        one = plan(invoice, mine, list(grants.values()))
        if one.amount_minor:
            mine.subtract(dict(one.used))
            for taking in one.takings:
                left = taking.grant.remaining - taking.units
                grants[taking.grant.id] = replace(taking.grant, remaining=left)
            rows.take(uow, _key(invoice), "burn", one.takings, invoice.finalise_from)
            announce_low(uow, _key(invoice), one.takings, recorded_at, recorded_at)
            settlements += _settlements(one)
            drafts.append(journal(_key(invoice), _instant(invoice), *_facts(one)))
        paid.append(replace(invoice, settled_minor=invoice.settled_minor + one.amount_minor))
    return paid, settlements, drafts


def plan(invoice: Invoice, used: Mapping[str, int], grants: Sequence[Grant]) -> Prepayment:
    """Plan what pays an invoice, of ledger units used before, by feature, and of grants. Pure.

    Grants that were in force when the invoice could first be finalised pay, whenever it is.
    """
    per_minor = currency(invoice.currency).units_per_minor
    left = _by_feature(invoice)
    used_now = _pay_used(left, used, max(invoice.total_minor, 0), per_minor)
    open_minor = max(invoice.total_minor, 0) - sum(used_now.values()) // per_minor
    takings: list[Taking] = []
    for grant in sorted(grants, key=burn_order):
        mine = (grant.customer, grant.asset) == (invoice.customer, invoice.currency)
        if not mine or not grant.in_force(invoice.finalise_from):
            continue
        payable = sum(minor for key, minor in left.items() if grant.features is None or key in grant.features)
        minor = min(grant.free // per_minor, payable, open_minor)
        if minor > 0:
            _pay(left, minor, grant.features)
            open_minor -= minor
            takings.append(take(grant, minor * per_minor))
    return Prepayment(invoice, tuple(used_now.items()), tuple(takings))


def give_back(uow: UnitOfWork, invoice: Invoice, at: datetime) -> JournalDraft | None:
    """Give back what prepaid credit paid of an invoice that is voided: what was used waits again, grants live anew."""
    posted = ledger.find(uow, _key(invoice))
    used = [leg for leg in (posted.draft.legs if posted is not None else ()) if leg.account.code == _USED]
    facts: list[Fact] = []
    if used:
        parts = tuple((leg.account.detail, -leg.amount) for leg in used)
        facts.append(PrepaidUsageApplied(invoice.customer, invoice.currency, parts))
    taken = {row.credit_grant: row.units for row in rows.burns(uow, BURN.c.key == _key(invoice))}
    of_invoice = rows.grants(uow, GRANT.c.id.in_(sorted(taken))) if taken else []
    for number, grant in enumerate(sorted(of_invoice, key=burn_order), start=1):
        units = taken[grant.id]
        again = replace(
            grant,
            id=f"back:{invoice.id}:{number}",
            sequence=rows.next_sequence(uow),
            units=units,
            remaining=units,
            held=0,
            origin=grant.origin or grant.id,
        )
        rows.add_grant(uow, again, at)
        facts += credit_facts.given_back(again)
    return journal(f"void:{_key(invoice)}", _instant(invoice), *facts) if facts else None


def _settlements(one: Prepayment) -> list[Settlement]:
    invoice, at = one.invoice, _instant(one.invoice)
    amounts = ((_used_key(invoice), one.used_minor), (_key(invoice), one.taken_minor))
    return [Settlement(invoice.id, key, "wallet", minor, at) for key, minor in amounts if minor]


def _facts(one: Prepayment) -> list[Fact]:
    invoice = one.invoice
    facts = [fact for taking in one.takings for fact in credit_facts.applied(taking)]
    if one.used:
        facts.append(PrepaidUsageApplied(invoice.customer, invoice.currency, one.used))
    return facts


def _by_feature(invoice: Invoice) -> dict[str, int]:
    """Return what each feature comes to with its tax, in the order of the lines, at least nothing."""
    sums: dict[str, int] = {}
    for line in invoice.lines:
        sums[line.feature] = sums.get(line.feature, 0) + line.net_minor + line.tax_minor
    return {feature: max(minor, 0) for feature, minor in sums.items()}


def _pay_used(left: dict[str, int], used: Mapping[str, int], open_minor: int, per_minor: int) -> dict[str, int]:
    """Pay with what was used before, and return the ledger units of each feature: whole minor units in all."""
    used_minor = min(sum(used.values()) // per_minor, open_minor)
    own: dict[str, int] = {}
    for feature in left:
        if own_minor := min(used.get(feature, 0) // per_minor, left[feature], used_minor - sum(own.values())):
            own[feature] = own_minor
            left[feature] -= own_minor
    others = used_minor - sum(own.values())
    _pay(left, others)
    taken = {feature: minor * per_minor for feature, minor in own.items()}
    units = others * per_minor
    for feature in sorted(used):
        if more := min(used[feature] - taken.get(feature, 0), units):
            taken[feature] = taken.get(feature, 0) + more
            units -= more
    return taken


def _pay(left: dict[str, int], minor: int, features: frozenset[str] | None = None) -> None:
    """Lower what is left by feature, in the order of the lines."""
    for feature in left:
        if features is None or feature in features:
            part = min(left[feature], minor)
            left[feature] -= part
            minor -= part


def _key(invoice: Invoice) -> str:
    return f"wallet:{invoice.id}"


def _used_key(invoice: Invoice) -> str:
    return f"prepaid_usage:{invoice.id}"


def _instant(invoice: Invoice) -> datetime:
    return datetime.combine(invoice.issued_on, time.min, tzinfo=UTC)
