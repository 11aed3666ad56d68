"""`alacarte tick`: end what is over, and bill usage that has reached a threshold.

For a scheduler; a server does it by itself.
"""

from __future__ import annotations

import argparse
import os
import sys

from api.cli.workspace import current_time, open_workspace
from billing.progressive import bill_reached
from billing.stripe.handing_over import configured_hand_over
from billing.upkeep import end_what_is_over


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser("tick", help="end what is over, bill usage at thresholds", description=__doc__)
    command.set_defaults(run=run)


def run(_options: argparse.Namespace) -> int:
    """Do it and say how many of each. Exit status 1 where a customer could not be billed."""
    with open_workspace() as (settings, database):
        now = current_time(settings, database)
        ended = end_what_is_over(database, settings.tenant, now)
        billed = bill_reached(database, settings.tenant, now, configured_hand_over(os.environ))
    print(
        f"ended: {ended.quotes} quotes, {ended.usage_holds} holds on usage, {ended.credit_holds} holds on credit, "
        f"{ended.grants} grants, limited units of {ended.sold_units} subscriptions"
    )
    for invoice in billed.invoices:
        print(f"invoiced at a threshold: {invoice.number} {invoice.customer}")
    for customer, error in billed.refused.items():
        print(f"not invoiced at a threshold: {customer}: {error.code}: {error}", file=sys.stderr)
    return 1 if billed.refused else 0
