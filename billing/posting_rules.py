# ruff: noqa: D102  `moves` says the same of every rule: what it debits and credits.
"""The posting rules: each a frozen fact and, in `moves`, what it debits and credits. Pure; no database.

    draft = journal("invoice:2026-000017", issued_at, InvoiceInArrears("acme", "USD", net, (("vat", tax),)))

Amounts are integer ledger units of `asset`; a negative amount moves the other way, so that a correction is the
difference only. Several facts may share one journal; each balances by itself, as it is made of moves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, TypeVar, dataclass_transform

from billing.carrying import Parts
from billing.chart_of_accounts import Account, Leg, promotional
from billing.journals import JournalDraft, merged
from models.values.errors import InvalidValueError


class Move(NamedTuple):
    """An amount that leaves `credit` and reaches `debit`; both accounts have one asset."""

    debit: Account
    credit: Account
    units: int


class Fact(ABC):
    """What happened. Its class is the rule."""

    __slots__ = ()

    @abstractmethod
    def moves(self) -> Iterator[Move]:
        """Say what is debited and what is credited."""


F = TypeVar("F", bound=Fact)
RULES: dict[str, type[Fact]] = {}
"""Every rule by its name, which is also the kind of its journals."""


@dataclass_transform(frozen_default=True)
def _rule(fact: type[F]) -> type[F]:
    frozen = dataclass(frozen=True, slots=True)(fact)
    RULES[rule_name(frozen)] = frozen
    return frozen


def rule_name(fact: type[Fact]) -> str:
    """InvoiceInArrears -> invoice_in_arrears."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in fact.__name__).removeprefix("_")


def legs_of(*facts: Fact) -> tuple[Leg, ...]:
    """Return the legs of `facts`, summed by account, without those that come to nothing."""
    moves = [move for fact in facts for move in fact.moves()]
    return merged(leg for debit, credit, units in moves for leg in (Leg(debit, units), Leg(credit, -units)))


def journal(key: str, effective_at: datetime, *facts: Fact, memo: str = "") -> JournalDraft:
    """Return the journal of one or more facts; the first names its kind. Facts that move nothing leave no legs.

    Raises InvalidValueError where there are none.
    """
    if not facts:
        raise InvalidValueError("needs at least one fact", field="facts", value=key, code="no_facts")
    return JournalDraft(key, rule_name(type(facts[0])), effective_at, legs_of(*facts), memo)


@dataclass(frozen=True, slots=True)
class _OfCustomer(Fact):
    customer: str
    asset: str
    units: int


@dataclass(frozen=True, slots=True)
class _NetAndTaxes(Fact):
    customer: str
    asset: str
    net_units: int
    taxes: Parts = ()


@dataclass(frozen=True, slots=True)
class _AtProcessor(Fact):
    customer: str
    asset: str
    processor: str
    units: int


@dataclass(frozen=True, slots=True)
class _Processor(Fact):
    asset: str
    processor: str
    units: int


@dataclass(frozen=True, slots=True)
class _OfWallet(Fact):
    customer: str
    asset: str
    wallet: str
    units: int


@dataclass(frozen=True, slots=True)
class _Burn(Fact):
    customer: str
    asset: str
    wallet: str
    feature: str
    units: int


@dataclass(frozen=True, slots=True)
class _Share(Fact):
    partner: str
    asset: str
    feature: str
    units: int


# Usage and invoices.


@_rule
class UsageAccrual(Fact):
    """Usage is priced: earned, not yet invoiced."""

    customer: str
    asset: str
    by_feature: Parts

    def moves(self) -> Iterator[Move]:
        for feature, units in self.by_feature:
            yield Move(Account("unbilled", self.asset, self.customer), _revenue(self.asset, feature), units)


@_rule
class RemainderCarry(_OfCustomer):
    """What an invoice leaves below the minor unit waits for the next one; negative when that invoice takes it up."""

    def moves(self) -> Iterator[Move]:
        yield Move(
            Account("remainder", self.asset, self.customer), Account("unbilled", self.asset, self.customer), self.units
        )


@_rule
class InvoiceInArrears(_NetAndTaxes):
    """Used and accrued before, now invoiced. `net_units` is a whole number of minor units."""

    def moves(self) -> Iterator[Move]:
        receivable = _receivable(self.asset, self.customer)
        yield Move(receivable, Account("unbilled", self.asset, self.customer), self.net_units)
        yield from _taxes(receivable, self.taxes)


