"""Settling invoices: payments, refunds, credit. Each by a key of its own, so that nothing counts twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from billing import ledger
from billing.chart_of_accounts import Account, Leg
from billing.invoices import Invoice, InvoiceState
from billing.posting_rules import (
    CreditApplied,
    Fact,
    Overpayment,
    Payment,
    Recovery,
    Refund,
    RefundReopening,
    journal,
)
from billing.repositories import journals
from billing.repositories.credit_notes import CreditNoteRepository
from billing.repositories.invoices import InvoiceRepository
from billing.repositories.settlements import MONEY_KINDS, Settlement, SettlementRepository
from billing.unit_of_work import UnitOfWork
from billing.webhooks.announcements import invoice_events
from billing.webhooks.events import announce
from models.values.errors import ConflictError, InvalidValueError, RuleBrokenError
from models.values.money import currency, shown_minor

_PAYABLE = {InvoiceState.FINALISED, InvoiceState.PAID, InvoiceState.UNCOLLECTIBLE}
"""The states in which money comes in, and so those in which it goes back."""
_GIVEN_UP = {"write_off", "recovery"}
"""Settlements of a debt that was given up, and those that let it stand again."""


@dataclass(frozen=True, slots=True)
class Money:
    """Money that moved at a processor, in minor units: `key` is the processor's id of it, unique for ever."""

    key: str
    amount_minor: int
    at: datetime
    processor: str = "manual"

    def check_positive(self, asset: str) -> None:
        """Raise InvalidValueError where nothing of the currency moved."""
        if self.amount_minor <= 0:
            shown = shown_minor(self.amount_minor, asset)
            raise InvalidValueError("must be > 0", field="amount", value=shown, code="below_minimum")


def pay(uow: UnitOfWork, invoice: str, money: Money, recorded_at: datetime) -> Invoice:
    """Record a payment of an invoice; what is more than open becomes the customer's credit.

    What goes beyond that of a written-off invoice is recovered first. The same key again changes nothing.
    Raises RuleBrokenError for a draft or a void invoice, ConflictError for a key used otherwise.
    """
    found = _locked(uow, invoice)
    if _is_recorded(uow, found, f"payment:{money.key}", money, sign=1):
        return found
    money.check_positive(found.currency)
    if found.state not in _PAYABLE:
        raise RuleBrokenError("cannot be paid", field="invoice", value=found.state.value, code="invoice_not_payable")
    lost = _written_off(uow, found)
    back = min(lost, max(money.amount_minor - max(found.open_minor, 0), 0))
    if back:
        found = _recover(uow, found, money.key, money.at, back, recorded_at)
    per_minor = currency(found.currency).units_per_minor
    used = min(money.amount_minor, max(found.open_minor, 0))
    facts: list[Fact] = []
    if used:
        facts.append(Payment(found.customer, found.currency, money.processor, used * per_minor))
    if money.amount_minor > used:
        rest = (money.amount_minor - used) * per_minor
        facts.append(Overpayment(found.customer, found.currency, money.processor, rest))
    ledger.post(uow, [journal(f"payment:{money.key}", money.at, *facts)], recorded_at=recorded_at)
    payment = Settlement(found.id, f"payment:{money.key}", "payment", used, money.at, money.processor)
    return _settle(uow, found, payment, recorded_at, lost=lost - back)


