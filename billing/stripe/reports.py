"""A reconciliation for people: as CSV and as a page of HTML that needs nothing else."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO

from jinja2 import Environment, PackageLoader, StrictUndefined

from billing.stripe.reconciliation import Difference, Finding, Reconciliation
from models.values.money import currency, from_minor

_COLUMNS = ("difference", "repair", "invoice_id", "stripe_id", "currency", "ours", "theirs")


def csv_of(found: Reconciliation) -> str:
    """Return one line a difference; a cell that a spreadsheet would take for a formula is quoted as text."""
    out = StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for finding in found.findings:
        writer.writerow([_as_text(cell) for cell in _cells(finding)])
    return out.getvalue()


def html_of(found: Reconciliation) -> str:
    """Return the page."""
    environment = Environment(
        loader=PackageLoader("billing.stripe", ""), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    totals = [
        (code, *(from_minor(amount, currency(code)) for amount in (each.ours, each.theirs)),
         *(from_minor(amount, currency(code)) for amount in (each.ours_paid, each.theirs_paid)))
        for code, each in found.totals.items()
    ]  # fmt: skip
    counts = found.counts()
    return environment.get_template("reconciliation.html").render(
        found=found,
        columns=_COLUMNS,
        rows=[_cells(finding) for finding in found.findings],
        counts=[(kind.value, counts[kind]) for kind in Difference],
        totals=totals,
    )


def lines_of(found: Reconciliation) -> Iterator[str]:
    """Return the lines that the command prints."""
    yield f"compared {found.compared} invoices since {found.since.date()}"
    for code, each in found.totals.items():
        money = currency(code)
        yield (
            f"{code} ours {from_minor(each.ours, money)} theirs {from_minor(each.theirs, money)}"
            f" paid {from_minor(each.ours_paid, money)} theirs {from_minor(each.theirs_paid, money)}"
        )
    counts = found.counts()
    yield " ".join(f"{kind} {counts[kind]}" for kind in Difference)


def _cells(finding: Finding) -> tuple[str, ...]:
    return tuple(str(getattr(finding, column)) for column in _COLUMNS)


def _as_text(cell: str) -> str:
    return f"'{cell}" if cell[:1] in {"=", "+", "-", "@", "\t", "\r"} else cell
