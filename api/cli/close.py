"""`alacarte close`: charge a month, number its invoices, lock it; reopen it with a reason."""

from __future__ import annotations

import argparse
import os
from datetime import date

from api.cli.numbers import whole
from api.cli.progress import progress_bar
from api.cli.workspace import current_time, now_in, open_workspace
from billing.audit import Actor, record
from billing.close_checks import Check, checklist
from billing.close_tasks import InProcesses, InTurn
from billing.closing import CloseOptions, close, reopen
from billing.repositories.invoices import InvoiceRepository
from billing.stripe.handing_over import configured_hand_over
from models.values.money import currency, from_minor
from models.values.quantity import plain

_GROUPED = 1_000
"""Invoices read at once to add up the totals."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "close", help="close a month: charge every customer, number the invoices, lock", description=__doc__
    )
    command.add_argument("period", help="the month, like 2026-01")
    command.add_argument("--check", action="store_true", help="show the checklist and change nothing")
    command.add_argument("--issued-on", type=date.fromisoformat, help="date of the invoices (default: the day after)")
    command.add_argument("--grace-days", type=whole, default=0, help="leave drafts open to change for so long")
    command.add_argument("--workers", type=whole, default=1, help="processes that charge side by side")
    command.add_argument("--actor", default="cli", help="who closes (default: cli)")
    command.add_argument("--reopen", metavar="REASON", help="open a closed month again, and say why")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Close, check or reopen."""
    if options.reopen is not None:
        return _reopen(options)
    if options.check:
        return _check(options)
    return _close(options)


def _check(options: argparse.Namespace) -> int:
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        checks = checklist(uow, options.period, now_in(settings, uow))
    for check in checks:
        print(_check_line(check))
    return 1 if any(check.blocks and not check.passed for check in checks) else 0


def _reopen(options: argparse.Namespace) -> int:
    with open_workspace() as (settings, database), database.writing(settings.tenant) as uow:
        now = now_in(settings, uow)
        month = reopen(uow, options.period, options.reopen, options.actor, now)
        record(uow, Actor(options.actor, now), "month.reopen", ("close", options.period))
    print(f"{month.key} is open again; its next close bills what has changed")
    return 0


def _close(options: argparse.Namespace) -> int:
    with open_workspace() as (settings, database):
        now = current_time(settings, database)
        with progress_bar() as tell:
            result = close(
                database,
                settings.tenant,
                options.period,
                now,
                CloseOptions(
                    actor=options.actor,
                    issued_on=options.issued_on,
                    grace_days=options.grace_days,
                    collect=configured_hand_over(os.environ),
                    by=Actor(options.actor, now),
                ),
                executor=InProcesses(options.workers) if options.workers > 1 else InTurn(),
                progress=tell,
            )
        totals: dict[str, int] = {}
        with database.reading(settings.tenant) as uow:
            for begin in range(0, len(result.invoices), _GROUPED):
                for invoice in InvoiceRepository(uow).many(result.invoices[begin : begin + _GROUPED]):
                    totals[invoice.currency] = totals.get(invoice.currency, 0) + invoice.total_minor
    for check in result.checks:
        if not check.passed:
            print(_check_line(check))
    if result.was_closed:
        print(f"{options.period} was closed before; nothing done")
    print(f"{options.period} closed: {len(result.invoices)} invoices, {len(result.drafts)} drafts")
    for code, total in sorted(totals.items()):
        print(f"invoiced {plain(from_minor(total, currency(code)))} {code}")
    return 0


def _check_line(check: Check) -> str:
    mark = "ok" if check.passed else "BLOCKS" if check.blocks else "note"
    return f"{mark:6} {check.name}: {check.detail}" if check.detail else f"{mark:6} {check.name}"
