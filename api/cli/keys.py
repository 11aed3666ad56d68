"""`alacarte keys`: create, list and revoke API keys."""

from __future__ import annotations

import argparse
import secrets
from datetime import UTC, datetime

from api.cli.numbers import MOST_DAYS, days, whole
from api.cli.workspace import open_workspace
from api.schemas.keys import key_document
from billing.api_keys import Scope, create_key, list_keys, revoke_key
from billing.audit import Actor, record


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    command = commands.add_parser("keys", help="create, list and revoke API keys")
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    create = actions.add_parser("create", help="make a key and print it: nobody can see it again")
    create.add_argument("name", help="what it is for")
    create.add_argument("--scope", action="append", choices=[*map(str, Scope)], help="may be repeated (default: all)")
    create.add_argument("--days", type=whole, help=f"days until it expires, at most {MOST_DAYS} (default: never)")
    create.set_defaults(run=run_create)
    actions.add_parser("list", help="list keys, without their secrets").set_defaults(run=run_list)
    revoke = actions.add_parser("revoke", help="revoke a key at once")
    revoke.add_argument("id")
    revoke.set_defaults(run=run_revoke)


def run_create(options: argparse.Namespace) -> int:
    """Print the token on standard output, alone."""
    now = datetime.now(UTC)
    expires_at = None if options.days is None else now + days(options.days)
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        scopes = options.scope or list(Scope)
        key_id, secret = secrets.token_hex(8), secrets.token_hex(32)
        key, token = create_key(uow, options.name, settings.environment, scopes, key_id, secret, now, expires_at)
        record(uow, Actor("cli", now), "key.create", ("api_key", key.id), after=key_document(key))
    print(token)
    return 0


def run_list(_options: argparse.Namespace) -> int:
    """Print id, name, environment, last four digits, scopes and state of each key."""
    now = datetime.now(UTC)
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        for key in list_keys(uow):
            state = "live" if key.is_live_at(now) else "revoked" if key.revoked_at else "expired"
            print(
                f"{key.id}\t{key.name}\t{key.environment}\t...{key.last_four}\t{','.join(sorted(key.scopes))}\t{state}"
            )
    return 0


def run_revoke(options: argparse.Namespace) -> int:
    """Revoke one key."""
    now = datetime.now(UTC)
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        if revoke_key(uow, options.id, now):
            record(uow, Actor("cli", now), "key.revoke", ("api_key", options.id))
    print(f"{options.id} is revoked")
    return 0
