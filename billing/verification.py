"""Verification: whether the ledger is what was posted, to the last bit.

A check reads one unit of work and yields findings; `verify` runs several and keeps the first findings of each. The
chain check recomputes every hash, compares the hashed bytes with journal, entry and account rows, and sums every
journal and every account on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from sys import intern
from typing import NamedTuple

from billing.chart_of_accounts import CHART, Account
from billing.journals import GENESIS, LEG_END, CanonicalForm, canonical_form, leg_head
from billing.repositories import ledger_audit as audit
from billing.repositories.ledger_audit import AuditedEntry, AuditedJournal, AuditedSeal
from billing.unit_of_work import UnitOfWork

_SHOWN_FINDINGS = 5
_NO_ENTRY: AuditedEntry = (-1, -1, -1, "", 0)
_NO_HEAD = ("", "")


class Finding(NamedTuple):
    """One thing that is wrong: the check that says so, the row (`journal 17`), and what is wrong with it."""

    check: str
    row: str
    problem: str


Check = Callable[[UnitOfWork], Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class Report:
    """Outcome of a verification: the journals read, the checks made, and the first findings of each."""

    journals: int
    checks: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        """True where nothing was found."""
        return not self.findings


@dataclass(slots=True)
class _Progress:
    """Where the walk along the chain is: the accounts, what their entries come to, the link last passed."""

    names: dict[int, Account]
    heads: dict[int, tuple[str, str]]
    balances: dict[int, int]
    journals: int = 0
    hash: bytes = GENESIS
    recorded_at: str = ""


def verify(uow: UnitOfWork, checks: Sequence[Check] = ()) -> Report:
    """Verify the ledger of the unit of work's tenant, then run `checks`. Reads one snapshot; writes nothing.

    Where the ledger's own rows are damaged the rest is not looked at: it would say the same again.
    """
    progress = _Progress({}, {}, {})
    findings = _first(_chain(uow, progress))
    if not findings:
        findings = _first(_balances(uow, progress))
        for check in checks:
            findings += _first(check(uow))
    names = ("chain", "balances", *(check.__name__ for check in checks))
    return Report(progress.journals, names, tuple(findings))


def _first(findings: Iterator[Finding]) -> list[Finding]:
    try:
        return list(islice(findings, _SHOWN_FINDINGS))
    except audit.UnreadableLedgerError as error:
        return [Finding("pages", "database", f"cannot be read: {error.rule}")]


def trial_balance(uow: UnitOfWork) -> dict[str, dict[str, int]]:
    """Return asset -> account code -> balance in ledger units, debit positive. Each asset sums to zero."""
    table: dict[str, dict[str, int]] = {}
    names = audit.accounts(uow)
    for number, (balance, _) in audit.stored_balances(uow).items():
        by_code = table.setdefault(names[number].asset, {})
        by_code[names[number].code] = by_code.get(names[number].code, 0) + balance
    return {asset: dict(sorted(by_code.items())) for asset, by_code in sorted(table.items())}


def pages(uow: UnitOfWork) -> Iterator[Finding]:
    """Check the database file itself: pages, and indexes against their tables. Reads the whole file."""
    for problem in audit.damaged_pages(uow):
        yield Finding("pages", "database file", problem)


def _chain(uow: UnitOfWork, progress: _Progress) -> Iterator[Finding]:
    """Yield the first row that is not what was posted, and stop there: all that follows hangs on it."""
    progress.names = audit.accounts(uow)
    try:
        progress.heads = {number: (intern(name.asset), leg_head(name)) for number, name in progress.names.items()}
    except TypeError as error:  # A damaged file gives bytes for text and the like.
        yield Finding("chain", "account", f"holds what cannot stand there: {error}")
        return
    progress.heads[_NO_ENTRY[2]] = _NO_HEAD
    form = canonical_form(uow.tenant)
    last = audit.last_journal(uow)
    for journals, seals, entries in audit.stretches(uow, last):
        try:
            problem = _check_stretch(form, journals, seals, entries, progress)
        except (TypeError, ValueError) as error:
            problem = f"holds what cannot stand there: {error}"
        if problem:
            yield Finding("chain", f"journal {progress.journals}", problem)
            return
    if progress.journals != last:
        yield Finding("chain", f"journal {progress.journals + 1}", "is missing or not sealed")
    strays = audit.strays(uow, last)
    if strays.journals:
        yield Finding("chain", "journal", f"{strays.journals} journals have no number of the chain")
    if strays.entries:
        yield Finding("chain", "entry", f"{strays.entries} entries belong to no journal")
    if strays.seals:
        yield Finding("chain", "journal_seal", f"{strays.seals} seals belong to no journal")


def _check_stretch(
    form: CanonicalForm,
    journals: list[AuditedJournal],
    seals: list[AuditedSeal],
    entries: list[AuditedEntry],
    progress: _Progress,
) -> str:
    """Walk on over some journals. Return what is wrong with journal number `progress.journals`, or nothing."""
    legs_of, unsound = _read_entries(entries, progress)
    expected, passed, latest = progress.journals, progress.hash, progress.recorded_at
    pairs = zip(journals, seals, strict=False)  # The counts tell where one is longer.
    try:
        for (number, key, kind, effective_at, recorded_at, reverses, memo, stored), (seal, previous, sealed) in pairs:
            expected += 1
            if number != expected:
                return "is missing"
            if seal != number:
                return "is not sealed"
            if previous != passed:
                return "its seal does not follow the one before"
            if unsound and number in unsound:
                return unsound[number]
            legs = legs_of.get(number, "")
            rebuilt = form(number, key, kind, effective_at, recorded_at, reverses, memo, legs)
            if rebuilt != stored:
                return "its columns or entries differ from its bytes"
            if sha256(previous + rebuilt).digest() != sealed:
                return "its bytes do not give its hash"
            if recorded_at < latest:
                return "was recorded before the one before"
            passed, latest = sealed, recorded_at
    finally:
        progress.journals = expected
    progress.hash, progress.recorded_at = passed, latest
    return ""


def _read_entries(entries: list[AuditedEntry], progress: _Progress) -> tuple[dict[int, str], dict[int, str]]:
    """Return by journal its legs as they are hashed, and what is wrong with them where something is.

    The amounts are added to the balances of their accounts.
    """
    heads, balances = progress.heads, progress.balances
    legs_of: dict[int, str] = {}
    unsound: dict[int, str] = {}
    current, legs, count = 0, "", 0
    first, total = "", 0  # Nearly every journal is in one asset, `first`.
    others: dict[str, int] = {}
    journal = 0
    try:
        for journal, leg, account, asset, amount in (*entries, _NO_ENTRY):
            account_asset, head = heads[account]
            if journal == current:
                legs = f"{legs}{LEG_END}{head}{amount}"
                count += 1
            else:
                legs_of[current] = legs
                if total or others:
                    if total or any(others.values()):
                        unsound.setdefault(current, "its entries do not sum to zero")
                    others = {}
                current, legs, count, first, total = journal, f"{head}{amount}", 0, account_asset, 0
            if asset != account_asset or leg != count:
                unsound.setdefault(journal, f"entry {leg} has a wrong number, account or asset")
            if account_asset == first:
                total += amount
            else:
                others[account_asset] = others.get(account_asset, 0) + amount
            if account in balances:
                balances[account] += amount
            else:
                balances[account] = amount
    except KeyError as error:  # What stands before is looked at all the same.
        legs_of.setdefault(current, legs)
        unsound.setdefault(journal, f"names account {error}, which is not there")
    except TypeError as error:  # A damaged file gives text for an amount.
        unsound.setdefault(journal, f"holds what cannot stand there: {error}")
    return legs_of, unsound


def _balances(uow: UnitOfWork, progress: _Progress) -> Iterator[Finding]:
    stored = audit.stored_balances(uow)
    for number, name in progress.names.items():
        row = f"account {number} ({'/'.join(name)})"
        balance, bounded = stored.pop(number, (None, False))
        expected = progress.balances.get(number)
        if balance is None or expected is None:
            yield Finding("balances", row, "has no balance" if balance is None else "has no entries")
        elif balance != expected:
            yield Finding("balances", row, f"stores {balance}, its entries sum to {expected}")
        elif name.code not in CHART or bounded != CHART[name.code].bounded:
            yield Finding("balances", row, "is not as the chart of accounts says")
    for number in stored:
        yield Finding("balances", f"account_balance {number}", "its account is missing")
