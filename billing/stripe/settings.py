"""What the bridge to Stripe needs to know: keys, addresses, rates, dunning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from urllib.parse import urlsplit

from models.values.errors import InvalidValueError, RuleBrokenError

_LIVE_PREFIXES = ("sk_live_", "rk_live_")
_TEST_PREFIXES = ("sk_test_", "rk_test_")
_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class LiveKeyRefusedError(RuleBrokenError):
    """A key that moves real money was given outside production."""

    code = "live_key_refused"


class LastStep(StrEnum):
    """What follows the last failed attempt at charging."""

    MARK_UNCOLLECTIBLE = "mark_uncollectible"
    LEAVE_OPEN = "leave_open"


@dataclass(frozen=True, slots=True)
class StripeSettings:
    """Settings of one Stripe account.

    `requests_per_second`: what all workers together may send; Stripe allows 25 in a sandbox, 100 live.
    `retry_after`: the waits between attempts at charging. Raises LiveKeyRefusedError, InvalidValueError.
    """

    api_key: str
    environment: str = "development"
    base_address: str = "https://api.stripe.com"
    webhook_secrets: tuple[str, ...] = ()
    webhook_tolerance: timedelta = timedelta(seconds=300)
    requests_per_second: float = 24.0
    timeout_seconds: float = 10.0
    retry_after: tuple[timedelta, ...] = (timedelta(days=1), timedelta(days=3), timedelta(days=5), timedelta(days=7))
    last_step: LastStep = LastStep.MARK_UNCOLLECTIBLE
    read_fees: bool = True

    def __post_init__(self) -> None:
        if self.api_key.startswith(_LIVE_PREFIXES):
            if self.environment != "production":
                raise LiveKeyRefusedError(
                    "a live key moves real money; it is taken only where the environment is `production`",
                    field="environment",
                    value=self.environment,
                )
        elif not self.api_key.startswith(_TEST_PREFIXES):
            raise InvalidValueError("must begin with sk_test_, rk_test_, sk_live_ or rk_live_", field="api_key")
        address = urlsplit(self.base_address)
        if address.scheme != "https" and address.hostname not in _LOOPBACK:
            raise InvalidValueError("must be https", field="base_address", value=self.base_address)
        if self.requests_per_second <= 0:
            raise InvalidValueError("must be above 0", field="requests_per_second", value=self.requests_per_second)

    def __repr__(self) -> str:
        """Leave the secrets out: this ends up in logs."""
        return f"StripeSettings(environment={self.environment!r}, base_address={self.base_address!r})"


def stripe_settings(environment: Mapping[str, str]) -> StripeSettings:
    """Read ALACARTE_STRIPE_KEY, _BASE_ADDRESS, _WEBHOOK_SECRETS (comma-separated), _REQUESTS_PER_SECOND and
    ALACARTE_ENVIRONMENT. Raises InvalidValueError where the key is missing.
    """  # noqa: D205
    if not environment.get("ALACARTE_STRIPE_KEY"):
        raise InvalidValueError("must be set to reach Stripe", field="ALACARTE_STRIPE_KEY", code="stripe_key_missing")
    return StripeSettings(
        api_key=environment["ALACARTE_STRIPE_KEY"],
        environment=environment.get("ALACARTE_ENVIRONMENT", "development"),
        base_address=environment.get("ALACARTE_STRIPE_BASE_ADDRESS", "https://api.stripe.com"),
        webhook_secrets=tuple(filter(None, environment.get("ALACARTE_STRIPE_WEBHOOK_SECRETS", "").split(","))),
        requests_per_second=float(environment.get("ALACARTE_STRIPE_REQUESTS_PER_SECOND", "24")),
    )
