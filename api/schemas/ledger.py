"""The ledger as it is shown: amounts in major units, debit positive."""

from __future__ import annotations

from typing import TypedDict

from billing.journals import Journal
from models.values.money import currency, from_ledger_units
from models.values.quantity import plain


class AccountBalanceView(TypedDict):
    """What all accounts of one code come to in one asset."""

    asset: str
    account: str
    balance: str


class TrialBalanceView(TypedDict):
    """Balances by asset and account code; each asset sums to zero."""

    items: list[AccountBalanceView]


class LegView(TypedDict):
    """One entry of a journal."""

    code: str
    asset: str
    party: str
    detail: str
    amount: str


class JournalView(TypedDict):
    """A sealed journal; `reverses` is the number of the one that it takes back."""

    id: int
    key: str
    kind: str
    effective_at: str
    recorded_at: str
    reverses: int | None
    memo: str
    hash: str
    legs: list[LegView]


class JournalPage(TypedDict):
    """A page of journals, in the order in which they were sealed."""

    items: list[JournalView]
    next_cursor: str | None


class LedgerFindingView(TypedDict):
    """One thing that is wrong: the check that says so, the row, and what is wrong with it."""

    check: str
    row: str
    problem: str


class LedgerVerdictView(TypedDict):
    """What a verification read and found."""

    sound: bool
    journals: int
    checks: list[str]
    findings: list[LedgerFindingView]


def journal_document(journal: Journal) -> JournalView:
    """Show a journal."""
    draft = journal.draft
    return {
        "id": journal.id,
        "key": draft.key,
        "kind": draft.kind,
        "effective_at": draft.effective_at.isoformat(),
        "recorded_at": journal.recorded_at.isoformat(),
        "reverses": draft.reverses,
        "memo": draft.memo,
        "hash": journal.hash,
        "legs": [
            {
                "code": account.code,
                "asset": account.asset,
                "party": account.party,
                "detail": account.detail,
                "amount": major(units, account.asset),
            }
            for account, units in draft.legs
        ],
    }


def major(units: int, asset: str) -> str:
    """Return ledger units of an asset, also one of an FX clearing account, in major units."""
    return plain(from_ledger_units(units, currency(asset.rpartition(":")[2])))
