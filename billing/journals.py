"""Journals as values: the draft a rule makes, the checks it must pass, the bytes that are hashed.

The hash of journal n is SHA-256(hash of n-1, canonical bytes of n); the first follows 32 zero bytes. Canonical
bytes are RFC 8785 JSON of the form below (algorithm version 1), with amounts as strings and accounts by name, so
that a copy of the journals alone can be read and checked without this program.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from json.encoder import encode_basestring as _quoted

import msgspec

from billing.chart_of_accounts import Account, Leg, check_asset, kind_of
from models.values.errors import InvalidValueError, RuleBrokenError

ALGORITHM = 1
GENESIS = bytes(32)
MAX_KEY_CHARS = 200
MAX_KIND_CHARS = 40
MAX_MEMO_CHARS = 500
LEG_END = '"],'
"""What stands between the amount of a leg and the head of the next one."""
_MIN_LEGS = 2

CanonicalForm = Callable[[int, str, str, str, str, int | None, str, str], bytes]
"""Number, key, kind, effective and recording time as `utc_text`, reversed number, memo and legs -> hashed bytes."""


class UnbalancedJournalError(RuleBrokenError):
    """The legs of a journal do not sum to zero in one of its assets."""

    code = "unbalanced_journal"


@dataclass(frozen=True, slots=True)
class JournalDraft:
    """A journal to be posted.

    `key`: unique for ever, made from what caused the journal (`invoice:2026-000017`, `payment:pi_123`), so that
    posting again changes nothing. `effective_at`: when it counts. `reverses`: id of the journal it takes back.
    """

    key: str
    kind: str
    effective_at: datetime
    legs: tuple[Leg, ...]
    memo: str = ""
    reverses: int | None = None


@dataclass(frozen=True, slots=True)
class Journal:
    """A journal as posted: its draft with number, time of recording and hash."""

    id: int
    draft: JournalDraft
    recorded_at: datetime
    hash: str


class _Form(msgspec.Struct, frozen=True):
    algorithm: int
    effective_at: str
    id: int
    key: str
    kind: str
    legs: list[tuple[str, str, str, str, str]]
    memo: str
    recorded_at: str
    reverses: int | None
    tenant: str


_DECODER = msgspec.json.Decoder(_Form)


def check_draft(draft: JournalDraft) -> None:
    """Refuse what can never be posted: unknown accounts, fewer than two legs, zero legs, a sum that is not zero."""
    if not 0 < len(draft.key) <= MAX_KEY_CHARS:
        raise InvalidValueError(f"must be 1 to {MAX_KEY_CHARS} characters", field="key", value=draft.key)
    if len(draft.kind) > MAX_KIND_CHARS or len(draft.memo) > MAX_MEMO_CHARS:
        raise InvalidValueError("kind or memo is too long", field=draft.key, value=draft.memo)
    if len(draft.legs) < _MIN_LEGS:
        raise UnbalancedJournalError("a journal needs two legs", field="legs", value=draft.key)
    totals: dict[str, int] = {}
    for account, amount in draft.legs:
        if type(amount) is not int or amount == 0:
            raise InvalidValueError("must be a whole number of ledger units, not 0", field="amount", value=amount)
        totals[account.asset] = totals.get(account.asset, 0) + amount
    for asset, total in totals.items():
        if total:
            raise UnbalancedJournalError(f"legs in {asset} must sum to zero", field=draft.key, value=total)


def check_account(account: Account) -> None:
    """Refuse an account outside the chart or in an unknown asset; done once for each account that is opened."""
    kind_of(account.code)
    check_asset(account.asset)


def leg_head(account: Account) -> str:
    """Return the canonical form of a leg up to its amount; the same for all legs on an account."""
    return f'[{",".join(_quoted(name) for name in account)},"'


def canonical_form(tenant: str) -> CanonicalForm:
    """Return what gives the bytes of a journal of `tenant` that are hashed: RFC 8785, members in the order of names.

    Legs: `leg_head` and the amount of each, joined by `LEG_END`. Kinds are few: each is quoted once.
    """
    kinds, quoted = _Quotes(), _quoted
    start, end = f'{{"algorithm":{ALGORITHM},"effective_at":"', f',"tenant":{_quoted(tenant)}}}'

    def form(
        number: int,
        key: str,
        kind: str,
        effective_at: str,
        recorded_at: str,
        reverses: int | None,
        memo: str,
        legs: str,
    ) -> bytes:
        return (
            f'{start}{effective_at}","id":{number},"key":{quoted(key)},'
            f'"kind":{kinds[kind]},"legs":[{legs}"]],"memo":{quoted(memo)},"recorded_at":"{recorded_at}",'
            f'"reverses":{"null" if reverses is None else reverses}{end}'
        ).encode()

    return form


class _Quotes(dict[str, str]):
    """Texts as JSON strings."""

    def __missing__(self, text: str) -> str:
        self[text] = quoted = _quoted(text)
        return quoted


def read_canonical(stored: bytes) -> tuple[int, JournalDraft, datetime]:
    """Return number, draft and recording time from canonical bytes. Raises msgspec.DecodeError for other bytes."""
    form = _DECODER.decode(stored)
    legs = tuple(Leg(Account(*name), int(amount)) for *name, amount in form.legs)
    draft = JournalDraft(form.key, form.kind, datetime.fromisoformat(form.effective_at), legs, form.memo, form.reverses)
    return form.id, draft, datetime.fromisoformat(form.recorded_at)


def chain(previous: bytes, stored: bytes) -> bytes:
    """Return the hash that follows `previous` over a journal's canonical bytes."""
    return hashlib.sha256(previous + stored).digest()


def reversal(journal: Journal, key: str, effective_at: datetime, memo: str) -> JournalDraft:
    """Return the journal that takes `journal` back, leg by leg."""
    legs = tuple(Leg(account, -amount) for account, amount in journal.draft.legs)
    return JournalDraft(key, "reversal", effective_at, legs, memo, journal.id)


def merged(legs: Iterable[Leg]) -> tuple[Leg, ...]:
    """Sum legs on the same account and drop those that come to nothing, keeping the order of first appearance."""
    totals: dict[Account, int] = {}
    for account, amount in legs:
        totals[account] = totals.get(account, 0) + amount
    return tuple(Leg(account, amount) for account, amount in totals.items() if amount)


def accounts_of(drafts: Sequence[JournalDraft]) -> set[Account]:
    """Return every account the drafts touch."""
    return {leg.account for draft in drafts for leg in draft.legs}