def refund(
    uow: UnitOfWork,
    invoice: str,
    money: Money,
    recorded_at: datetime,
    *,
    reopens: bool,
    beyond_paid: bool = False,
) -> Invoice:
    """Record money that went back. The same key again changes nothing.

    `reopens`: without a credit note, so the invoice is open again by as much; else out of the customer's credit,
    which a credit note or an overpayment left. Raises RuleBrokenError for a draft or a void invoice, and for more
    than was paid unless it may go `beyond_paid`, ConflictError for a key used otherwise.
    """
    found = _locked(uow, invoice)
    key = f"refund:{money.key}"
    if _is_recorded(uow, found, key, money, sign=-1):
        return found
    money.check_positive(found.currency)
    check_refundable(found)
    units = money.amount_minor * currency(found.currency).units_per_minor
    if not reopens:
        fact = Refund(found.customer, found.currency, money.processor, units)
        ledger.post(uow, [journal(key, money.at, fact)], recorded_at=recorded_at)
        refunded = Settlement(found.id, key, "refund", 0, money.at, money.processor)
        return _settle(uow, found, refunded, recorded_at, lost=_written_off(uow, found))
    paid = _paid(uow, found.customer, found.currency)[found.id]
    if money.amount_minor > paid and not beyond_paid:
        most, shown = shown_minor(paid, found.currency), shown_minor(money.amount_minor, found.currency)
        raise RuleBrokenError(
            f"at most {most} was paid and is not credited", field="amount", value=shown, code="refund_above_paid"
        )
    reopened = RefundReopening(found.customer, found.currency, money.processor, units)
    ledger.post(uow, [journal(key, money.at, reopened)], recorded_at=recorded_at)
    refunded = Settlement(found.id, key, "refund", -money.amount_minor, money.at, money.processor)
    return _settle(uow, found, refunded, recorded_at, lost=_written_off(uow, found))


def pay_back(
    uow: UnitOfWork, invoice: str, money: Money, recorded_at: datetime, *, beyond_paid: bool = False
) -> Invoice:
    """Record money that went back: out of the customer's credit where that is enough, else the invoice is open again.

    `beyond_paid`: it is gone whatever we say, so more than was paid is recorded too, and the invoice asks for it.
    Raises what `refund` raises.
    """
    journals.lock(uow)
    found = InvoiceRepository(uow).get(invoice)
    reopens = _credit_minor(uow, found.customer, found.currency) < money.amount_minor
    return refund(uow, found.id, money, recorded_at, reopens=reopens, beyond_paid=beyond_paid)


@dataclass(frozen=True, slots=True)
class Refundable:
    """What may go back on an invoice, in minor units: out of the customer's credit, or else what was paid of it."""

    credit_minor: int
    paid_minor: int

    @property
    def is_something(self) -> bool:
        """Whether there is anything to pay back."""
        return self.credit_minor > 0 or self.paid_minor > 0


def refundable(uow: UnitOfWork, invoice: Invoice) -> Refundable:
    """Return what a refund on an invoice may take; refunds that are on their way are not taken off."""
    if invoice.state not in _PAYABLE:
        return Refundable(0, 0)
    credit = _credit_minor(uow, invoice.customer, invoice.currency)
    return Refundable(max(credit, 0), max(_paid(uow, invoice.customer, invoice.currency)[invoice.id], 0))


def paid_back_out_of_credit(uow: UnitOfWork, settlements: Iterable[Settlement], asset: str) -> dict[str, int]:
    """Return by key what those refunds paid back that settle nothing, in minor units: the journal knows the amount."""
    found = [each for each in settlements if each.kind == "refund" and not each.amount_minor]
    return {each.key: -_cash_minor(uow, asset, [each]) for each in found}


def check_refundable(invoice: Invoice) -> None:
    """Raise RuleBrokenError for an invoice in a state in which no money came in."""
    if invoice.state not in _PAYABLE:
        raise RuleBrokenError(
            "cannot be paid back", field="invoice", value=invoice.state.value, code="invoice_not_refundable"
        )


def is_paid(uow: UnitOfWork, key: str) -> bool:
    """Whether a payment by this key is recorded."""
    return SettlementRepository(uow).find(f"payment:{key}") is not None


def is_refunded(uow: UnitOfWork, key: str) -> bool:
    """Whether a refund by this key is recorded."""
    return SettlementRepository(uow).find(f"refund:{key}") is not None


def credit_left(uow: UnitOfWork, customer: str, asset: str, awaited: Iterable[tuple[str, int]] = ()) -> int:
    """Return a customer's credit in whole minor units, less what refunds on their way (invoice, minor units) take."""
    credit = _credit_minor(uow, customer, asset)
    for _, amount_minor in awaited:
        credit -= amount_minor if amount_minor <= credit else 0
    return credit


def cash_left(uow: UnitOfWork, invoice: Invoice) -> int:
    """Return what came in for an invoice, too much included, and has not gone back, in minor units."""
    settlements = SettlementRepository(uow).of(invoice.id)
    return _cash_minor(uow, invoice.currency, settlements)


