"""`alacarte coupon`: give coupons to customers, end them, list what they hold and what is used of it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import msgspec

from api.choices import member_of, rule_of
from api.cli.workspace import now_in, open_workspace
from api.schemas.coupons import CouponBody, EndBody, coupon_view, end_for, give_to
from billing.audit import Actor
from billing.coupon_grants import given_coupons
from billing.repositories.customers import CustomerRepository
from models.values.errors import InvalidValueError


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    command = commands.add_parser("coupon", help="what customers are given off their invoices", description=__doc__)
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    giving = actions.add_parser("give", help="give coupons, all or none; the same one again changes nothing")
    giving.add_argument("customer")
    giving.add_argument("coupons", nargs="+", metavar="COUPON", help='a JSON file, or {"key": ..., "percent_off": ...}')
    giving.set_defaults(run=run_give)
    ending = actions.add_parser("end", help="end a coupon; what it took off stands")
    ending.add_argument("customer")
    ending.add_argument("key")
    ending.add_argument("--at", metavar="TIME", help="RFC 3339 (default: now)")
    ending.set_defaults(run=run_end)
    listing = actions.add_parser("list", help="print a customer's coupons as JSON lines, with what is used of each")
    listing.add_argument("customer")
    listing.set_defaults(run=run_list)


def run_give(options: argparse.Namespace) -> int:
    """Give each coupon and print it."""
    bodies = [*map(_read, options.coupons)]
    given = []
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        by = Actor("cli", now_in(settings, uow))
        given += [give_to(uow, options.customer, body, by) for body in bodies]
    for each in given:
        print(json.dumps(each))
    return 0


def run_end(options: argparse.Namespace) -> int:
    """End a coupon and print it."""
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        by = Actor("cli", now_in(settings, uow))
        shown = end_for(uow, options.customer, options.key, EndBody(ends_at=options.at), by)
    print(json.dumps(shown))
    return 0


def run_list(options: argparse.Namespace) -> int:
    """Print one coupon a line."""
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        CustomerRepository(uow).get(options.customer)
        for given in given_coupons(uow, options.customer):
            print(json.dumps(coupon_view(given)))
    return 0


def _read(text: str) -> CouponBody:
    is_json = text.lstrip().startswith("{")
    try:
        return msgspec.json.decode(text if is_json else Path(text).read_bytes(), type=CouponBody)
    except OSError as error:
        raise InvalidValueError(str(error), field=text, code="unreadable_file") from error
    except msgspec.ValidationError as error:
        field = ".".join(filter(None, ("coupon" if is_json else text, member_of(str(error)))))
        raise InvalidValueError(rule_of(str(error), CouponBody), field=field, code="malformed") from error
    except msgspec.DecodeError as error:
        raise InvalidValueError(str(error), field="coupon" if is_json else text, code="malformed") from error
