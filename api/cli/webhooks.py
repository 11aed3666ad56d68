"""`alacarte webhooks`: deliver what is due, show where deliveries stand, send again what did not arrive."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from api.cli.workspace import open_workspace
from billing.audit import Actor
from billing.repositories import webhook_endpoints, webhook_outbox
from billing.unit_of_work import UnitOfWork
from models.values.period import parse_instant

if TYPE_CHECKING:
    from api.schemas.webhooks import EndpointView
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
    enable = actions.add_parser("enable", help="send to an endpoint again, what waited first")
    enable.add_argument("endpoint")
    enable.set_defaults(run=run_enable)
    disable = actions.add_parser("disable", help="send nothing more to an endpoint; what waits keeps waiting")
    disable.add_argument("endpoint")
    disable.set_defaults(run=run_disable)
    replay = actions.add_parser("replay", help="deliver once more, under the same ids")
    replay.add_argument("endpoint")
    what = replay.add_mutually_exclusive_group(required=True)
    what.add_argument("--event", help="this one")
    what.add_argument("--after", metavar="EVENT", help="every one after the last that arrived")
    what.add_argument("--missed-since", metavar="TIME", help="every one since then that has not arrived")
    replay.set_defaults(run=run_replay)


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


def run_enable(options: argparse.Namespace) -> int:
    """Enable an endpoint."""
    from api.webhook_acts import enable_endpoint  # The HTTP client is slow to load.

    return _switch(options.endpoint, enable_endpoint)


def run_disable(options: argparse.Namespace) -> int:
    """Disable an endpoint."""
    from api.webhook_acts import disable_endpoint  # The HTTP client is slow to load.

    return _switch(options.endpoint, disable_endpoint)


def _switch(endpoint: str, switch: Callable[[UnitOfWork, str, Actor], EndpointView]) -> int:
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        after = switch(uow, endpoint, Actor("cli", datetime.now(UTC)))
    print(f"{endpoint} is {after['state']}")
    return 0


def run_replay(options: argparse.Namespace) -> int:
    """Queue events once more; whoever delivers sends them."""
    from api.webhook_acts import replay_after, replay_event, replay_missed  # The HTTP client is slow to load.

    by = Actor("cli", datetime.now(UTC))
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        if options.event is not None:
            queued = replay_event(uow, options.endpoint, options.event, by)
        elif options.after is not None:
            queued = replay_after(uow, options.endpoint, options.after, by)
        else:
            since = parse_instant(options.missed_since, "missed_since")
            queued = replay_missed(uow, options.endpoint, since, by)
    print(f"{queued} queued")
    return 0


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