def is_covered(uow: UnitOfWork, customer: str, asset: str, awaited: Iterable[tuple[str, int]]) -> bool:
    """Whether refunds on their way (invoice, minor units) can be recorded one after the other, as `pay_back` does.

    What went back beyond what was paid of one invoice counts against the customer's others.
    """
    credit = _credit_minor(uow, customer, asset)
    paid = _paid(uow, customer, asset)
    for invoice, amount_minor in awaited:
        if amount_minor <= credit:
            credit -= amount_minor
        elif amount_minor <= paid[invoice]:
            paid[invoice] -= amount_minor
        else:
            return False
    return credit + paid.total() >= 0


def grant_customer_credit(
    uow: UnitOfWork, customer: str, asset: str, money: Money, recorded_at: datetime
) -> list[Invoice]:
    """Take in money for no invoice in particular: it pays what is open, oldest first. Returns what it paid."""
    money.check_positive(asset)
    units = money.amount_minor * currency(asset).units_per_minor
    taken = Overpayment(customer, asset, money.processor, units)
    posted = ledger.post(uow, [journal(f"credit_in:{money.key}", money.at, taken)], recorded_at=recorded_at)
    if not posted[0].is_new:
        return []
    return spend_credit(uow, customer, asset, money.key, money.at, recorded_at)


@dataclass(frozen=True, slots=True)
class Debt:
    """An issued invoice that is not paid, in minor units: what is `open` of it, and what was `given_up`."""

    invoice: Invoice
    open: int
    given_up: int

    @property
    def total(self) -> int:
        """All that was not paid."""
        return self.open + self.given_up


def debts(uow: UnitOfWork, customer: str, asset: str) -> list[Debt]:
    """Return what a customer has not paid, oldest first, with what was written off and not recovered."""
    issued = [each for each in InvoiceRepository(uow).of_customer(customer, asset) if each.state in _PAYABLE]
    found = [Debt(each, max(each.open_minor, 0), _written_off(uow, each)) for each in issued]
    return [each for each in found if each.total]


def spend_credit(
    uow: UnitOfWork,
    customer: str,
    asset: str,
    cause: str,
    at: datetime,
    recorded_at: datetime,
    *,
    kept_minor: int = 0,
    recovers: bool = False,
) -> list[Invoice]:
    """Let a customer's credit, but for what is kept, pay what is open, oldest first. Returns what it paid.

    `recovers`: what was written off as well. The same `cause` again pays nothing twice.
    """
    journals.lock(uow)
    left = _credit_minor(uow, customer, asset) - kept_minor
    paid = []
    for debt in debts(uow, customer, asset) if left > 0 else ():
        used = min(left, debt.total if recovers else debt.open)
        key = f"credit:{cause}:{debt.invoice.id}"
        if used > 0 and SettlementRepository(uow).find(key) is None:
            paid.append(_pay_by_credit(uow, debt, key, used, at, recorded_at))
            left -= used
    return paid


def _pay_by_credit(uow: UnitOfWork, debt: Debt, key: str, used: int, at: datetime, recorded_at: datetime) -> Invoice:
    found = _locked(uow, debt.invoice.id)
    back = max(used - debt.open, 0)
    if back:
        found = _recover(uow, found, key, at, back, recorded_at)
    applied = CreditApplied(found.customer, found.currency, used * currency(found.currency).units_per_minor)
    ledger.post(uow, [journal(key, at, applied)], recorded_at=recorded_at)
    settlement = Settlement(found.id, key, "credit", used, at)
    return _settle(uow, found, settlement, recorded_at, lost=debt.given_up - back)


def _locked(uow: UnitOfWork, invoice: str) -> Invoice:
    journals.lock(uow)
    repository = InvoiceRepository(uow)
    repository.lock(repository.get(invoice).id)
    return repository.get(invoice)


def _credit_minor(uow: UnitOfWork, customer: str, asset: str) -> int:
    """Return the customer's credit in whole minor units."""
    return -ledger.balance(uow, Account("customer_credit", asset, customer)) // currency(asset).units_per_minor


