"""`alacarte export`: the register of what was issued, and the journal."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from api.cli.numbers import whole
from api.cli.workspace import open_workspace
from billing.database import Database
from billing.exports.journal import write_journal
from billing.exports.register import FORMATS, documents, write_headers, write_lines
from billing.whole_files import write_whole
from models.values.errors import InvalidValueError


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser("export", help="write the register of what was issued, or the journal")
    command.add_argument("what", choices=["invoices", "journal"])
    which = command.add_mutually_exclusive_group()
    which.add_argument("--period", help="a month, like 2026-01")
    which.add_argument("--since", type=whole, default=0, metavar="CURSOR", help="only what was issued after a cursor")
    command.add_argument("--format", choices=FORMATS, default="csv")
    command.add_argument("--lines", action="store_true", help="print the lines instead of the headers")
    command.add_argument("--out", type=Path, metavar="FOLDER", help="write both files into a folder")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write the register or the journal: to a folder, or to standard output."""
    with open_workspace() as (settings, database):
        if options.what == "journal":
            return _export_journal(options, database, settings.tenant)
        if options.out is None:
            with database.reading(settings.tenant) as uow:
                found = documents(uow, period=options.period, since=options.since)
                write = write_lines if options.lines else write_headers
                for chunk in write(found, options.format):
                    sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            return 0
        options.out.mkdir(parents=True, exist_ok=True)
        for name, write in (("invoices", write_headers), ("invoice_lines", write_lines)):
            path = options.out / f"{name}.{options.format}"
            with database.reading(settings.tenant) as uow:
                found = documents(uow, period=options.period, since=options.since)
                write_whole(path, write(found, options.format))
            print(path)
    return 0


def _export_journal(options: argparse.Namespace, database: Database, tenant: str) -> int:
    """Write the journal; `--since` takes the number of the last journal that is known already."""
    if options.period is not None or options.lines:
        raise InvalidValueError("the journal takes --since, --format and --out", field="export")
    with database.reading(tenant) as uow:
        chunks = write_journal(uow, options.format, options.since)
        if options.out is None:
            for chunk in chunks:
                sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            return 0
        options.out.mkdir(parents=True, exist_ok=True)
        path = options.out / f"journal.{options.format}"
        write_whole(path, chunks)
        print(path)
    return 0
