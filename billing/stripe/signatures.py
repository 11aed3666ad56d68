"""Who sent a webhook: HMAC-SHA256 over the raw body and a timestamp, as Stripe documents it.

Our own check rather than the SDK's, which reads the wall clock and takes one secret at a time.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from models.values.errors import InvalidValueError

_SCHEME = "v1"
_LATEST_TIMESTAMP = 253_402_300_799  # The end of the year 9999.


class BadSignatureError(InvalidValueError):
    """A webhook was not signed with one of our secrets, or too long ago."""

    code = "invalid_signature"


def check_signature(body: bytes, header: str, secrets: Sequence[str], now: datetime, tolerance: timedelta) -> None:
    """Raise BadSignatureError unless one signature of `header` fits one secret and its timestamp is near `now`.

    During rotation the sender signs with both secrets, or we know both: either way one pair fits.
    """
    stamp, signatures = _parts(header)
    signed = str(stamp).encode() + b"." + body
    expected = [hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest() for secret in secrets]
    # Compared pair by pair in constant time; which pair fits is no secret.
    if not any(hmac.compare_digest(right.encode(), given.encode()) for right in expected for given in signatures):
        raise BadSignatureError("no signature fits the body", field="Stripe-Signature")
    if abs(now - datetime.fromtimestamp(stamp, UTC)) > tolerance:
        raise BadSignatureError("was signed too long ago, or ahead of time", field="Stripe-Signature", value=stamp)


def _parts(header: str) -> tuple[int, list[str]]:
    pairs = [part.partition("=")[::2] for part in header.split(",")]
    stamps = [value for name, value in pairs if name == "t"]
    signatures = [value for name, value in pairs if name == _SCHEME]
    stamp = stamps[0] if len(stamps) == 1 else ""
    if not (stamp.isascii() and stamp.isdecimal() and int(stamp) <= _LATEST_TIMESTAMP) or not signatures:
        raise BadSignatureError("must be t=<seconds>,v1=<signature>", field="Stripe-Signature")
    return int(stamp), signatures