def _paid(uow: UnitOfWork, customer: str, asset: str) -> Counter[str]:
    """Return what was paid and not paid back of each of a customer's invoices, in minor units.

    What went back out of credit settles nothing: it counts as far as it exceeds what was overpaid of the same invoice.
    What was credited is not there to be paid back, as it became credit, or settled what was not paid.
    """
    repository = SettlementRepository(uow)
    paid = repository.paid(customer, asset)
    credited = CreditNoteRepository(uow).totals(customer, asset)
    for invoice, settlements in repository.of_invoices(paid).items():
        stands = sum(each.amount_minor for each in settlements if each.kind not in _GIVEN_UP) - credited[invoice]
        paid[invoice] = min(paid[invoice], max(stands, 0))
        if any(each.kind == "refund" and not each.amount_minor for each in settlements):
            paid[invoice] = min(paid[invoice], max(_cash_minor(uow, asset, settlements), 0))
    return paid


def _cash_minor(uow: UnitOfWork, asset: str, settlements: Iterable[Settlement]) -> int:
    """Return what came in by some settlements and has not gone back, in minor units."""
    posted = [ledger.find(uow, each.key) for each in settlements if each.kind in MONEY_KINDS]
    legs = [leg for each in posted if each is not None for leg in each.draft.legs]
    cash = sum(leg.amount for leg in legs if leg.account.code == "processor_clearing")
    return cash // currency(asset).units_per_minor


def _is_recorded(uow: UnitOfWork, invoice: Invoice, key: str, money: Money, *, sign: int) -> bool:
    """Whether the settlement of a key is recorded. Raises ConflictError where it is another one.

    How much of the money settled the invoice says nothing of the amount: the journal does, and where it moved.
    """
    known = SettlementRepository(uow).find(key)
    if known is None:
        return False
    units = sign * money.amount_minor * currency(invoice.currency).units_per_minor
    leg = Leg(Account("processor_clearing", invoice.currency, "", money.processor), units)
    posted = ledger.find(uow, known.key)
    if known.invoice != invoice.id or posted is None or leg not in posted.draft.legs:
        raise ConflictError("is recorded for something else", field="key", value=money.key, code="settlement_conflict")
    return True


def _written_off(uow: UnitOfWork, invoice: Invoice) -> int:
    """Return what of an invoice was given up and has not been recovered, in minor units."""
    if invoice.state is not InvoiceState.UNCOLLECTIBLE:
        return 0
    settlements = SettlementRepository(uow).of(invoice.id)
    return sum(each.amount_minor for each in settlements if each.kind in _GIVEN_UP)


def _recover(
    uow: UnitOfWork,
    invoice: Invoice,
    cause: str,
    at: datetime,
    back: int,
    recorded_at: datetime,
) -> Invoice:
    """Let a part of a written-off debt stand again before it is paid."""
    units = back * currency(invoice.currency).units_per_minor
    recovered = Recovery(invoice.customer, invoice.currency, units)
    key = f"recovery:{cause}"
    ledger.post(uow, [journal(key, at, recovered)], recorded_at=recorded_at)
    SettlementRepository(uow).add([Settlement(invoice.id, key, "recovery", -back, at)], recorded_at)
    InvoiceRepository(uow).move(invoice.id, InvoiceState.UNCOLLECTIBLE, invoice.settled_minor - back)
    return InvoiceRepository(uow).get(invoice.id)


def _settle(
    uow: UnitOfWork,
    invoice: Invoice,
    settlement: Settlement,
    recorded_at: datetime,
    *,
    lost: int = 0,
) -> Invoice:
    """Record a settlement and where it leaves the invoice, of which `lost` is still given up."""
    SettlementRepository(uow).add([settlement], recorded_at)
    settled = invoice.settled_minor + settlement.amount_minor
    if invoice.state is InvoiceState.UNCOLLECTIBLE and (lost or settled < invoice.total_minor):
        state = InvoiceState.UNCOLLECTIBLE
    else:
        state = InvoiceState.PAID if settled >= invoice.total_minor else InvoiceState.FINALISED
    InvoiceRepository(uow).move(invoice.id, state, settled)
    after = InvoiceRepository(uow).get(invoice.id)
    announce(uow, invoice_events(after, before=invoice.state, by=settlement.key), recorded_at)
    return after
