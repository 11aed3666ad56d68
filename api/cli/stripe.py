"""`alacarte stripe`: push what is to be collected, take in what came back, compare both sides."""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from api.cli.numbers import days, whole
from api.cli.workspace import current_time, now_in, open_workspace
from api.settings import Settings
from billing.collection import CustomerToBill
from billing.database import Database
from billing.ledger_collection import LedgerCollection
from billing.partners import accrue_shares
from billing.repositories import journals, stripe_events, stripe_mirror, stripe_outbox
from billing.repositories.customers import CustomerRepository
from billing.repositories.invoices import InvoiceRepository
from billing.repositories.price_books import PriceBookRepository
from billing.stripe.following import follow_missed
from billing.stripe.handing_over import HandOver, configured_hand_over, hand_over_missed
from billing.stripe.meter_mirror import mirror_usage
from billing.stripe.operations import Aggregate
from billing.stripe.partner_payouts import pay_partners
from billing.stripe.reports import csv_of, html_of, lines_of
from billing.stripe.settings import stripe_settings
from billing.timing import real_timing
from billing.unit_of_work import UnitOfWork
from models.values.errors import InvalidValueError, NotFoundError
from models.values.money import currency, from_minor
from pricing_engine.catalog import Meter

if TYPE_CHECKING:
    from billing.stripe.bridge import StripeBridge

_DAYS = 35


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser("stripe", help="collect invoices through Stripe", description=__doc__)
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    sync = actions.add_parser("sync", help="perform what is due, read what came in")
    sync.add_argument("--wait", type=float, default=0, metavar="SECONDS", help="also what falls due within so long")
    sync.set_defaults(run=run_sync)
    status = actions.add_parser("status", help="show operations, notifications and what a person has to look at")
    status.set_defaults(run=run_status)
    show = actions.add_parser("show", help="follow one invoice: where it stands, what was done and heard")
    show.add_argument("invoice", help="number or id")
    show.add_argument("--lines", action="store_true", help="also which line at Stripe each of ours went into")
    show.set_defaults(run=run_show)
    reconcile = actions.add_parser("reconcile", help="compare with Stripe; exit status 1 when something differs")
    reconcile.add_argument("--days", type=whole, default=_DAYS, help=f"how far to look back (default: {_DAYS})")
    reconcile.add_argument("--repair", action="store_true", help="put right what can be, then compare again")
    reconcile.add_argument("--csv", type=Path, metavar="FILE", help="write every difference")
    reconcile.add_argument("--html", type=Path, metavar="FILE", help="write a page")
    reconcile.set_defaults(run=run_reconcile)
    partners = actions.add_parser("pay-partners", help="queue what partners are owed as transfers")
    partners.add_argument("--to", action="append", required=True, metavar="PARTNER=ACCOUNT", help="a connected account")
    partners.set_defaults(run=run_pay_partners)
    meters = actions.add_parser("mirror", help="queue usage for Stripe's meters: a view of it there, never billed")
    meters.add_argument("--meter", action="append", required=True, metavar="METER=EVENT", help="our meter, its event")
    meters.set_defaults(run=run_mirror)


def run_sync(options: argparse.Namespace) -> int:
    """Hand over what was missed, then perform and read until nothing is due."""
    stripe_settings(os.environ)  # Refuses before anything is written.
    with open_workspace() as (settings, database):
        with database.writing(settings.tenant) as uow:
            now = now_in(settings, uow)
            journals.lock(uow)
            missed = hand_over_missed(uow, configured_hand_over(os.environ) or HandOver(), now)
            follow_missed(uow, now)
        done, settled = asyncio.run(_sync(settings, database, timedelta(seconds=options.wait)))
        print(f"handed over {missed}")
        print(f"operations done {done.done} adopted {done.adopted} failed tries {done.failed} dead {done.dead}")
        print(f"notifications read {settled}")
    return 1 if done.dead else 0


async def _sync(settings: Settings, database: Database, patience: timedelta) -> Any:  # noqa: ANN401
    async with _bridge(settings, database) as bridge:
        return await bridge.sync(patience)


def run_status(options: argparse.Namespace) -> int:
    """Show where everything stands; needs no key and reaches no network."""
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        operations, notifications = stripe_outbox.counts(uow), stripe_events.counts(uow)
        dead, reviews = stripe_outbox.dead(uow), stripe_mirror.needing_review(uow)
    print("operations " + (" ".join(f"{state} {number}" for state, number in sorted(operations.items())) or "none"))
    print(
        "notifications " + (" ".join(f"{state} {number}" for state, number in sorted(notifications.items())) or "none")
    )
    for row in dead:
        reason = (row.last_error or {}).get("rule", "")
        print(f"dead {row.aggregate} {row.aggregate_id} {row.seq} {row.kind}: {reason}")
    for invoice in reviews:
        print(f"review {invoice.number} {invoice.invoice_id}: {invoice.needs_review}")
    return 1 if dead or reviews else 0


