"""`alacarte wallet`: open wallets, grant credit and take it back, list what customers hold, end what has expired."""

from __future__ import annotations

import argparse
import json
from typing import TypeVar

from api.cli.bodies import body_of
from api.cli.numbers import whole
from api.cli.workspace import now_in, open_workspace
from api.schemas.wallets import (
    GrantBody,
    WalletBody,
    WithdrawalBody,
    grant_to,
    open_for,
    wallet_document,
    withdraw_from,
)
from billing import wallets
from billing.audit import Actor
from billing.repositories.customers import CustomerRepository
from models.values.errors import InvalidValueError
from models.values.period import Interval, parse_instant

_Body = TypeVar("_Body", WalletBody, GrantBody, WithdrawalBody)


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    command = commands.add_parser("wallet", help="customers' prepaid and promotional credit", description=__doc__)
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    opening = actions.add_parser("open", help="open a wallet; the same one again changes nothing")
    opening.add_argument("customer")
    opening.add_argument("id")
    opening.add_argument("--currency", required=True, help="of the credit, or a custom credit such as XTOKENS.0")
    opening.add_argument("--priority", type=whole, default=0, help="lower pays first (default: 0)")
    opening.add_argument("--feature", action="append", dest="features", help="pay for this one only; may be repeated")
    opening.add_argument("--top-up-below", metavar="AMOUNT", help="more is due when less than this is free")
    opening.add_argument("--top-up", metavar="AMOUNT", help="how much more is due then")
    opening.set_defaults(run=run_open)
    _add_grant(actions)
    _add_withdraw(actions)
    listing = actions.add_parser("list", help="print a customer's wallets as JSON lines, in the order they pay")
    listing.add_argument("customer")
    listing.set_defaults(run=run_list)
    expiring = actions.add_parser("expire", help="end every grant that has expired, but for what holds keep of it")
    expiring.add_argument("--at", metavar="TIME", help="as of this time (default: now)")
    expiring.set_defaults(run=run_expire)


def _add_grant(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    granting = actions.add_parser("grant", help="grant credit, once by its id")
    granting.add_argument("customer")
    granting.add_argument("wallet")
    granting.add_argument("id")
    granting.add_argument("--amount", required=True)
    granting.add_argument("--kind", choices=("paid", "promotional"), default="paid")
    granting.add_argument("--processor", help="who collected the money for paid credit")
    granting.add_argument("--priority", type=whole, default=0, help="lower pays first (default: 0)")
    granting.add_argument("--starts-at", metavar="TIME", help="default: now")
    granting.add_argument("--expires-at", metavar="TIME")
    granting.add_argument("--cost", metavar="AMOUNT", help="what paid custom credit was bought for")
    granting.add_argument("--cost-currency", metavar="CURRENCY")
    granting.add_argument("--rollover", metavar="AMOUNT", help="how much may live on at expiry")
    granting.add_argument("--rollover-days", type=whole, default=0)
    granting.add_argument(
        "--every", choices=[*map(str, Interval)], help="grant promotional credit again at each turn of this"
    )
    granting.add_argument("--times", type=whole, help="how often in all, 2 to 120")
    granting.set_defaults(run=run_grant)


def _add_withdraw(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    taking = actions.add_parser("withdraw", help="take unused credit of a grant back, once by a key")
    taking.add_argument("customer")
    taking.add_argument("wallet")
    taking.add_argument("grant")
    taking.add_argument("--key", required=True, help="the same again has no second effect")
    taking.add_argument("--amount", help="default: all that is free")
    taking.add_argument("--processor", help="who paid bought credit back")
    taking.set_defaults(run=run_withdraw)


def run_open(options: argparse.Namespace) -> int:
    """Open a wallet and print it."""
    body = _body(options, WalletBody)
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        shown = open_for(uow, options.customer, body, Actor("cli", now_in(settings, uow)))
    print(json.dumps(shown))
    return 0


def run_grant(options: argparse.Namespace) -> int:
    """Grant credit and print the grant."""
    body = _body(options, GrantBody)
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        shown = grant_to(uow, options.customer, options.wallet, body, Actor("cli", now_in(settings, uow)))
    print(json.dumps(shown))
    return 0


def run_withdraw(options: argparse.Namespace) -> int:
    """Take credit back and print what the grant is then."""
    body = _body(options, WithdrawalBody)
    key = f"cli:{options.key}"
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        by = Actor("cli", now_in(settings, uow))
        shown = withdraw_from(uow, options.customer, options.wallet, options.grant, body, key, by)
    print(json.dumps(shown))
    return 0


def run_list(options: argparse.Namespace) -> int:
    """Print one wallet a line."""
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        CustomerRepository(uow).get(options.customer)
        for balance in wallets.balances(uow, options.customer, now_in(settings, uow)):
            print(json.dumps(wallet_document(balance)))
    return 0


def run_expire(options: argparse.Namespace) -> int:
    """Expire; running it again changes nothing."""
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        now = now_in(settings, uow)
        at = now if options.at is None else parse_instant(options.at, "at")
        if at > now:
            raise InvalidValueError("must not lie ahead", field="at", value=options.at)
        ended = wallets.expire_credit(uow, at=at, recorded_at=now)
    print(f"{len({taking.grant.id for taking in ended})} grants expired")
    return 0


def _body(options: argparse.Namespace, into: type[_Body]) -> _Body:
    return body_of({name: getattr(options, name) for name in into.__struct_fields__}, into)
