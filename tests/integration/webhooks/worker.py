"""A webhook worker whose clock stands still until it waits."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from random import Random

from billing.database import Database
from billing.timing import Timing
from billing.webhooks.destinations import DestinationRules, read_networks
from billing.webhooks.secret_box import SecretBox
from billing.webhooks.sending import Sender
from billing.webhooks.worker import Delivered, WebhookWorker
from pricing_engine.sealing import Signer
from tests.quote_facts import SIGNER

LOOPBACK = DestinationRules(is_live=False, allowed=read_networks("127.0.0.0/8"))


def worker(database: Database, clock: list[datetime], name: str = "one", signer: Signer = SIGNER) -> WebhookWorker:
    async def sleep(seconds: float) -> None:
        clock[0] += timedelta(seconds=seconds)
        await asyncio.sleep(0)

    return worker_by(database, Timing(lambda: clock[0], sleep), name, signer)


def worker_by(database: Database, timing: Timing, name: str = "one", signer: Signer = SIGNER) -> WebhookWorker:
    return WebhookWorker(database, "default", Sender(LOOPBACK), SecretBox(signer), timing, name=name, random=Random(1))


def drain(
    database: Database, clock: list[datetime], patience: timedelta = timedelta(0), signer: Signer = SIGNER
) -> Delivered:
    return asyncio.run(worker(database, clock, signer=signer).drain(patience))
