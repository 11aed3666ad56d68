"""What became of an event that was sent."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Status(StrEnum):
    """Accepted and duplicate are success; an unmatched event is stored and waits; the others changed nothing."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    UNMATCHED = "unmatched"
    CONFLICT = "conflict"
    INVALID = "invalid"


class UnmatchedReason(StrEnum):
    """What about a stored event is not known, or not right, yet."""

    UNKNOWN_CUSTOMER = "unknown_customer"
    UNKNOWN_EVENT_TYPE = "unknown_event_type"
    UNKNOWN_CORRECTED_EVENT = "unknown_corrected_event"
    CORRECTS_OTHER_CUSTOMER = "corrects_other_customer"
    MISSING_VALUE = "missing_value"
    INVALID_VALUE = "invalid_value"


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer for one event.

    `reasons`: of an unmatched event, each with what it is about. `late_for`: the run that had already billed its
    time; the difference goes onto the next invoice. `kept_hash` and `sent_hash`: of a conflict, lower-case hex.
    `code`, `field`, `message`: of an invalid or conflicting event.
    """

    status: Status
    reasons: tuple[tuple[UnmatchedReason, str], ...] = ()
    late_for: str = ""
    kept_hash: str = ""
    sent_hash: str = ""
    code: str = ""
    field: str = ""
    message: str = ""


ACCEPTED = Outcome(Status.ACCEPTED)
DUPLICATE = Outcome(Status.DUPLICATE)
