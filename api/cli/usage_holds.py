"""The actions of `alacarte usage` around holds: authorise, settle, release; alerts and limits."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from api.cli.bodies import body_of
from api.cli.numbers import whole
from api.cli.workspace import current_time, now_in, open_workspace
from api.schemas.usage_alerts import UsageAlertBody, alerts_document, set_for
from api.schemas.usage_holds import DEFAULT_SECONDS, UsageHoldBody, authorize_for, usage_hold_document
from billing import usage_holds
from billing.audit import Actor, record
from billing.metering.alerts import remove_alert
from billing.metering.directory import PriceBookDirectory
from billing.metering.parsing import parse_event
from billing.repositories.usage_holds import find_usage_hold
from models.values.errors import InvalidValueError
from models.values.period import Interval


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the actions."""
    authorizing = actions.add_parser("authorize", help="keep what usage may cost, once by its id")
    authorizing.add_argument("customer")
    authorizing.add_argument("id")
    what = authorizing.add_mutually_exclusive_group(required=True)
    what.add_argument("--type", help="of the event that is expected, with its --data")
    what.add_argument("--feature", help="with --units, and --property where the price depends on it")
    authorizing.add_argument("--data", default="{}", metavar="JSON")
    authorizing.add_argument("--units")
    authorizing.add_argument("--property", action="append", default=[], metavar="NAME=VALUE", dest="properties")
    authorizing.add_argument("--postpaid", action="store_true", help="keep no credit: only hard limits count")
    authorizing.add_argument("--expires-in", type=whole, default=DEFAULT_SECONDS, metavar="SECONDS")
    authorizing.set_defaults(run=run_authorize)
    settling = actions.add_parser("settle", help="count the event that happened and pay for it")
    settling.add_argument("id")
    settling.add_argument("event", help="file with the event as JSON (CloudEvents), - for standard input")
    settling.set_defaults(run=run_settle)
    for name, run, help_ in (("release", run_release, "let a hold go"), ("show", run_show, "show a hold")):
        action = actions.add_parser(name, help=help_)
        action.add_argument("id")
        action.set_defaults(run=run)
    alerting = actions.add_parser("alert", help="tell when usage reaches a threshold; --limit: authorise none beyond")
    alerting.add_argument("customer")
    alerting.add_argument("id")
    alerting.add_argument("--meter", required=True)
    alerting.add_argument("--threshold", required=True, metavar="UNITS")
    alerting.add_argument("--interval", default="month", choices=[each.value for each in Interval])
    alerting.add_argument("--zone", default="UTC")
    alerting.add_argument("--limit", action="store_true", dest="is_limit")
    alerting.set_defaults(run=run_alert)
    removing = actions.add_parser("unalert", help="take an alert away, or lift a limit")
    removing.add_argument("customer")
    removing.add_argument("id")
    removing.set_defaults(run=run_unalert)
    listing = actions.add_parser("alerts", help="print a customer's alerts and limits as JSON lines")
    listing.add_argument("customer")
    listing.set_defaults(run=run_alerts)


def run_authorize(options: argparse.Namespace) -> int:
    """Authorise and print the hold."""
    values = {
        "id": options.id,
        "customer": options.customer,
        "event": None if options.type is None else {"type": options.type, "data": _object(options.data)},
        "feature": options.feature,
        "units": options.units,
        "properties": dict(map(_pair, options.properties)),
        "prepaid": not options.postpaid,
        "expires_in_seconds": options.expires_in,
    }
    body = body_of(values, UsageHoldBody)
    with open_workspace() as (settings, database):
        now = current_time(settings, database)
        print(json.dumps(database.write(settings.tenant, lambda uow: authorize_for(uow, body, now))))
    return 0


def run_settle(options: argparse.Namespace) -> int:
    """Settle and print the hold."""
    raw = sys.stdin.buffer.read() if options.event == "-" else Path(options.event).read_bytes()
    with open_workspace() as (settings, database):
        now = current_time(settings, database)
        event = parse_event(raw, now)
        directory = PriceBookDirectory()
        settled = database.write(
            settings.tenant, lambda uow: usage_holds.settle(uow, options.id, event, directory, now)
        )
    print(json.dumps(usage_hold_document(settled)))
    return 0


def run_release(options: argparse.Namespace) -> int:
    """Release and print the hold."""
    with open_workspace() as (settings, database):
        now = current_time(settings, database)
        released = database.write(settings.tenant, lambda uow: usage_holds.release(uow, options.id, now))
    print(json.dumps(usage_hold_document(released)))
    return 0


def run_show(options: argparse.Namespace) -> int:
    """Print a hold as it stands."""
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        print(json.dumps(usage_hold_document(find_usage_hold(uow, options.id))))
    return 0


def run_alert(options: argparse.Namespace) -> int:
    """Set an alert and print it."""
    names = ("id", "meter", "threshold", "interval", "zone", "is_limit")
    body = body_of({name: getattr(options, name) for name in names}, UsageAlertBody)
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        shown = set_for(uow, options.customer, body, Actor("cli", now_in(settings, uow)))
    print(json.dumps(shown))
    return 0


def run_unalert(options: argparse.Namespace) -> int:
    """Remove an alert."""
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        now = now_in(settings, uow)
        remove_alert(uow, options.customer, options.id)
        record(uow, Actor("cli", now), "usage_alert.remove", ("usage_alert", options.id))
    print(f"{options.id} is gone")
    return 0


def run_alerts(options: argparse.Namespace) -> int:
    """Print one alert a line."""
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        for each in alerts_document(uow, options.customer):
            print(json.dumps(each))
    return 0


def _object(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise InvalidValueError(f"must be a JSON object: {error}", field="data", value=text) from error


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InvalidValueError("must be NAME=VALUE", field="property", value=text)
    return name, value
