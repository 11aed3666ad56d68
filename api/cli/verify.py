"""`alacarte verify`: recompute a quote offline, from three documents and a public key."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from api.catalog_file import decode_json_object
from models.values.errors import InvalidValueError
from pricing_engine.verification import verify_quote


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    command = commands.add_parser(
        "verify",
        help="recompute a quote offline",
        description="Recompute every line of a quote. Exit status: 0 it holds, 1 something differs.",
    )
    command.add_argument("quote", type=Path)
    command.add_argument("--price-book", type=Path, required=True)
    command.add_argument("--price-sheet", type=Path, required=True)
    command.add_argument("--key", type=Path, required=True, help="the seller's public key, PEM")
    command.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Verify one quote."""
    verdict = verify_quote(
        read_document(options.quote),
        read_document(options.price_book),
        read_document(options.price_sheet),
        _read(options.key),
    )
    for line in verdict.lines:
        if line in verdict.undisclosed:
            print(f"{line}: bounded by a cost floor this copy does not disclose")
        elif not any(finding.where.startswith(f"lines.{line}.") for finding in verdict.findings):
            print(f"{line}: recomputed, equal")
    for finding in verdict.findings:
        print(
            f"{finding.where}: stated {finding.stated or 'nothing'}, recomputed {finding.recomputed}", file=sys.stderr
        )
    print("verified" if verdict.verified else "NOT verified", file=sys.stdout if verdict.verified else sys.stderr)
    return 0 if verdict.verified else 1


def read_document(path: Path) -> dict[str, Any]:
    """Read one exported JSON document. Raises InvalidValueError naming the file."""
    return decode_json_object(_read(path), str(path))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidValueError(
            error.strerror or "cannot be read", field="file", value=path, code="unreadable_file"
        ) from error
