"""`alacarte tick`: end quotes, holds and grants whose time is over. For a scheduler; a server does it by itself."""

from __future__ import annotations

import argparse

from api.cli.workspace import current_time, open_workspace
from billing.upkeep import end_what_is_over


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser("tick", help="end quotes, holds and grants that are over", description=__doc__)
    command.set_defaults(run=run)


def run(_options: argparse.Namespace) -> int:
    """End what is over and say how many of each."""
    with open_workspace() as (settings, database):
        ended = end_what_is_over(database, settings.tenant, current_time(settings, database))
    print(
        f"ended: {ended.quotes} quotes, {ended.usage_holds} holds on usage, {ended.credit_holds} holds on credit, "
        f"{ended.grants} grants"
    )
    return 0
