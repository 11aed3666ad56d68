"""The ledger: posts balanced journals, exactly once each, and answers what stands where, now or as once known.

    posted = ledger.post(uow, [draft, ...], recorded_at=now)

`post` serialises the writers of one tenant, as each journal carries the hash of the one before; batches make that
cheap. It belongs in the transaction of the fact it records: both are there afterwards, or neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from billing.chart_of_accounts import Account, kind_of
from billing.journals import (
    LEG_END,
    Journal,
    JournalDraft,
    accounts_of,
    canonical_form,
    chain,
    check_account,
    check_draft,
    leg_head,
    read_canonical,
    reversal,
)
from billing.repositories import journals as rows
from billing.repositories.journals import AccountState, Batch, Head, StoredJournal
from billing.unit_of_work import UnitOfWork
from models.column_types import utc_text
from models.values.errors import ConflictError, LimitExceededError, NotFoundError, RuleBrokenError

_SQLITE_LIMIT = 2**63 - 1
_POSTGRESQL_LIMIT = 10**38 - 1


class JournalConflictError(ConflictError):
    """A journal key was used again for other content."""

    code = "journal_conflict"


class InsufficientBalanceError(RuleBrokenError):
    """A posting would take more from a bounded account than it holds."""

    code = "insufficient_balance"


class Posted(NamedTuple):
    """Outcome for one draft: the journal's number, and whether this call wrote it or found it."""

    journal: int
    is_new: bool


def post(uow: UnitOfWork, drafts: Sequence[JournalDraft], *, recorded_at: datetime) -> list[Posted]:
    """Post `drafts` in order, all or none, and return one outcome each.

    A key that is already posted with the same content is answered with the existing journal. `recorded_at` is
    moved up to that of the last journal where it lies before it, so that numbers and times run the same way.

    Raises JournalConflictError (key reused for other content), UnbalancedJournalError, InvalidValueError (account or
    asset unknown), InsufficientBalanceError (a bounded account would fall below zero), LimitExceededError (a sum
    beyond what the database keeps exactly). Nothing is written then.
    """
    for draft in drafts:
        check_draft(draft)
    rows.lock(uow)
    known = rows.by_key(uow, [draft.key for draft in drafts])
    fresh: dict[str, JournalDraft] = {}
    for draft in drafts:
        earlier = fresh.get(draft.key) or _draft_of(known.get(draft.key))
        if earlier is None:
            fresh[draft.key] = draft
        elif earlier != draft:
            raise JournalConflictError("key is posted with other content", field="key", value=draft.key)
    numbers = {key: stored.id for key, stored in known.items()}
    if fresh:
        numbers |= _append(uow, list(fresh.values()), recorded_at)
    unreported = set(fresh)
    outcomes = []
    for draft in drafts:
        outcomes.append(Posted(numbers[draft.key], draft.key in unreported))
        unreported.discard(draft.key)
    return outcomes


def reverse(uow: UnitOfWork, key: str, *, reversal_key: str, effective_at: datetime, recorded_at: datetime,
            memo: str) -> Posted:  # fmt: skip
    """Take back the journal `key` by its mirror image. Raises NotFoundError, or ConflictError where it is reversed."""
    rows.lock(uow)
    journal = find(uow, key)
    if journal is None:
        raise NotFoundError("no such journal", field="key", value=key)
    taken_back = rows.reversed_by(uow, journal.id)
    if taken_back not in {None, reversal_key}:
        raise ConflictError("is reversed already", field="key", value=key, code="already_reversed")
    return post(uow, [reversal(journal, reversal_key, effective_at, memo)], recorded_at=recorded_at)[0]


def find(uow: UnitOfWork, key: str) -> Journal | None:
    """Return the journal with `key`."""
    stored = rows.by_key(uow, [key]).get(key)
    return None if stored is None else read(stored)


def read(stored: StoredJournal) -> Journal:
    """Return the journal that a row holds."""
    number, draft, recorded_at = read_canonical(stored.canonical)
    return Journal(number, draft, recorded_at, stored.hash.hex())


def head(uow: UnitOfWork) -> Head:
    """Return number and hash of the last journal."""
    return rows.head(uow)


def balance(uow: UnitOfWork, account: Account) -> int:
    """Return an account's balance in ledger units, debit positive; 0 for an account never posted to."""
    state = rows.account_states(uow, [account]).get(account)
    return 0 if state is None else state.balance


