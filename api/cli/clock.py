"""`alacarte clock`: show the time in force, or move it in a sandbox."""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta

from api.cli.numbers import whole
from api.cli.workspace import open_workspace, tenant_time
from billing.audit import Actor, record
from billing.tenant_time import FURTHEST_AHEAD
from models.values.errors import InvalidValueError
from models.values.period import parse_instant


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "clock", help="show the time in force, or move it forward in a sandbox", description=__doc__
    )
    command.add_argument("--to", metavar="TIME", help="move it to this time, from where it goes on")
    command.add_argument("--days", type=whole, help="move it on by so many days")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the time in force, after moving it where asked."""
    if options.to is not None and options.days is not None:
        raise InvalidValueError("give one of --to and --days", field="days", value=options.days)
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        time = tenant_time(settings)
        now = time.now(uow)
        wanted = _wanted(options, now)
        if wanted is not None:
            shown = {"before": {"now": now.isoformat()}, "after": {"now": wanted.isoformat()}}
            now = time.move(uow, wanted, "cli")
            record(uow, Actor("cli", now), "sandbox_clock.move", ("sandbox_clock", uow.tenant), **shown)
    print(now.isoformat())
    return 0


def _wanted(options: argparse.Namespace, now: datetime) -> datetime | None:
    if options.days is not None:
        if not 0 <= options.days <= FURTHEST_AHEAD.days:
            raise InvalidValueError(f"from 0 to {FURTHEST_AHEAD.days}", field="days", value=options.days)
        return now + timedelta(days=options.days)
    return None if options.to is None else parse_instant(options.to, "to")
