"""Signatures by Standard Webhooks (https://www.standardwebhooks.com): sign, and verify as a receiver would.

    webhook-id: evt_...   webhook-timestamp: 1767225600   webhook-signature: v1,<base64> v1,<base64>

Each signature is HMAC-SHA256 over `id.timestamp.body`, keyed by the base64 behind `whsec_`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from models.values.errors import InvalidValueError

SECRET_PREFIX = "whsec_"  # noqa: S105 - says that what follows is one
TOLERANCE = timedelta(minutes=5)
_LATEST_TIMESTAMP = 253_402_300_799  # The end of the year 9999.
_MIN_SECRET_BYTES = 24


class BadWebhookSignatureError(InvalidValueError):
    """A webhook that was not signed with one of our secrets, or too long ago."""

    code = "invalid_signature"


def signed_headers(secrets: Sequence[bytes], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """Return the three headers; one signature for each secret, so that a rotation loses nothing."""
    stamp = str(int(at.timestamp()))
    return {
        "webhook-id": message_id,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(_sign(secret, message_id, stamp, body) for secret in secrets),
    }


def verify_webhook(
    body: bytes,
    headers: Mapping[str, str],
    secrets: Sequence[str],
    now: datetime,
    tolerance: timedelta = TOLERANCE,
) -> str:
    """Return the message's id: the receiver keeps it, so that a repeat has no second effect.

    `headers`: any mapping with lower-case names, or one that does not care about case. `secrets`: as shown when they
    were made. Raises BadWebhookSignatureError unless a signature fits one of them and was made near `now`.
    """
    message_id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not message_id or not (stamp.isascii() and stamp.isdecimal() and int(stamp) <= _LATEST_TIMESTAMP):
        raise BadWebhookSignatureError("webhook-id and webhook-timestamp must be there", field="webhook-timestamp")
    expected = [_sign(secret_bytes(each), message_id, stamp, body).encode() for each in secrets]
    given = [each.encode() for each in headers.get("webhook-signature", "").split(" ")]
    if not any(hmac.compare_digest(right, one) for right in expected for one in given):
        raise BadWebhookSignatureError("no signature fits the body", field="webhook-signature")
    if abs(now - datetime.fromtimestamp(int(stamp), UTC)) > tolerance:
        raise BadWebhookSignatureError(
            "was signed too long ago, or ahead of time", field="webhook-timestamp", value=stamp
        )
    return message_id


def secret_text(secret: bytes) -> str:
    """Return a secret as it is shown to its owner."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


def secret_bytes(shown: str) -> bytes:
    """Return the key behind a secret as shown. Raises InvalidValueError; never repeats the secret."""
    try:
        key = base64.b64decode(shown.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidValueError("must be whsec_ and base64", field="webhook_secret") from error
    if len(key) < _MIN_SECRET_BYTES:
        raise InvalidValueError(f"needs at least {_MIN_SECRET_BYTES} bytes", field="webhook_secret")
    return key


def _sign(secret: bytes, message_id: str, stamp: str, body: bytes) -> str:
    signed = b".".join((message_id.encode(), stamp.encode(), body))
    return "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
