"""The `alacarte` command.

Exit status: 0 done, 1 a check failed (a quote that does not verify, a ledger that does not balance),
2 bad usage, 3 refused by a rule of the domain.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import sys
from collections.abc import Sequence

from models.values.errors import DomainError, InvalidValueError

_COMMANDS = (
    "catalog",
    "customers",
    "quote",
    "subscription",
    "verify",
    "rate",
    "aggregate",
    "prorate",
    "serve",
    "keys",
    "people",
    "ingest",
    "usage",
    "explain_event",
    "clock",
    "close",
    "simulate",
    "invoices",
    "explain",
    "export",
    "stripe",
    "dunning",
    "ledger",
    "wallet",
    "coupon",
    "tick",
    "demand",
    "webhooks",
)
"""Modules of this package, each adding its command with `register`."""

_REFUSED = 3
_DISKS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
"""What a disk says of itself, without a file's name."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="alacarte", description="Dynamic pricing by feature, and micro-billing to the last unit."
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in _COMMANDS:
        importlib.import_module(f"api.cli.{name}").register(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. See the module for the exit status."""
    _check_packages_side_by_side()
    options = build_parser().parse_args(argv)
    try:
        status: int = options.run(options)
    except DomainError as error:
        return _refuse(error)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as error:
        if error.filename is None and error.errno not in _DISKS:
            raise
        where = "output" if error.filename is None else str(error.filename)
        return _refuse(
            InvalidValueError(f"cannot be read or written: {error.strerror}", field=where, code="unreadable_file")
        )
    return status


def _refuse(error: DomainError) -> int:
    print(f"alacarte: {error.code}: {error}{_reason(error)}", file=sys.stderr)
    return _REFUSED


def _reason(error: DomainError) -> str:
    """Return what the database's driver says of it, on a line of its own; answers over HTTP keep it to themselves."""
    said = str(getattr(error.__cause__, "orig", "")).strip() if error.field == "database" else ""
    return f"\n  {said.splitlines()[0]}" if said else ""


def _check_packages_side_by_side() -> None:
    """Refuse to run on somebody else's `models`: another distribution may have overwritten ours."""
    homes = {
        name: [path.rsplit("/", 1)[0].rsplit("\\", 1)[0] for path in importlib.import_module(name).__path__]
        for name in ("api", "billing", "models", "pricing_engine")
    }
    if len({tuple(home) for home in homes.values()}) != 1:
        raise SystemExit(f"alacarte: its packages do not lie side by side: {homes}")
