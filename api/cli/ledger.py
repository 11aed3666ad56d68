"""`alacarte ledger`: verify it, sign how far it goes, print its trial balance and journals."""

from __future__ import annotations

import argparse
import json
from datetime import datetime
from pathlib import Path
from typing import Any

from api.cli.numbers import whole
from api.cli.workspace import now_in, open_workspace
from api.schemas.ledger import journal_document, major
from billing import ledger
from billing.books_checks import BOOKS_CHECKS
from billing.journals import Journal
from billing.ledger_checks import CHECKS
from billing.ledger_head import check_against, signed_head
from billing.verification import Report, pages, verify
from models.values.errors import InvalidValueError
from models.values.period import parse_instant


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    command = commands.add_parser("ledger", help="verify and read the ledger")
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    checking = actions.add_parser("verify", help="recompute the chain, the balances and all that hangs on them")
    checking.add_argument("--head", type=Path, help="a signed head kept elsewhere, to compare with")
    checking.add_argument("--key", type=Path, help="the public key of that head (PEM)")
    checking.add_argument("--ledger-only", action="store_true", help="leave invoices and events out: much faster")
    checking.add_argument("--pages", action="store_true", help="also check the pages and indexes of a SQLite file")
    checking.set_defaults(run=run_verify)
    actions.add_parser("head", help="print the signed head, to be kept elsewhere").set_defaults(run=run_head)
    table = actions.add_parser("trial-balance", help="print balances by asset and account; each asset sums to 0")
    table.add_argument("--before", help="count what was effective before this instant")
    table.add_argument("--known-at", help="as far as it was recorded up to this instant")
    table.set_defaults(run=run_trial_balance)
    listing = actions.add_parser("journals", help="print journals as JSON lines")
    listing.add_argument("--after", type=whole, default=0, help="from the journal after this number")
    listing.add_argument("--limit", type=whole, default=100)
    listing.set_defaults(run=run_journals)


def run_verify(options: argparse.Namespace) -> int:
    """Print what was checked and what is wrong. Exit status 1 where anything is."""
    checks = [*CHECKS] if options.ledger_only else [*CHECKS, *BOOKS_CHECKS]
    if options.head is not None:
        if options.key is None:
            raise InvalidValueError("is needed to check a signed head", field="key")
        checks.append(check_against(_read_json(options.head), options.key.read_bytes()))
    if options.pages:
        checks.append(pages)
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        report = verify(uow, checks)
    print(_describe(report))
    return 0 if report.is_sound else 1


def run_head(_options: argparse.Namespace) -> int:
    """Print the signed head as JSON."""
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        print(json.dumps(signed_head(uow, settings.signer(), at=now_in(settings, uow)), indent=2, sort_keys=True))
    return 0


def run_trial_balance(options: argparse.Namespace) -> int:
    """Print asset, account, debit or credit in major units; the last line of each asset is its sum."""
    when = ledger.AsKnown(_instant(options.before, "before"), _instant(options.known_at, "known-at"))
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        balances = ledger.balances(uow, when)
    for asset in sorted({account.asset for account in balances}):
        by_code: dict[str, int] = {}
        for account, units in balances.items():
            if account.asset == asset:
                by_code[account.code] = by_code.get(account.code, 0) + units
        for code, units in sorted(by_code.items()):
            side = "debit" if units >= 0 else "credit"
            print(f"{asset}\t{code}\t{side}\t{major(abs(units), asset)}")
        print(f"{asset}\tsum\t\t{major(sum(by_code.values()), asset)}")
    return 0


def run_journals(options: argparse.Namespace) -> int:
    """Print one JSON object a journal, amounts in major units, debit positive."""
    with open_workspace() as (settings, database), database.reading(settings.tenant) as uow:
        for journal in ledger.journals(uow, after=options.after, limit=options.limit):
            print(json.dumps(_shown(journal), ensure_ascii=False))
    return 0


def _describe(report: Report) -> str:
    lines = [f"{found.check}: {found.row}: {found.problem}" for found in report.findings]
    if report.is_sound:
        lines.append(f"sound: {report.journals} journals; checked {', '.join(report.checks)}")
    return "\n".join(lines)


def _shown(journal: Journal) -> dict[str, Any]:
    document: dict[str, Any] = {**journal_document(journal)}
    return {"journal": document.pop("id"), **document}


def _instant(given: str | None, field: str) -> datetime | None:
    return None if given is None else parse_instant(given, field)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InvalidValueError(str(error), field=str(path), code="unreadable_file") from error
    if not isinstance(document, dict):
        raise InvalidValueError("must be a JSON object", field=str(path), code="unreadable_file")
    return document