def run_show(options: argparse.Namespace) -> int:
    """Show where collecting an invoice stands; needs no key and reaches no network."""
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        invoice = InvoiceRepository(uow).get(options.invoice)
        row, money = stripe_mirror.invoice(uow, invoice.id), currency(invoice.currency)
        operations = stripe_outbox.every(uow, Aggregate.INVOICE, invoice.id)
        facts, lines = stripe_mirror.every_fact(uow, invoice.id), stripe_mirror.lines(uow, invoice.id)
    print(f"{row.number} {row.customer} {row.status} {row.stripe_id or 'not at Stripe'}")
    for name in ("total", "settled", "carried_in", "collect", "carried_out", "paid"):
        amount = getattr(row, f"{name}_minor")
        if amount:
            print(f"  {name.replace('_', ' ')} {from_minor(amount, money)} {money.code}")
    for text in filter(None, [row.carried_into and f"collected by {row.carried_into}", row.needs_review]):
        print(f"  {text}")
    for each in operations:
        print(f"operation {each.seq} {each.kind} {each.state} attempts {each.attempts} {each.idem_key}")
    for each in facts:
        amount = "" if each.amount_minor is None else f" {from_minor(each.amount_minor, money)}"
        print(f"{each.occurred_at.isoformat()} {each.kind} {each.reference}{amount}")
    for each in lines if options.lines else ():
        print(f"line {each.line_id} in {each.remote_ref} {from_minor(each.amount_minor, money)}")
    return 0


def run_reconcile(options: argparse.Namespace) -> int:
    """Compare, repair where asked, and write the reports."""
    with open_workspace() as (settings, database):
        return asyncio.run(_reconcile(settings, database, options))


async def _reconcile(settings: Settings, database: Database, options: argparse.Namespace) -> int:
    since = datetime.now(UTC) - days(options.days)
    async with _bridge(settings, database) as bridge:
        found = await bridge.reconcile(since)
        if options.repair and not found.is_clean:
            left = bridge.queue_repairs(found)
            await bridge.sync(timedelta(minutes=1))
            print(f"repaired; left to a person {left}")
            found = await bridge.reconcile(since)
    for line in lines_of(found):
        print(line)
    for path, text in ((options.csv, csv_of), (options.html, html_of)):
        if path is not None:
            await asyncio.to_thread(path.write_text, text(found), "utf-8")
    return 0 if found.is_clean else 1


def run_pay_partners(options: argparse.Namespace) -> int:
    """Post what partners earned, queue transfers of it; `sync` makes them, and the ledger posts what was made."""
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        now = now_in(settings, uow)
        journals.lock(uow)
        accrue_shares(uow, now)
        for paid in pay_partners(uow, _pairs(options.to, "to"), now=now):
            amount = from_minor(paid.amount_minor, currency(paid.currency))
            print(f"{paid.partner} {amount} {paid.currency}")
    return 0


def run_mirror(options: argparse.Namespace) -> int:
    """Queue what Stripe's meters lack of the last days."""
    with open_workspace() as (settings, database):
        now = current_time(settings, database)
        for key, event_name in _pairs(options.meter, "meter").items():
            with database.writing(settings.tenant) as uow:
                customers = [
                    CustomerToBill(each.key, each.legal_name, each.email) for each in CustomerRepository(uow).all()
                ]
                done = mirror_usage(uow, _meter(uow, key, now), event_name, customers, now=now)
            print(f"{key} queued {done.sent} too high there {done.too_high}")
    return 0


def _meter(uow: UnitOfWork, key: str, now: datetime) -> Meter:
    for stored in PriceBookRepository(uow).in_force(now):
        for meter in stored.book.meters:
            if meter.key == key:
                return meter
    raise NotFoundError("no price book in force has it", field="meter", value=key, code="unknown_meter")


def _pairs(texts: Sequence[str], field: str) -> dict[str, str]:
    pairs = dict(text.partition("=")[::2] for text in texts)
    for name, value in pairs.items():
        if not name or not value:
            raise InvalidValueError("must be NAME=VALUE", field=field, value=name or value)
    return pairs


def _bridge(settings: Settings, database: Database) -> AbstractAsyncContextManager[StripeBridge]:
    """Open the bridge that the environment describes."""
    from billing.stripe.bridge import open_bridge  # The SDK takes half a second to load: not for every command.

    timing = real_timing()
    return open_bridge(
        database,
        settings.tenant,
        stripe_settings(os.environ),
        LedgerCollection(timing.now),
        timing,
        name=f"{socket.gethostname()}:{os.getpid()}",
        random=Random(),  # noqa: S311  Spreads waits; nothing secret depends on it.
    )
