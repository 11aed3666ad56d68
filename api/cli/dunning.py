"""`alacarte dunning`: who owes for how long, which stage that means, and what comes next."""

from __future__ import annotations

import argparse
from datetime import date
from itertools import groupby

from rich.console import Console
from rich.table import Table

from api.cli.workspace import now_in, open_workspace
from billing.dunning import DEFAULT_STAGES, Stage, check_stages, debts, next_steps, standing
from billing.repositories import stripe_mirror
from billing.repositories.invoices import InvoiceRepository
from models.values.errors import InvalidValueError
from models.values.money import currency, from_minor

_BLOCKS = ":blocks"


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser("dunning", help="who owes for how long, and the stage that means")
    command.add_argument("--on", type=date.fromisoformat, help="a day (default: today)")
    default = ", ".join(f"{stage.name}={stage.after_days}{_BLOCKS * stage.blocks}" for stage in DEFAULT_STAGES)
    command.add_argument(
        "--stage", action="append", metavar="NAME=DAYS", help=f"a stage, with :blocks where service stops ({default})"
    )
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print one row a customer and currency with open invoices. What is carried to a later invoice is not overdue."""
    stages = DEFAULT_STAGES if options.stage is None else check_stages([_stage(text) for text in options.stage])
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        on = options.on or now_in(settings, uow).date()
        carried = stripe_mirror.carried(uow)
        found = [invoice for invoice in InvoiceRepository(uow).unpaid() if invoice.id not in carried]
    table = Table()
    for column in ("customer", "open", "invoices", "stage", "since", "for", "next"):
        table.add_column(column, justify="right" if column in {"open", "invoices"} else "left")
    for (customer, code), group in groupby(found, lambda invoice: (invoice.customer, invoice.currency)):
        owed = debts(list(group))
        now, coming = standing(owed, stages, on), next_steps(owed, stages, on)
        amount = from_minor(sum(debt.open_minor for debt in owed), currency(code))
        stage = "clear" if now.stage is None else now.stage.name + (" (blocks)" if now.stage.blocks else "")
        following = f"{coming[0][1].name} on {coming[0][0]}" if coming else ""
        since = now.since.isoformat() if now.since else ""
        table.add_row(customer, f"{amount} {code}", str(len(owed)), stage, since, now.invoice or "", following)
    Console().print(table)
    return 0


def _stage(text: str) -> Stage:
    name, _, days = text.removesuffix(_BLOCKS).partition("=")
    if not name or not days.isdecimal():
        raise InvalidValueError("must be NAME=DAYS, like reminder=3", field="stage", value=text)
    return Stage(name, int(days), blocks=text.endswith(_BLOCKS))
