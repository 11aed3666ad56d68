"""`alacarte subscription`: start, change, pause, resume, cancel, unschedule; each can be previewed first.

`quote accept` starts the subscription of a quote; `start` begins one at list prices.
"""

from __future__ import annotations

import argparse
import json
from datetime import datetime
from functools import partial
from typing import Any

from api.cli.numbers import whole
from api.cli.quote import read_selection
from api.cli.terms import add_terms, terms_of
from api.cli.workspace import current_time, open_workspace
from api.schemas.invoices import invoice_document
from api.schemas.subscriptions import (
    ChangeBody,
    SubscriptionView,
    change_of,
    difference_document,
    record_change,
    subscription_document,
)
from billing import audit
from billing.phases import Subscription
from billing.previews import month_end, preview_change, preview_invoices
from billing.repositories.customers import CustomerRepository
from billing.repositories.price_books import PriceBookRepository
from billing.repositories.subscriptions import SubscriptionRepository
from billing.subscriptions import Who, agreed, cycle_of, start
from billing.unit_of_work import UnitOfWork
from models.values.period import Interval, parse_instant
from pricing_engine.proration import MidPeriod
from pricing_engine.selection import selection_of

_CHANGES = {
    "change": "to another selection",
    "quantity": "to another quantity of a feature",
    "add": "one feature more",
    "drop": "one feature less, with all that requires it",
    "upgrade": "to another selection, price book or both, at once",
    "downgrade": "the same when the billing period ends",
    "move": "to another price book at its list prices",
    "cycle": "to another billing cycle",
    "pause": "bill nothing until it is resumed",
    "resume": "end a pause",
    "cancel": "end it now, or with the billing period",
    "unschedule": "drop what was to come: an end with the billing period, a downgrade",
}
_PRORATED = {"change", "quantity", "add", "drop", "upgrade", "move", "cancel"}


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    command = commands.add_parser("subscription", help="start, change, pause, resume and cancel", description=__doc__)
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    showing = actions.add_parser("show", help="print a subscription with all its phases as JSON")
    showing.add_argument("subscription")
    showing.set_defaults(run=run_show)
    starting = actions.add_parser("start", help="start one at list prices, once by its id")
    starting.add_argument("subscription", help="an id of your own")
    starting.add_argument("customer")
    starting.add_argument("selection", nargs="+", metavar="FEATURE[=QUANTITY]")
    starting.add_argument("--at", metavar="TIME", help="from when on (default: now)")
    add_terms(starting)
    starting.set_defaults(run=run_start)
    for name, help_ in _CHANGES.items():
        changing = actions.add_parser(name, help=help_)
        changing.add_argument("subscription")
        if name in {"change", "upgrade", "downgrade"}:
            nargs = "+" if name == "change" else "*"
            changing.add_argument("selection", nargs=nargs, metavar="FEATURE[=QUANTITY]", help="all it is to have")
        if name in {"quantity", "add", "drop"}:
            changing.add_argument("feature")
        if name in {"quantity", "add"}:
            changing.add_argument("quantity", **({"nargs": "?"} if name == "add" else {}))
        if name in {"upgrade", "downgrade", "move"}:
            changing.add_argument("--price-book", metavar="HASH", help="content hash (move: default the one in force)")
        if name == "cycle":
            changing.add_argument(
                "--interval", choices=[*map(str, Interval)], help="how long a period is (default: as now)"
            )
            changing.add_argument("--anchor-day", type=whole, help="day of the month (default: the calendar's)")
            changing.add_argument("--minimum-spend", metavar="AMOUNT", help="the least a full period costs from now on")
        if name == "cancel":
            changing.add_argument("--at-period-end", action="store_true", help="with the billing period, not now")
        if name in _PRORATED:
            changing.add_argument(
                "--proration", choices=[*map(str, MidPeriod)], help="how it is billed in the middle of a period"
            )
        changing.add_argument("--reason", default="", help="kept with the change")
        changing.set_defaults(run=run_change, action=name)
    for name in ("start", *_CHANGES):
        actions.choices[name].add_argument("--preview", action="store_true", help="show the next invoices; do nothing")
        actions.choices[name].add_argument("--actor", default="cli", help="who does it (default: cli)")


def run_show(options: argparse.Namespace) -> int:
    """Print it."""
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        _print(subscription_document(SubscriptionRepository(uow).get(options.subscription)))
    return 0


def run_start(options: argparse.Namespace) -> int:
    """Start, or show the customer's next invoices as if it were started."""
    with open_workspace() as (settings, database):
        now = current_time(settings, database)
        if options.preview:
            with database.reading(settings.tenant) as uow:  # Whatever is written here is rolled back.
                _start(uow, options, now)
                _print({"after": _next_invoices(uow, options.customer, now)})
            return 0
        _print(subscription_document(database.write(settings.tenant, partial(_start, options=options, now=now))))
    return 0


def run_change(options: argparse.Namespace) -> int:
    """Change, or show the customer's next invoices without and with the change."""
    said = {name: value for name, value in vars(options).items() if name in ChangeBody.__struct_fields__}
    selection = read_selection(said.pop("selection", None) or ())
    body = ChangeBody(**said, selection=selection or None)
    with open_workspace() as (settings, database):
        now = current_time(settings, database)
        if options.preview:
            with database.reading(settings.tenant) as uow:
                seen = preview_change(uow, change_of(uow, options.subscription, body, Who(now)), month_end(now), now)
            before, after = ([*map(invoice_document, each)] for each in (seen.before, seen.after))
            _print({"before": before, "after": after, "difference": difference_document(seen)})
            return 0
        done = database.write(settings.tenant, partial(_change, body=body, options=options, now=now))
    _print(done)
    return 0


def _start(uow: UnitOfWork, options: argparse.Namespace, now: datetime) -> Subscription:
    customer = CustomerRepository(uow).get(options.customer)
    starts_at = now if options.at is None else parse_instant(options.at, "at")
    stored = PriceBookRepository(uow).for_customer(customer.currency, customer.channel, now)
    chosen = {key: one.quantity for key, one in selection_of(read_selection(options.selection), stored.book).items()}
    terms = terms_of(options)
    agreement = agreed(stored.content_hash, chosen, cycle_of(customer, terms, starts_at), terms)
    done = start(
        uow, options.subscription, customer.key, customer.currency, agreement, starts_at, now,
        trial_days=terms.trial_days, actor=options.actor,
    )  # fmt: skip
    of = ("subscription", done.id)
    audit.record(uow, audit.Actor(options.actor, now), "subscription.start", of, after=subscription_document(done))
    return done


def _change(uow: UnitOfWork, body: ChangeBody, options: argparse.Namespace, now: datetime) -> SubscriptionView:
    wanted = change_of(uow, options.subscription, body, Who(now, options.actor, body.reason))
    return record_change(uow, wanted, body.action, audit.Actor(options.actor, now))


def _next_invoices(uow: UnitOfWork, customer: str, now: datetime) -> list[Any]:
    return [*map(invoice_document, preview_invoices(uow, customer, month_end(now), now))]


def _print(document: object) -> None:
    print(json.dumps(document, ensure_ascii=False, indent=1, default=str))
