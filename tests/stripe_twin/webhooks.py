"""Delivers the twin's events as Stripe does: signed, repeated until answered, in no promised order."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import httpx
from stripe import WebhookSignature

_ATTEMPTS = 5


def signed(event: dict[str, Any], secrets: Sequence[str], at: int) -> tuple[bytes, str]:
    """Return body and `Stripe-Signature` header; several secrets give several v1 values, as during rotation."""
    body = json.dumps(event, indent=2)
    headers = [WebhookSignature.generate_signature_header(body, secret, at) for secret in secrets]
    signatures = [header.partition(",")[2] for header in headers]
    return body.encode(), ",".join([f"t={at}", *signatures])


def deliver(url: str, events: Iterable[dict[str, Any]], secrets: Sequence[str], at: int) -> list[int]:
    """Post each event until it is answered with 2xx or refused with 4xx; return the last statuses."""
    statuses = []
    with httpx.Client(timeout=10) as client:
        for event in events:
            body, header = signed(event, secrets, at)
            for _ in range(_ATTEMPTS):
                status = client.post(url, content=body, headers={"Stripe-Signature": header}).status_code
                if status < 500:
                    break
            statuses.append(status)
    return statuses
