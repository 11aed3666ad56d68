"""Signatures: the example of the specification, another implementation's verdict, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from billing.webhooks.signatures import (
    BadWebhookSignatureError,
    secret_bytes,
    secret_text,
    signed_headers,
    verify_webhook,
)
from models.values.errors import InvalidValueError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - of the specification
OTHER = secret_text(b"o" * 32)
NOW = datetime.now(UTC).replace(microsecond=0)
BODY = '{"type":"quote.accepted","data":{"name":"Ärger"}}'.encode()


def test_the_signature_is_the_one_of_the_specification() -> None:
    body = b'{"test": 2432232314}'
    headers = signed_headers(
        [secret_bytes(SECRET)], "msg_p5jXN8AQM9LWM0D4loKWxJek", datetime.fromtimestamp(1614265330, UTC), body
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_the_reference_library_verifies_what_we_sign_and_we_what_it_signs() -> None:
    now = datetime.now(UTC).replace(microsecond=0)  # It looks at the clock itself.
    headers = signed_headers([secret_bytes(OTHER), secret_bytes(SECRET)], "evt_1", now, BODY)
    assert Webhook(SECRET).verify(BODY, headers)["data"] == {"name": "Ärger"}
    with pytest.raises(WebhookVerificationError):
        Webhook(secret_text(b"x" * 32)).verify(BODY, headers)
    theirs = {**headers, "webhook-signature": Webhook(SECRET).sign("evt_1", now, BODY.decode())}
    assert verify_webhook(BODY, theirs, [SECRET], now) == "evt_1"


@pytest.mark.parametrize("signed_with", [SECRET, OTHER])
def test_during_a_rotation_either_secret_verifies(signed_with: str) -> None:
    headers = signed_headers([secret_bytes(SECRET), secret_bytes(OTHER)], "evt_1", NOW, BODY)
    assert verify_webhook(BODY, headers, [signed_with], NOW) == "evt_1"


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "evt_2"},
        {"webhook-id": ""},
        {"webhook-timestamp": "1"},
        {"webhook-timestamp": "-5"},
        {"webhook-timestamp": "9" * 40},
        {"webhook-timestamp": "٣"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1a,AAAA v1"},
        {"webhook-signature": "ü,ü"},
    ],
)
def test_a_changed_header_is_refused(change: dict[str, str]) -> None:
    headers = signed_headers([secret_bytes(SECRET)], "evt_1", NOW, BODY) | change
    with pytest.raises(BadWebhookSignatureError):
        verify_webhook(BODY, headers, [SECRET], NOW)


def test_a_changed_body_another_secret_and_another_time_are_refused() -> None:
    headers = signed_headers([secret_bytes(SECRET)], "evt_1", NOW, BODY)
    for body, secret, now in [
        (BODY + b" ", SECRET, NOW),
        (BODY, OTHER, NOW),
        (BODY, SECRET, NOW + timedelta(seconds=301)),
        (BODY, SECRET, NOW - timedelta(seconds=301)),
    ]:
        with pytest.raises(BadWebhookSignatureError):
            verify_webhook(body, headers, [secret], now)


@pytest.mark.parametrize("text", ["whsec_c2hvcnQ=", "whsec_no base64!!", "ünïcode"])
def test_a_secret_that_is_none_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(InvalidValueError) as refused:
        secret_bytes(text)
    assert text.removeprefix("whsec_") not in str(refused.value)