@_rule
class InvoiceInAdvance(Fact):
    """Invoiced before it is earned."""

    customer: str
    asset: str
    by_feature: Parts
    taxes: Parts = ()

    def moves(self) -> Iterator[Move]:
        receivable = _receivable(self.asset, self.customer)
        for feature, units in self.by_feature:
            yield Move(receivable, _deferred(self.asset, self.customer, feature), units)
        yield from _taxes(receivable, self.taxes)


@_rule
class Tax(Fact):
    """Tax by itself, where it is charged or corrected apart from a line."""

    customer: str
    asset: str
    taxes: Parts

    def moves(self) -> Iterator[Move]:
        yield from _taxes(_receivable(self.asset, self.customer), self.taxes)


@_rule
class TaxRemittance(Fact):
    """Tax is paid on to the state."""

    asset: str
    tax: str
    units: int

    def moves(self) -> Iterator[Move]:
        yield Move(Account("tax_payable", self.asset, "", self.tax), Account("bank", self.asset), self.units)


@_rule
class Recognition(Fact):
    """A part of what was invoiced in advance is earned (ASC 606 / IFRS 15)."""

    customer: str
    asset: str
    feature: str
    units: int

    def moves(self) -> Iterator[Move]:
        yield Move(_deferred(self.asset, self.customer, self.feature), _revenue(self.asset, self.feature), self.units)


@_rule
class CreditNote(Fact):
    """An invoice is reduced: earned and unearned parts and their tax, first off what is open, the rest as credit.

    `receivable_units`: how much of the gross total was still open on the invoice.
    """

    customer: str
    asset: str
    earned: Parts
    deferred: Parts
    taxes: Parts
    receivable_units: int

    def moves(self) -> Iterator[Move]:
        credit = Account("customer_credit", self.asset, self.customer)
        for feature, units in self.earned:
            yield Move(_revenue(self.asset, feature), credit, units)
        for feature, units in self.deferred:
            yield Move(_deferred(self.asset, self.customer, feature), credit, units)
        for tax, units in self.taxes:
            yield Move(Account("tax_payable", self.asset, "", tax), credit, units)
        yield Move(credit, _receivable(self.asset, self.customer), self.receivable_units)


@_rule
class WriteOff(_NetAndTaxes):
    """A debt is given up; its tax comes back where the law allows."""

    def moves(self) -> Iterator[Move]:
        receivable = _receivable(self.asset, self.customer)
        yield Move(Account("bad_debt", self.asset), receivable, self.net_units)
        for tax, units in self.taxes:
            yield Move(Account("tax_payable", self.asset, "", tax), receivable, units)


@_rule
class Recovery(_NetAndTaxes):
    """A debt that was given up stands again, as it is paid after all; the payment is its own fact."""

    def moves(self) -> Iterator[Move]:
        receivable = _receivable(self.asset, self.customer)
        yield Move(receivable, Account("recovered_debt", self.asset), self.net_units)
        yield from _taxes(receivable, self.taxes)


# Money in and out.


@_rule
class Payment(_AtProcessor):
    """A customer pays what was invoiced."""

    def moves(self) -> Iterator[Move]:
        yield Move(_clearing(self.asset, self.processor), _receivable(self.asset, self.customer), self.units)


@_rule
class Overpayment(_AtProcessor):
    """A customer pays more than was open; it stays theirs."""

    def moves(self) -> Iterator[Move]:
        credit = Account("customer_credit", self.asset, self.customer)
        yield Move(_clearing(self.asset, self.processor), credit, self.units)


@_rule
class CreditApplied(_OfCustomer):
    """A customer's credit pays an invoice."""

    def moves(self) -> Iterator[Move]:
        credit = Account("customer_credit", self.asset, self.customer)
        yield Move(credit, _receivable(self.asset, self.customer), self.units)


@_rule
class ProcessorFee(_Processor):
    """The processor keeps its fee."""

    def moves(self) -> Iterator[Move]:
        fee = Account("processor_fee", self.asset, "", self.processor)
        yield Move(fee, _clearing(self.asset, self.processor), self.units)


