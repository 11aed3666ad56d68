"""The chart of accounts: every code a rule may post to, what it is, and which side it grows on.

An account is a code, an asset, a party (customer or partner, "" for the company's own) and a detail (feature,
wallet, tax code, "" for none). Amounts are integer ledger units, debit positive. An asset is a currency, a
custom credit, or promotional units of one of them, which are worth nothing until they lower a price.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from models.values.errors import InvalidValueError
from models.values.money import currency

_PROMOTIONAL = "promo:"


class AccountClass(StrEnum):
    """Where an account stands in the statements. Units are counted, not valued: they appear in neither."""

    ASSET = "asset"
    LIABILITY = "liability"
    REVENUE = "revenue"
    EXPENSE = "expense"
    CLEARING = "clearing"
    UNITS = "units"


@dataclass(frozen=True, slots=True)
class AccountKind:
    """One line of the chart. A `bounded` account is what we owe: it may fall to zero, not turn into a debt."""

    code: str
    account_class: AccountClass
    meaning: str
    bounded: bool = False


_A, _L, _R, _E, _C, _U = AccountClass

CHART: dict[str, AccountKind] = {
    kind.code: kind
    for kind in (
        AccountKind("unbilled", _A, "used and earned, not yet invoiced (contract asset), by customer"),
        AccountKind("remainder", _A, "below the minor unit, carried to the customer's next invoice"),
        AccountKind("receivable", _A, "invoiced, not yet paid, by customer"),
        AccountKind("disputed", _A, "held back by a dispute, by customer"),
        AccountKind("bank", _A, "money on our bank account"),
        AccountKind("customer_credit", _L, "money we owe a customer, by customer", bounded=True),
        AccountKind("wallet", _L, "prepaid and unused, by customer and wallet", bounded=True),
        AccountKind("prepaid_usage", _L, "credit used before its invoice, which it pays, by feature", bounded=True),
        AccountKind("deferred_revenue", _L, "billed, not yet earned, by customer", bounded=True),
        AccountKind("tax_payable", _L, "tax charged for the state, by tax code"),
        AccountKind("partner_payable", _L, "a partner's share, not yet paid out, by partner"),
        AccountKind("revenue", _R, "earned, by feature"),
        AccountKind("discount", _R, "given away by promotional credit (contra revenue), by feature"),
        AccountKind("breakage", _R, "prepaid and expired unused"),
        AccountKind("recovered_debt", _R, "written off once, paid after all"),
        AccountKind("processor_fee", _E, "what the payment processor keeps"),
        AccountKind("bad_debt", _E, "written off"),
        AccountKind("dispute_loss", _E, "lost in a dispute"),
        AccountKind("share_cost", _E, "partner shares where we are the principal, by partner"),
        AccountKind("exchange_result", _E, "gain (credit) or loss (debit) from exchange rates"),
        AccountKind("processor_clearing", _C, "collected by the processor, not yet paid out"),
        AccountKind("exchange_clearing", _C, "the other side of money that changed currency, one an asset"),
        AccountKind("units_issued", _U, "credit units handed out and not yet used, the far side"),
        AccountKind("units_held", _U, "credit units a customer holds, by customer and wallet", bounded=True),
    )
}


class Account(NamedTuple):
    """The name of an account. A tuple, as a batch of journals looks up thousands of them."""

    code: str
    asset: str
    party: str = ""
    detail: str = ""


class Leg(NamedTuple):
    """One leg of a journal: `amount` in ledger units of the account's asset, debit positive."""

    account: Account
    amount: int


def promotional(asset: str) -> str:
    """Return the asset of promotional units of `asset`: promo:USD."""
    return _PROMOTIONAL + asset


def check_asset(asset: str) -> str:
    """Return `asset` where it is a currency, a custom credit, or promotional units of one. Else InvalidValueError."""
    currency(asset.removeprefix(_PROMOTIONAL))
    return asset


def kind_of(code: str) -> AccountKind:
    """Return the chart's line for `code`. Raises InvalidValueError for a code that is not in the chart."""
    kind = CHART.get(code)
    if kind is None:
        raise InvalidValueError("is not in the chart of accounts", field="account", value=code, code="unknown_account")
    return kind
