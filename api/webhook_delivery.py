"""The webhook worker of one tenant, as settings have it: for the server and for `alacarte webhooks work`."""

from __future__ import annotations

import os
import socket
from random import Random

from api.settings import Settings
from billing.database import Database
from billing.timing import real_timing
from billing.webhooks.secret_box import SecretBox
from billing.webhooks.sending import Sender
from billing.webhooks.worker import WebhookWorker
from pricing_engine.sealing import Signer


def webhook_worker(settings: Settings, database: Database, signer: Signer, tenant: str) -> WebhookWorker:
    """Return a worker named by this process. Deliveries go by the system's clock, wherever the tenant's stands."""
    return WebhookWorker(
        database,
        tenant,
        Sender(settings.webhook_rules()),
        SecretBox(signer),
        real_timing(),
        name=f"{socket.gethostname()}:{os.getpid()}",
        random=Random(),  # noqa: S311  Spreads waits; nothing secret depends on it.
    )