@_rule
class ProcessorFeeReturned(_Processor):
    """The processor gives a fee back, as of a dispute that was won."""

    def moves(self) -> Iterator[Move]:
        fee = Account("processor_fee", self.asset, "", self.processor)
        yield Move(_clearing(self.asset, self.processor), fee, self.units)


@_rule
class Payout(_Processor):
    """The processor pays out to our bank account."""

    def moves(self) -> Iterator[Move]:
        yield Move(Account("bank", self.asset), _clearing(self.asset, self.processor), self.units)


@_rule
class Refund(_AtProcessor):
    """Money goes back out of the credit that a credit note or an overpayment left."""

    def moves(self) -> Iterator[Move]:
        credit = Account("customer_credit", self.asset, self.customer)
        yield Move(credit, _clearing(self.asset, self.processor), self.units)


@_rule
class RefundReopening(_AtProcessor):
    """Money goes back without a credit note: the invoice is open again."""

    def moves(self) -> Iterator[Move]:
        yield Move(_receivable(self.asset, self.customer), _clearing(self.asset, self.processor), self.units)


@_rule
class DisputeOpened(_AtProcessor):
    """A payment is disputed: the processor holds the money back."""

    def moves(self) -> Iterator[Move]:
        yield Move(Account("disputed", self.asset, self.customer), _clearing(self.asset, self.processor), self.units)


@_rule
class DisputeWon(_AtProcessor):
    """The money held back is returned."""

    def moves(self) -> Iterator[Move]:
        yield Move(_clearing(self.asset, self.processor), Account("disputed", self.asset, self.customer), self.units)


@_rule
class DisputeLost(_OfCustomer):
    """The money held back is gone."""

    def moves(self) -> Iterator[Move]:
        yield Move(Account("dispute_loss", self.asset), Account("disputed", self.asset, self.customer), self.units)


# Wallets.


@_rule
class PrepaidGrant(Fact):
    """A customer pays ahead."""

    customer: str
    asset: str
    wallet: str
    processor: str
    units: int

    def moves(self) -> Iterator[Move]:
        yield Move(_clearing(self.asset, self.processor), _wallet(self.asset, self.customer, self.wallet), self.units)


@_rule
class PrepaidGrantInvoiced(Fact):
    """Prepaid credit is sold on an invoice."""

    customer: str
    asset: str
    wallet: str
    units: int
    taxes: Parts = ()

    def moves(self) -> Iterator[Move]:
        receivable = _receivable(self.asset, self.customer)
        yield Move(receivable, _wallet(self.asset, self.customer, self.wallet), self.units)
        yield from _taxes(receivable, self.taxes)


@_rule
class PrepaidBurn(_Burn):
    """Prepaid credit is used for usage before its invoice; it waits there for that invoice."""

    def moves(self) -> Iterator[Move]:
        used = _prepaid_usage(self.asset, self.customer, self.feature)
        yield Move(_wallet(self.asset, self.customer, self.wallet), used, self.units)


@_rule
class PrepaidUsageApplied(Fact):
    """What credit was used for before is invoiced, and paid by it."""

    customer: str
    asset: str
    by_feature: Parts

    def moves(self) -> Iterator[Move]:
        for feature, units in self.by_feature:
            used = _prepaid_usage(self.asset, self.customer, feature)
            yield Move(used, _receivable(self.asset, self.customer), units)


@_rule
class PrepaidUse(Fact):
    """Prepaid credit pays for usage that was priced in credits and is earned with its use."""

    customer: str
    asset: str
    wallet: str
    feature: str
    units: int

    def moves(self) -> Iterator[Move]:
        yield Move(_wallet(self.asset, self.customer, self.wallet), _revenue(self.asset, self.feature), self.units)


@_rule
class PrepaidApplied(_OfWallet):
    """Prepaid credit pays an invoice."""

    def moves(self) -> Iterator[Move]:
        yield Move(_wallet(self.asset, self.customer, self.wallet), _receivable(self.asset, self.customer), self.units)


@_rule
class PrepaidExpiry(_OfWallet):
    """Prepaid credit expires unused: breakage."""

    def moves(self) -> Iterator[Move]:
        yield Move(_wallet(self.asset, self.customer, self.wallet), Account("breakage", self.asset), self.units)


@_rule
class PrepaidRefund(Fact):
    """Unused prepaid credit is paid back."""

    customer: str
    asset: str
    wallet: str
    processor: str
    units: int

    def moves(self) -> Iterator[Move]:
        yield Move(_wallet(self.asset, self.customer, self.wallet), _clearing(self.asset, self.processor), self.units)


