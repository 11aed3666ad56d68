"""What the bridge to Stripe needs to know: keys, addresses, rates, dunning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from math import isfinite
from typing import TypeVar
from urllib.parse import urlsplit

from models.values.errors import InvalidValueError, RuleBrokenError

KEY = "ALACARTE_STRIPE_KEY"
"""Where the account's secret key stands; where there is none, nobody collects."""

Choice = TypeVar("Choice", bound=StrEnum)

_LIVE_PREFIXES = ("sk_live_", "rk_live_")
_TEST_PREFIXES = ("sk_test_", "rk_test_")
_PRODUCTION = {"production", "live"}
"""`live` is what our own API keys call it."""
_LONGEST_WAIT_DAYS = 365
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
    environment: str = "sandbox"
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
            if self.environment not in _PRODUCTION:
                raise LiveKeyRefusedError(
                    "a live key moves real money; it is taken only where the environment is production or live",
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
    """Read the settings from environment variables; all but the key have a default.

    ALACARTE_STRIPE_KEY, ALACARTE_STRIPE_BASE_ADDRESS, ALACARTE_STRIPE_WEBHOOK_SECRETS (comma-separated),
    ALACARTE_STRIPE_REQUESTS_PER_SECOND, ALACARTE_STRIPE_RETRY_DAYS (waits between charges, comma-separated),
    ALACARTE_STRIPE_LAST_STEP, ALACARTE_ENVIRONMENT. Raises InvalidValueError, LiveKeyRefusedError.
    """
    if not environment.get(KEY):
        raise InvalidValueError("must be set to reach Stripe", field=KEY, code="stripe_key_missing")
    default = StripeSettings("sk_test_default")
    rate = environment.get("ALACARTE_STRIPE_REQUESTS_PER_SECOND", str(default.requests_per_second))
    days = environment.get("ALACARTE_STRIPE_RETRY_DAYS")
    return StripeSettings(
        api_key=environment[KEY],
        environment=environment.get("ALACARTE_ENVIRONMENT", default.environment),
        base_address=environment.get("ALACARTE_STRIPE_BASE_ADDRESS", default.base_address),
        webhook_secrets=tuple(filter(None, environment.get("ALACARTE_STRIPE_WEBHOOK_SECRETS", "").split(","))),
        requests_per_second=_number(rate, "ALACARTE_STRIPE_REQUESTS_PER_SECOND"),
        retry_after=default.retry_after if days is None else _waits(days),
        last_step=choice_of(LastStep, "ALACARTE_STRIPE_LAST_STEP", environment, default.last_step),
    )


def choice_of(kind: type[Choice], name: str, environment: Mapping[str, str], default: Choice) -> Choice:
    """Return the member of an enumeration that a variable names. Raises InvalidValueError."""
    text = environment.get(name, default.value)
    try:
        return kind(text)
    except ValueError as error:
        choices = ", ".join(each.value for each in kind)
        raise InvalidValueError(f"must be one of {choices}", field=name, value=text) from error


def _waits(days: str) -> tuple[timedelta, ...]:
    name = "ALACARTE_STRIPE_RETRY_DAYS"
    numbers = [_number(each, name) for each in days.split(",") if each]
    if any(not 0 < number <= _LONGEST_WAIT_DAYS for number in numbers):
        raise InvalidValueError(f"must be above 0 and at most {_LONGEST_WAIT_DAYS}", field=name, value=days)
    return tuple(timedelta(days=number) for number in numbers)


def _number(text: str, name: str) -> float:
    try:
        number = float(text)
    except ValueError as error:
        raise InvalidValueError("must be a number", field=name, value=text) from error
    if not isfinite(number):
        raise InvalidValueError("must be finite", field=name, value=text)
    return number
