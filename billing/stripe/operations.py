"""Operations of the outbox: what they are, and how each outcome moves them. Pure; the only retrier there is.

    pending -> in_flight -> done
                  |-> retry_wait -> in_flight        same key, after a wait
                  |-> ambiguous  -> in_flight        look up first; absent means a new key
                  |-> dead                           a person has to look

An idempotency key protects for a day. So a key that was first used longer ago, or whose answer is a failure that
the provider replays, proves nothing any more: then the provider is searched for our reference first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from billing.billing_provider import (
    BusyError,
    NoAnswerError,
    NotAuthorisedError,
    ProviderError,
    RateLimitedError,
    StoredFailureError,
)

KEY_TRUSTED_FOR = timedelta(hours=23)
"""Stripe forgets keys after 24 hours at the earliest; one hour is left for slow clocks and slow requests."""

SAME_KEY_FAILURES = 6
"""After so many unanswered or failed tries with one key it is looked up whether one of them has worked."""

_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 300.0
_MAX_KEY_CHARS = 255


class Aggregate(StrEnum):
    """Operations of one aggregate run one after the other."""

    CUSTOMER = "customer"
    INVOICE = "invoice"
    PAYMENT = "payment"
    TRANSFER = "transfer"
    USAGE = "usage"
    CLEANUP = "cleanup"


class Kind(StrEnum):
    """What an operation does."""

    CREATE_CUSTOMER = "create_customer"
    UPDATE_CUSTOMER = "update_customer"
    CREATE_DRAFT = "create_draft"
    ADD_LINES = "add_lines"
    VERIFY = "verify"
    FINALISE = "finalise"
    PAY = "pay"
    SEND = "send"
    VOID = "void"
    MARK_UNCOLLECTIBLE = "mark_uncollectible"
    CREDIT = "credit"
    REFUND = "refund"
    READ = "read"
    READ_FEE = "read_fee"
    TRANSFER = "transfer"
    RECORD_USAGE = "record_usage"


class State(StrEnum):
    """Where an operation stands."""

    PENDING = "pending"
    IN_FLIGHT = "in_flight"
    RETRY_WAIT = "retry_wait"
    AMBIGUOUS = "ambiguous"
    DONE = "done"
    DEAD = "dead"
    CANCELLED = "cancelled"


FINISHED = frozenset({State.DONE, State.CANCELLED})
"""Operations that no longer hold back those behind them. A dead one does: what follows rests on it."""


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation as leased. `look_up_first`: it was ambiguous, or its key is too old to be trusted."""

    aggregate: Aggregate
    aggregate_id: str
    seq: int
    kind: Kind
    params: Mapping[str, Any]
    key: str
    key_generation: int
    attempts: int
    failures: int
    look_up_first: bool
    first_sent_at: datetime
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Move:
    """What becomes of an operation after a failure. `new_key`: the next attempt uses the next key."""

    state: State
    next_at: datetime
    failures: int
    new_key: bool = False
    stops_worker: bool = False


def after_failure(operation: Operation, error: ProviderError, now: datetime, jitter: float) -> Move:
    """Decide by the kind of failure. `jitter` in [0, 1) spreads the waits."""
    if isinstance(error, NotAuthorisedError):
        return Move(State.RETRY_WAIT, now, operation.failures, stops_worker=True)
    if isinstance(error, (RateLimitedError, BusyError)):
        # Nothing ran, so this tells nothing about the key.
        return Move(_waiting(operation), now + _wait(operation.attempts, jitter), operation.failures)
    if isinstance(error, NoAnswerError):
        failures = operation.failures + 1
        pointless = isinstance(error, StoredFailureError) or failures >= SAME_KEY_FAILURES
        state = State.AMBIGUOUS if pointless else _waiting(operation)
        return Move(state, now + _wait(failures, jitter), failures)
    return Move(State.DEAD, now, operation.failures)


def after_absent(now: datetime) -> Move:
    """Decide after a look-up that found nothing: the old key did nothing and never will; take the next."""
    return Move(State.PENDING, now, 0, new_key=True)


def key_is_trusted(first_sent_at: datetime, now: datetime) -> bool:
    """Whether the provider still knows a key that was first used then."""
    return now - first_sent_at < KEY_TRUSTED_FOR


def idempotency_key(tenant: str, aggregate: str, aggregate_id: str, seq: int, kind: str, generation: int) -> str:
    """Return the key of one operation: the same for ever, also after a restore from backup.

    It travels in a header, so what is long or not ASCII is replaced by its SHA-256.
    """
    plain = f"ala1:{tenant}:{aggregate}:{aggregate_id}:{seq}:{kind}:g{generation}"
    if plain.isascii() and plain.isprintable() and len(plain) <= _MAX_KEY_CHARS:
        return plain
    return f"ala1:sha256:{hashlib.sha256(plain.encode()).hexdigest()}"


def fitting(text: str, chars: int) -> str:
    """Return `text` as an id of at most `chars` (>= 64) characters: where it is longer, its SHA-256."""
    return text if len(text) <= chars else hashlib.sha256(text.encode()).hexdigest()


def _waiting(operation: Operation) -> State:
    """Keep an ambiguous operation ambiguous until a look-up has been answered."""
    return State.AMBIGUOUS if operation.look_up_first else State.RETRY_WAIT


def _wait(tries: int, jitter: float) -> timedelta:
    longest = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2 ** min(max(tries - 1, 0), 20))
    return timedelta(seconds=longest * (0.5 + jitter / 2))
