"""`alacarte webhooks`: deliver what is due, and show where deliveries stand."""

from __future__ import annotations

import argparse
import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from api.cli.workspace import open_workspace
from billing.repositories import webhook_endpoints, webhook_outbox

if TYPE_CHECKING:
    from billing.webhooks.worker import WebhookWorker

_PAUSE_SECONDS = 1.0


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser("webhooks", help="deliver events to webhook endpoints", description=__doc__)
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    work = actions.add_parser("work", help="deliver until interrupted; several may run at once")
    work.add_argument("--once", action="store_true", help="deliver what is due now, then stop")
    work.set_defaults(run=run_work)
    status = actions.add_parser("status", help="show endpoints and how many deliveries stand in each state")
    status.set_defaults(run=run_status)


def run_work(options: argparse.Namespace) -> int:
    """Deliver for the configured tenant."""
    from api.webhook_delivery import webhook_worker  # The HTTP client is slow to load.

    with open_workspace() as (settings, database):
        worker = webhook_worker(settings, database, settings.signer(), settings.tenant)
        try:
            asyncio.run(_work(worker, once=options.once))
        except KeyboardInterrupt:
            return 0
    return 0


async def _work(worker: WebhookWorker, *, once: bool) -> None:
    while True:
        done = await worker.drain(timedelta(0))
        if once or done.delivered or done.failed:
            print(
                f"delivered {done.delivered} failed tries {done.failed} given up {done.given_up} "
                f"endpoints disabled {done.disabled}",
                flush=True,
            )
        if once:
            return
        await asyncio.sleep(_PAUSE_SECONDS)


def run_status(_options: argparse.Namespace) -> int:
    """Exit status 1 where an endpoint is disabled or a delivery was given up."""
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        found, counts = webhook_endpoints.every(uow), webhook_outbox.counts(uow)
    for each in found:
        since = each.failing_since
        failing = "" if since is None else f"failing since {since.isoformat(timespec='seconds')}"
        print(f"{each.id}\t{each.url}\t{each.state}\t{each.reason or failing}")
    print("deliveries " + (" ".join(f"{state} {number}" for state, number in sorted(counts.items())) or "none"))
    return 1 if counts.get("failed") or any(not each.is_active for each in found) else 0