@_rule
class CreditUnits(_OfWallet):
    """Units of a custom credit are handed out; negative when they are used or expire. Their price is its own fact."""

    def moves(self) -> Iterator[Move]:
        yield _units(self.asset, self.customer, self.wallet, self.units)


@_rule
class PromotionalGrant(_OfWallet):
    """Promotional credit is handed out, or, negative, expires: units only, as nothing is owed for it."""

    def moves(self) -> Iterator[Move]:
        yield _units(promotional(self.asset), self.customer, self.wallet, self.units)


@_rule
class PromotionalBurn(_Burn):
    """Promotional credit is used for usage before its invoice: revenue we give up."""

    def moves(self) -> Iterator[Move]:
        yield _units(promotional(self.asset), self.customer, self.wallet, -self.units)
        discount = Account("discount", self.asset, "", self.wallet)
        yield Move(discount, _prepaid_usage(self.asset, self.customer, self.feature), self.units)


@_rule
class PromotionalApplied(_OfWallet):
    """Promotional credit pays an invoice: revenue we give up."""

    def moves(self) -> Iterator[Move]:
        yield _units(promotional(self.asset), self.customer, self.wallet, -self.units)
        discount = Account("discount", self.asset, "", self.wallet)
        yield Move(discount, _receivable(self.asset, self.customer), self.units)


# Partners and currencies.


@_rule
class PartnerShareAsPrincipal(_Share):
    """We sell and owe a partner a share; negative when a credit note claws it back."""

    def moves(self) -> Iterator[Move]:
        cost = Account("share_cost", self.asset, self.partner, self.feature)
        yield Move(cost, Account("partner_payable", self.asset, self.partner), self.units)


@_rule
class PartnerShareAsAgent(_Share):
    """The partner sells through us: its share was never our revenue; negative when a credit note claws it back."""

    def moves(self) -> Iterator[Move]:
        payable = Account("partner_payable", self.asset, self.partner)
        yield Move(_revenue(self.asset, self.feature), payable, self.units)


@_rule
class PartnerPayout(Fact):
    """A partner is paid."""

    partner: str
    asset: str
    units: int

    def moves(self) -> Iterator[Move]:
        yield Move(Account("partner_payable", self.asset, self.partner), Account("bank", self.asset), self.units)


@_rule
class Exchange(Fact):
    """Money changes currency at the processor: each side against its own clearing account, never one to the other."""

    processor: str
    sold_asset: str
    sold_units: int
    bought_asset: str
    bought_units: int

    def moves(self) -> Iterator[Move]:
        sold, bought = Account("exchange_clearing", self.sold_asset), Account("exchange_clearing", self.bought_asset)
        yield Move(sold, _clearing(self.sold_asset, self.processor), self.sold_units)
        yield Move(_clearing(self.bought_asset, self.processor), bought, self.bought_units)


@_rule
class ExchangeRevaluation(Fact):
    """What a clearing account is worth has changed: a gain where positive."""

    asset: str
    units: int

    def moves(self) -> Iterator[Move]:
        yield Move(Account("exchange_clearing", self.asset), Account("exchange_result", self.asset), self.units)


def _revenue(asset: str, feature: str) -> Account:
    return Account("revenue", asset, "", feature)


def _receivable(asset: str, customer: str) -> Account:
    return Account("receivable", asset, customer)


def _prepaid_usage(asset: str, customer: str, feature: str) -> Account:
    return Account("prepaid_usage", asset, customer, feature)


def _deferred(asset: str, customer: str, feature: str) -> Account:
    return Account("deferred_revenue", asset, customer, feature)


def _clearing(asset: str, processor: str) -> Account:
    return Account("processor_clearing", asset, "", processor)


def _taxes(receivable: Account, taxes: Parts) -> Iterator[Move]:
    for tax, units in taxes:
        yield Move(receivable, Account("tax_payable", receivable.asset, "", tax), units)


def _wallet(asset: str, customer: str, wallet: str) -> Account:
    return Account("wallet", asset, customer, wallet)


def _units(asset: str, customer: str, wallet: str, units: int) -> Move:
    return Move(Account("units_issued", asset, customer, wallet), Account("units_held", asset, customer, wallet), units)