def journals(uow: UnitOfWork, *, after: int = 0, limit: int = 100) -> list[Journal]:
    """Return up to `limit` journals with numbers beyond `after`, in order."""
    return [read(stored) for stored in rows.after(uow, after, limit)]


@dataclass(frozen=True, slots=True)
class AsKnown:
    """Two clocks: count what was effective before one instant, as far as it was recorded up to another.

    None leaves a clock out. A month that ends at `e` is `AsKnown(effective_before=e)`; what its books showed at the
    time `t` adds `recorded_until=t`.
    """

    effective_before: datetime | None = None
    recorded_until: datetime | None = None


def balances(
    uow: UnitOfWork, when: AsKnown = AsKnown(), *, code: str | None = None, party: str | None = None
) -> dict[Account, int]:
    """Return the balance of every account (of `code`, of `party`) as known then, from the entries themselves."""
    conditions = [
        None if when.effective_before is None else rows.JOURNAL.c.effective_at < when.effective_before,
        None if when.recorded_until is None else rows.JOURNAL.c.recorded_at <= when.recorded_until,
        None if code is None else rows.ACCOUNT.c.code == code,
        None if party is None else rows.ACCOUNT.c.party == party,
    ]
    return rows.sums(uow, [condition for condition in conditions if condition is not None])


def _draft_of(stored: StoredJournal | None) -> JournalDraft | None:
    return None if stored is None else read_canonical(stored.canonical)[1]


def _append(uow: UnitOfWork, drafts: list[JournalDraft], recorded_at: datetime) -> dict[str, int]:
    """Write `drafts` as numbered, chained journals; return key -> number."""
    states, opened = _accounts(uow, drafts)
    _move(uow, drafts, states)
    rows.open_accounts(uow, opened)
    last = rows.head(uow)
    recorded = max(utc_text(recorded_at), last.recorded_at)
    number, previous = last.journal, last.hash
    times: dict[datetime, str] = {}
    known = {account: (state.id, leg_head(account)) for account, state in states.items()}
    form = canonical_form(uow.tenant)
    batch = Batch()
    numbers = {}
    for draft in drafts:
        number += 1
        effective = times.get(draft.effective_at) or times.setdefault(draft.effective_at, utc_text(draft.effective_at))
        legs = []
        for leg, (account, amount) in enumerate(draft.legs):
            account_id, head_text = known[account]
            legs.append(f"{head_text}{amount}")
            batch.entries.append((number, leg, account_id, account.asset, amount))
        columns = (number, draft.key, draft.kind, effective, recorded, draft.reverses, draft.memo)
        stored = form(*columns, LEG_END.join(legs))
        following = chain(previous, stored)
        batch.journals.append((*columns, stored))
        batch.seals.append((number, previous, following))
        numbers[draft.key] = number
        previous = following
    rows.append(uow, batch)
    rows.write_balances(uow, states.values())
    return numbers


def _accounts(
    uow: UnitOfWork, drafts: list[JournalDraft]
) -> tuple[dict[Account, AccountState], dict[Account, AccountState]]:
    """Return the state of every account the drafts touch, and those among them that are to be opened."""
    wanted = sorted(accounts_of(drafts))
    states = rows.account_states(uow, wanted)
    missing = [account for account in wanted if account not in states]
    for account in missing:
        check_account(account)
    first = rows.last_account(uow) + 1 if missing else 0
    opened = {account: AccountState(first + i, 0) for i, account in enumerate(missing)}
    return states | opened, opened


def _move(uow: UnitOfWork, drafts: list[JournalDraft], states: dict[Account, AccountState]) -> None:
    """Add the legs to the balances; refuse a sum too large, or a bounded account below zero after a journal."""
    limit = _SQLITE_LIMIT if uow.is_sqlite else _POSTGRESQL_LIMIT
    for draft in drafts:
        for account, amount in draft.legs:
            state = states[account]
            state.balance += amount
            if not -limit <= state.balance <= limit or not -limit <= amount <= limit:
                raise LimitExceededError(
                    "balance would overflow", field="/".join(account), value=state.balance, code="balance_overflow"
                )
        for account, amount in draft.legs:
            if amount > 0 and states[account].balance > 0 and kind_of(account.code).bounded:
                raise InsufficientBalanceError(
                    f"holds too little for {draft.key}", field="/".join(account), value=states[account].balance
                )
