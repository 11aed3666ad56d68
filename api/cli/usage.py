"""`alacarte usage`: what a customer has used so far, and may; closed months sealed to Parquet, checked, rated again.

Exit status of `check` and `rerate`: 1 where a file is not what was sealed, or where what was billed differs.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from api.cli import usage_holds
from api.cli.invoices import invoice_table
from api.cli.progress import progress_bar
from api.cli.workspace import now_in, open_workspace
from api.settings import Settings
from billing.previews import month_end, preview_invoices
from billing.repositories.customers import CustomerRepository
from models.values.quantity import plain

if TYPE_CHECKING:
    from billing.sealed_usage.folder import SealFolder
    from billing.sealed_usage.rerating import Difference, Rerating


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    command = commands.add_parser(
        "usage", help="live usage; holds, alerts and limits; seal closed months, rate them again", description=__doc__
    )
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    live = actions.add_parser("live", help="usage and cost of this month so far, every event counted")
    live.add_argument("customer")
    live.set_defaults(run=run_live)
    for name, run, help_ in (
        ("seal", run_seal, "write the usage that closed months knew to Parquet files, once"),
        ("check", run_check, "compare every sealed file with its manifest"),
        ("rerate", run_rerate, "rate a closed month again from its sealed usage and compare with what was billed"),
    ):
        action = actions.add_parser(name, help=help_)
        action.add_argument("--period", help="a closed month, like 2026-01 (default: all, or the last one)")
        action.add_argument("--folder", type=Path, help="where it lies (default: ALACARTE_SEALED_USAGE)")
        action.add_argument(
            "--key", type=Path, action="append", default=[], metavar="FILE",
            help="public key (PEM) that signed earlier seals, besides the present one; may be repeated",
        )  # fmt: skip
        action.set_defaults(run=run)
    usage_holds.register(actions)


def run_live(options: argparse.Namespace) -> int:
    """Print the next invoices as they would be now."""
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        now = now_in(settings, uow)
        CustomerRepository(uow).get(options.customer)
        invoices = preview_invoices(uow, options.customer, month_end(now), now)
    for invoice in invoices:
        Console().print(invoice_table(invoice))
    if not invoices:
        print(f"{options.customer}: nothing used, nothing due")
    return 0


def run_seal(options: argparse.Namespace) -> int:
    """Seal what is closed and not sealed; print a line for each seal."""
    from billing.sealed_usage.sealing import seal_usage

    with open_workspace() as (settings, database), progress_bar() as tell:
        found = seal_usage(
            database,
            settings.tenant,
            _folder(settings, options),
            settings.signer(),
            period=options.period,
            public_keys=tuple(path.read_bytes() for path in options.key),
            progress=tell,
        )
    for each in found:
        what = "sealed" if each.is_new else "was sealed before"
        manifest = each.manifest
        print(f"{manifest.run} {what}: {manifest.events} events in {len(manifest.files)} files, {manifest.hash}")
    return 0


def run_check(options: argparse.Namespace) -> int:
    """Name every file that is not what was sealed."""
    from billing.sealed_usage.sealing import closed_month

    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        folder, keys = _folder(settings, options), _keys(settings, options)
        if options.period is None:
            chain = folder.chain(keys)
        else:
            month = closed_month(uow, options.period)
            chain = folder.until(month.key, month.attempt, keys)
    broken = [*folder.broken(chain)]
    for error in broken:
        print(error)
    if not broken:
        files = sum(len(manifest.files) for manifest in chain)
        print(f"sound: {len(chain)} seals, {files} files, {sum(manifest.events for manifest in chain)} events")
    return 1 if broken else 0


def run_rerate(options: argparse.Namespace) -> int:
    """Print what differs by customer and meter, and the totals of both."""
    from billing.sealed_usage.rerating import rerate_usage
    from billing.sealed_usage.sealing import closed_month

    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow, progress_bar() as tell:
        month = closed_month(uow, options.period)
        found = rerate_usage(uow, _folder(settings, options), _keys(settings, options), month.key, progress=tell)
    for difference in found.differences:
        print(_line(difference))
    print(_summary(found))
    return 0 if found.is_equal else 1


def _line(difference: Difference) -> str:
    place, billed, rerated = difference.place, difference.billed, difference.rerated
    what = f"{place.feature} ({place.meter})" if place.meter else place.feature
    units = f"billed {plain(billed.units)} units, {plain(billed.amount)} {place.currency}"
    return f"{place.customer}\t{what}\t{units}\trerated {plain(rerated.units)} units, {plain(rerated.amount)}"


def _summary(found: Rerating) -> str:
    lines = [
        f"{found.period} {code}: billed {plain(found.billed[code].amount)}, rerated {plain(one.amount)}"
        for code, one in sorted(found.rerated.items())
    ]
    verdict = "equal" if found.is_equal else f"{len(found.differences)} differences"
    return "\n".join([*lines, f"{found.period}: {verdict}; {found.customers} customers, {found.events} sealed events"])


def _folder(settings: Settings, options: argparse.Namespace) -> SealFolder:
    from billing.sealed_usage.folder import SealFolder  # Parquet needs polars: not for every command.

    return SealFolder(options.folder or settings.sealed_usage, settings.tenant)


def _keys(settings: Settings, options: argparse.Namespace) -> tuple[bytes, ...]:
    return (settings.signer().public_pem, *(path.read_bytes() for path in options.key))
