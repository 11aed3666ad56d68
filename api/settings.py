"""Settings: from the environment, with a default for each so that nothing needs configuring to try it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from api.token_buckets import Policy, read_policy
from models.values.errors import InvalidValueError
from models.values.ids import DEFAULT_TENANT, check_external_id
from pricing_engine.sealing import Signer, new_signer

if TYPE_CHECKING:
    from billing.webhooks.destinations import DestinationRules

REQUEST_LIMIT = Policy("requests", 300_000, 60)
EVENT_LIMIT = Policy("events", 3_000_000, 60)
"""A key's share of one process, as a quota in seconds: what keeps one sender from crowding out the others."""

UPKEEP_SECONDS = 60.0
"""How often a server ends what is over."""

WEBHOOK_SECONDS = 1.0
"""How often a server looks whether webhooks are due."""

PATIENCE_SECONDS = 10.0
"""How long a server waits for its database."""

_ENVIRONMENTS = {"sandbox": "sandbox", "live": "live", "production": "live"}
"""What an environment may be called, and what it is: a misspelt `live` would let everybody move time."""

DEMO_HOME = Path("out") / "demo"
"""Where `make demo` leaves its database and key, and where `alacarte` looks without configuration."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the database and the signing key are, and for which tenant a command works."""

    database_url: str
    signing_key: Path
    tenant: str = DEFAULT_TENANT
    environment: str = "sandbox"
    webhook_networks: str = ""
    sealed_usage: Path = DEMO_HOME / "sealed-usage"
    request_limit: Policy = REQUEST_LIMIT
    event_limit: Policy = EVENT_LIMIT
    upkeep_seconds: float = UPKEEP_SECONDS
    webhook_seconds: float = WEBHOOK_SECONDS
    patience_seconds: float = PATIENCE_SECONDS

    def webhook_rules(self) -> DestinationRules:
        """Return where webhooks may go. Networks let through are for trying out: in live there are none."""
        from billing.webhooks.destinations import DestinationRules, read_networks  # The HTTP client is slow to load.

        is_live = self.environment == "live"
        return DestinationRules(is_live, () if is_live else read_networks(self.webhook_networks))

    def signer(self) -> Signer:
        """Read the signing key, making one on first use; the file is readable by its owner only.

        Raises InvalidValueError where it can be neither read nor made, or is no key.
        """
        try:
            return self.stored_signer() if self.signing_key.exists() else self._made_signer()
        except OSError as error:
            raise InvalidValueError(
                f"cannot be read or made: {error.strerror}",
                field="ALACARTE_SIGNING_KEY",
                value=self.signing_key,
                code="unreadable_file",
            ) from error

    def _made_signer(self) -> Signer:
        self.signing_key.parent.mkdir(parents=True, exist_ok=True)
        signer = new_signer()
        with os.fdopen(os.open(self.signing_key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as key_file:
            key_file.write(signer.private_pem())
        self.signing_key.with_suffix(".public.pem").write_bytes(signer.public_pem)
        return signer

    def stored_signer(self) -> Signer:
        """Read the signing key. Raises OSError where there is none, InvalidValueError where it is no key."""
        return Signer.from_pem(self.signing_key.read_bytes())


def load_settings(environment: dict[str, str] | None = None) -> Settings:
    """Read each setting from its ALACARTE_ variable. Raises InvalidValueError.

    They are _DATABASE_URL, _SIGNING_KEY, _TENANT, _ENVIRONMENT (sandbox, or live, which may be called production),
    _WEBHOOK_NETWORKS (such as 127.0.0.0/8),
    _SEALED_USAGE (the folder in which sealed usage lies), _REQUEST_LIMIT and _EVENT_LIMIT (such as 6000/60: six
    thousand a minute), _UPKEEP_SECONDS and _WEBHOOK_SECONDS (how often the server ends what is over, and delivers what
    is due; 0: never), _PATIENCE_SECONDS (how long the server waits for its database; 0: for ever).
    """
    given = dict(os.environ) if environment is None else environment
    settings = Settings(
        database_url=given.get("ALACARTE_DATABASE_URL", f"sqlite:///{DEMO_HOME / 'alacarte.db'}"),
        signing_key=Path(given.get("ALACARTE_SIGNING_KEY", str(DEMO_HOME / "signing_key.pem"))),
        tenant=check_external_id(given.get("ALACARTE_TENANT", DEFAULT_TENANT), "ALACARTE_TENANT"),
        environment=_environment(given.get("ALACARTE_ENVIRONMENT", "sandbox")),
        webhook_networks=given.get("ALACARTE_WEBHOOK_NETWORKS", ""),
        sealed_usage=Path(given.get("ALACARTE_SEALED_USAGE", str(DEMO_HOME / "sealed-usage"))),
        request_limit=_policy(given, "ALACARTE_REQUEST_LIMIT", REQUEST_LIMIT),
        event_limit=_policy(given, "ALACARTE_EVENT_LIMIT", EVENT_LIMIT),
        upkeep_seconds=_seconds(given, "ALACARTE_UPKEEP_SECONDS", UPKEEP_SECONDS),
        webhook_seconds=_seconds(given, "ALACARTE_WEBHOOK_SECONDS", WEBHOOK_SECONDS),
        patience_seconds=_seconds(given, "ALACARTE_PATIENCE_SECONDS", PATIENCE_SECONDS),
    )
    if settings.webhook_networks:
        settings.webhook_rules()  # Refused now, not by each delivery.
    return settings


def _environment(name: str) -> str:
    if name not in _ENVIRONMENTS:
        raise InvalidValueError(f"must be one of {', '.join(_ENVIRONMENTS)}", field="ALACARTE_ENVIRONMENT", value=name)
    return _ENVIRONMENTS[name]


def _policy(given: Mapping[str, str], variable: str, default: Policy) -> Policy:
    return read_policy(default.name, variable, given[variable]) if variable in given else default


def _seconds(given: Mapping[str, str], variable: str, default: float) -> float:
    if variable not in given:
        return default
    text = given[variable]
    if not (text.isascii() and text.isdecimal()):
        raise InvalidValueError("must be a whole number of seconds", field=variable, value=text)
    return float(text)
